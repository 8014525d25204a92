//! Running the scenes with one build.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::mask;
use super::scene::{Scene, Step};

/// Folder of a recording with the output of the steps, beside what they wrote.
pub const SAID: &str = "said";
/// Folder of a recording with what the scenes left.
pub const LEFT: &str = "left";

/// Names of the two builds while they are recorded.
const NEWER: &str = "host";
const OLDER: &str = "host-older";

/// Runs scenes in a folder that is the same for every build.
pub struct Recorder<'a> {
    /// Made for a recording, and gone after it.
    pub work: &'a Path,
    /// Keys of another recording, so that signatures are the same.
    pub keys: Option<&'a Path>,
    /// The build that older files are made by; the one that is recorded, if there is none.
    pub older: Option<&'a Path>,
}

impl Recorder<'_> {
    /// # Errors
    /// A folder that can't be written, and a program that can't be run. What the program
    /// says of its arguments is never an error here.
    pub fn record(
        &self,
        host: &Path,
        plugins: &Path,
        scenes: &[Scene],
        output: &Path,
    ) -> Result<()> {
        ensure!(host.is_file(), "{} is no program", host.display());
        make(self.work)?;
        for (name, build) in [(NEWER, host), (OLDER, self.older.unwrap_or(host))] {
            fs::copy(build, self.work.join(name)).with_context(|| build.display().to_string())?;
        }
        copy_policies(plugins, &self.work.join("plugins"))?;
        let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/demo");
        for folder in ["data", "model"] {
            copy_folder(&demo.join(folder), &self.work.join(folder), |_| true)?;
        }
        let keys = self.work.join("config/host");
        match self.keys {
            Some(known) => copy_folder(known, &keys, |_| true)?,
            None => self.make_keys()?,
        }
        let said = output.join(SAID);
        for (number, scene) in scenes.iter().enumerate() {
            let began = Instant::now();
            eprint!("[{}/{}] {} ", number + 1, scenes.len(), scene.name);
            self.scene(scene, &said.join(&scene.name))?;
            eprintln!("{:.1} s", began.elapsed().as_secs_f64());
        }
        copy_folder(&keys, &output.join("keys"), |_| true)?;
        copy_folder(&self.work.join(LEFT), &output.join(LEFT), |_| true)?;
        clear(self.work)
    }

    /// Signs something, which makes a key on first use.
    fn make_keys(&self) -> Result<()> {
        let trial = self.work.join("trial.wasm");
        fs::copy(self.work.join("plugins/sft.wasm"), &trial)?;
        let made =
            self.command(NEWER, self.work).args(["policy", "sign", "trial.wasm"]).output()?;
        ensure!(made.status.success(), "no key: {}", String::from_utf8_lossy(&made.stderr));
        Ok(())
    }

    fn command(&self, program: &str, folder: &Path) -> Command {
        let mut command = Command::new(self.work.join(program));
        self.environment(&mut command, folder);
        command
    }

    fn environment(&self, command: &mut Command, folder: &Path) {
        command.current_dir(folder).stdin(Stdio::null());
        for (name, value) in [("HOME", "home"), ("XDG_CACHE_HOME", "cache")] {
            command.env(name, self.work.join(value));
        }
        command.env("XDG_CONFIG_HOME", self.work.join("config"));
        command.env_remove("RUST_LOG").env_remove("RUST_BACKTRACE");
    }

    fn scene(&self, scene: &Scene, said: &Path) -> Result<()> {
        let folder = self.work.join(LEFT).join(&scene.name);
        make(&folder)?;
        make(said)?;
        for (path, text) in &scene.files {
            write(&folder.join(path), text.as_bytes())?;
        }
        for (number, step) in scene.steps.iter().enumerate() {
            self.step(step, &folder, &said.join(format!("{:02}", number + 1)))
                .with_context(|| format!("{}, step {}: {step:?}", scene.name, number + 1))?;
        }
        Ok(())
    }

    fn step(&self, step: &Step, folder: &Path, said: &Path) -> Result<()> {
        match step {
            Step::Host(arguments) => {
                let mut command = self.command(NEWER, folder);
                command.args(arguments);
                Self::say(command, arguments, said)
            }
            Step::Older(arguments) => {
                let mut command = self.command(OLDER, folder);
                command.args(arguments);
                Self::say(command, arguments, said)
            }
            Step::Ranks(count, arguments) => {
                let mut command = Command::new("mpirun");
                self.environment(&mut command, folder);
                command.args(["-q", "--allow-run-as-root", "--oversubscribe", "-n"]);
                command.arg(count.to_string()).arg(self.work.join(NEWER)).args(arguments);
                Self::say(command, arguments, said)
            }
            Step::Remove(paths) => paths.iter().try_for_each(|path| clear(&folder.join(path))),
            Step::Copy(from, to) => {
                let (from, to) = (folder.join(from), folder.join(to));
                if from.is_dir() {
                    return copy_folder(&from, &to, |_| true);
                }
                write(&to, &read(&from)?)
            }
            Step::Replace { path, from, to } => {
                let path = folder.join(path);
                let text = String::from_utf8(read(&path)?)?;
                ensure!(text.contains(from), "{} has no {from:?}", path.display());
                write(&path, text.replacen(from, to, 1).as_bytes())
            }
            Step::Still(path) => {
                let path = folder.join(path);
                let text = String::from_utf8(read(&path)?)?;
                write(&path, mask::stilled(&text).as_bytes())
            }
            Step::Damage(path) => {
                let path = folder.join(path);
                let mut bytes = read(&path)?;
                let middle = bytes.len() / 2;
                *bytes.get_mut(middle).context("an empty file")? ^= 1;
                write(&path, &bytes)
            }
        }
    }

    /// Writes down the command, its exit code and its two streams.
    fn say(mut command: Command, arguments: &[String], said: &Path) -> Result<()> {
        let output = command.output().context("it can't be run")?;
        let code = output.status.code().map_or("killed".into(), |code| code.to_string());
        let text = format!("host {}\nexit {code}\n", arguments.join(" "));
        write(&said.with_extension("code"), text.as_bytes())?;
        write(&said.with_extension("out"), &output.stdout)?;
        write(&said.with_extension("err"), &output.stderr)
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| path.display().to_string())
}

/// Without the caution of product code: a recording that is cut short is made again.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(folder) = path.parent() {
        make(folder)?;
    }
    fs::write(path, bytes).with_context(|| path.display().to_string())
}

fn make(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())
}

fn clear(path: &Path) -> Result<()> {
    let gone = if path.is_dir() {
        fs::remove_dir_all(path)
    } else if path.exists() {
        fs::remove_file(path)
    } else {
        Ok(())
    };
    gone.with_context(|| path.display().to_string())
}

/// NAME.wasm, and of each policy its cases and settings.
fn copy_policies(from: &Path, to: &Path) -> Result<()> {
    copy_folder(from, to, |path| {
        let kept = ["wasm", "json"].map(OsStr::new);
        path.is_dir() && path.file_name() != Some(OsStr::new("target"))
            || path.extension().is_some_and(|extension| kept.contains(&extension))
    })
}

fn copy_folder(from: &Path, to: &Path, keep: fn(&Path) -> bool) -> Result<()> {
    make(to)?;
    for path in children(from)? {
        if !keep(&path) {
            continue;
        }
        let target = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy_folder(&path, &target, keep)?;
        } else {
            fs::copy(&path, &target).with_context(|| path.display().to_string())?;
        }
    }
    Ok(())
}

/// What is in a folder, by name.
pub fn children(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut paths = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()
        .with_context(|| folder.display().to_string())?;
    paths.sort();
    Ok(paths)
}
