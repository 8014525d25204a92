//! A run of the real program under one hostile policy.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use wait_timeout::ChildExt as _;

use crate::{
    error::{Error, Result},
    hostile_policy::HostilePolicy,
    leftovers::Leftovers,
};

/// Far beyond what any hostile policy takes on a busy machine.
const LONGEST: Duration = Duration::from_secs(120);
/// Steps of a run that nothing stops.
pub(crate) const STEPS: u64 = 6;
/// Tight, so that each hostile policy is stopped within a second; its own come after.
pub const LIMITS: [&str; 5] = [
    "limits.fuel_per_call=20_000_000",
    "limits.calibrate_fuel=20_000_000",
    "limits.memory_bytes=33_554_432",
    "limits.calibrate_memory_bytes=67_108_864",
    "limits.compile_cpu_seconds=20",
];
/// The embedded demo without what takes time: nothing is evaluated.
const QUICK: [&str; 3] = ["eval.harmful=[]", "eval.harmless=[]", "eval.task=[]"];

/// What a run does when a policy fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The default.
    Stop,
    /// `--on-fault strict=N`.
    Strict(u64),
}

/// One run, with its files in a folder of their own.
pub struct Trial<'a> {
    /// The program.
    pub host: &'a Path,
    /// An empty folder.
    pub folder: &'a Path,
    pub mode: Mode,
}

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    /// Absent if it was killed, or by us after too long.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub time: Duration,
    pub left: Leftovers,
}

impl Outcome {
    /// The last line of standard error.
    pub fn message(&self) -> &str {
        self.stderr.lines().last().unwrap_or_default()
    }
}

impl Trial<'_> {
    /// Trains a few steps on the embedded demo.
    ///
    /// # Errors
    /// A hostile policy that can't be made, and a program that can't be started.
    pub fn run(&self, hostile: &HostilePolicy) -> Result<Outcome> {
        let policy = format!("{}.wasm", hostile.name);
        let path = self.folder.join(&policy);
        fs::write(&path, hostile.bytes()?).map_err(Error::file(&path))?;
        let [home, temporary] = ["home", "tmp"].map(|name| self.folder.join(name));
        for folder in [&home, &temporary] {
            fs::create_dir(folder).map_err(Error::file(folder))?;
        }
        let mut command = Command::new(self.host);
        command
            .current_dir(self.folder)
            .env("XDG_CACHE_HOME", home.join("cache"))
            .env("XDG_CONFIG_HOME", home.join("config"))
            .env("TMPDIR", &temporary)
            .args(["train", "--policy", &policy, "--output", "run"])
            .args(["--no-baseline", "--batch", "2"])
            .args(["--steps", &STEPS.to_string()]);
        if let Mode::Strict(steps) = self.mode {
            command.arg("--on-fault").arg(format!("strict={steps}"));
        }
        let own = hostile.set.iter().map(String::as_str);
        for setting in LIMITS.into_iter().chain(QUICK).chain(own) {
            command.args(["--set", setting]);
        }
        let (code, time, stdout, stderr) = self.wait(command)?;
        Ok(Outcome { left: Leftovers::find(self.folder, &policy)?, code, stdout, stderr, time })
    }

    fn wait(&self, mut command: Command) -> Result<(Option<i32>, Duration, String, String)> {
        let [out, err] = ["out", "err"].map(|name| self.folder.join("home").join(name));
        let create = |path: &PathBuf| File::create(path).map_err(Error::file(path));
        command.stdin(Stdio::null()).stdout(create(&out)?).stderr(create(&err)?);
        let failed = || Error::file(self.host);
        let started = Instant::now();
        let mut child = command.spawn().map_err(failed())?;
        let status = child.wait_timeout(LONGEST).map_err(failed())?;
        if status.is_none() {
            child.kill().map_err(failed())?;
            child.wait().map_err(failed())?;
        }
        let read = |path: &PathBuf| {
            let bytes = fs::read(path).map_err(Error::file(path))?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        let code = status.and_then(|status| status.code());
        Ok((code, started.elapsed(), read(&out)?, read(&err)?))
    }
}
