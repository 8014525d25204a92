//! The program that does the work, as a process.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use host_trainer::config::RunConfig;
use host_trainer::manifest::resolved_toml;
use host_trainer::run_dir::write_atomically;
use serde::de::DeserializeOwned;

pub struct Program {
    path: PathBuf,
}

impl Program {
    /// The named one, or the one of this build. Under `cargo run` cargo builds it first, so that it is never an old one.
    pub fn find(named: Option<&Path>) -> anyhow::Result<Self> {
        if let Some(path) = named {
            let path = path.to_owned();
            return if path.is_file() {
                Ok(Self { path })
            } else {
                bail!("--host {}: there is no such file; name the program", path.display())
            };
        }
        if let Some(cargo) = std::env::var_os("CARGO") {
            let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
            let built = Command::new(cargo)
                .args([
                    "build",
                    "--quiet",
                    "--release",
                    "--bin",
                    "host",
                    "--manifest-path",
                    manifest,
                ])
                .status()
                .context("cargo can't be started; name the program with --host FILE")?;
            if !built.success() {
                bail!("cargo couldn't build host; see above");
            }
        }
        let here = std::env::current_exe()
            .context("the path of this program is not known; use --host FILE")?;
        // target/release/examples/study -> target/release/host
        let name = format!("host{}", std::env::consts::EXE_SUFFIX);
        let path = here.with_file_name("..").join(name);
        if path.is_file() {
            Ok(Self { path })
        } else {
            bail!(
                "{} is not there; run cargo build --release first, or use --host FILE",
                path.display()
            )
        }
    }

    /// Runs a command to its end; what it says goes to stderr. Returns its stdout.
    pub fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> anyhow::Result<Vec<u8>> {
        let output = Command::new(&self.path)
            .args(arguments)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("{} can't be started", self.path.display()))?;
        match output.status.code() {
            Some(0) => Ok(output.stdout),
            // It has finished its step and saved everything: so does the study.
            Some(130) => std::process::exit(130),
            _ => {
                let command = arguments.first().map(|first| first.as_ref().to_string_lossy());
                bail!("host {} failed, see above ({})", command.unwrap_or_default(), output.status)
            }
        }
    }

    /// Runs a command that prints JSON.
    pub fn json<T: DeserializeOwned, S: AsRef<OsStr>>(&self, arguments: &[S]) -> anyhow::Result<T> {
        let stdout = self.run(arguments)?;
        serde_json::from_slice(&stdout)
            .context("host printed JSON of another shape; is it of this version?")
    }

    /// Trains into a folder, or goes on where that was stopped. Only a run that is begun asks for its configuration.
    pub fn train(
        &self,
        run: &Path,
        config: impl FnOnce() -> anyhow::Result<RunConfig>,
    ) -> anyhow::Result<PathBuf> {
        if run.join("report.json").is_file() {
            return Ok(run.to_owned());
        }
        if run.join("config.toml").is_file() {
            self.run(&["train".as_ref(), "--resume".as_ref(), run.as_os_str()])?;
            return Ok(run.to_owned());
        }
        let mut config = config()?;
        config.output = Some(run.to_owned());
        let file = run.with_extension("toml");
        write_atomically(&file, resolved_toml(&config)?.as_bytes())?;
        self.run(&["train".as_ref(), "--config".as_ref(), file.as_os_str()])?;
        Ok(run.to_owned())
    }
}
