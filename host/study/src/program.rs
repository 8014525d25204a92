//! The program that does the work, as a process.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use host_eval::report::{Ending, Report};
use host_trainer::config::RunConfig;
use host_trainer::manifest::resolved_toml;
use host_trainer::run_dir::write_atomically;
use rustix::process::{Pid, Signal, kill_process};
use serde::de::DeserializeOwned;

/// How often it is looked whether a process has ended.
const POLL: Duration = Duration::from_millis(10);

/// The program, and how it is run.
pub struct Program {
    path: PathBuf,
    /// Of each process; none is the program's own choice.
    threads: Option<usize>,
    stop: Arc<AtomicBool>,
}

/// The study was asked to stop. Runs in progress have saved themselves.
#[derive(Debug)]
pub struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("interrupted; the same command goes on")
    }
}

impl std::error::Error for Interrupted {}

impl Program {
    /// The program at `path`, which is not started any more once `stop` is true.
    pub fn new(path: PathBuf, stop: Arc<AtomicBool>) -> Self {
        Self { path, threads: None, stop }
    }

    /// The same, of which `jobs` run at a time, each with its share of the processor.
    pub(crate) fn shared(&self, jobs: usize) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = (jobs > 1).then(|| (cores / jobs).max(1));
        Self { path: self.path.clone(), threads, stop: self.stop.clone() }
    }

    /// Runs a command to its end; what it says is added to the file `log`. Returns its stdout.
    pub(crate) fn run<S: AsRef<OsStr>>(
        &self,
        arguments: &[S],
        log: &Path,
    ) -> anyhow::Result<Vec<u8>> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(Interrupted.into());
        }
        let failed = || format!("{} can't be written", log.display());
        let file = File::options().create(true).append(true).open(log).with_context(failed)?;
        let before = file.metadata().with_context(failed)?.len();
        let mut command = Command::new(&self.path);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(file);
        // A group of its own: it is asked to stop by the study alone, and so once.
        command.process_group(0);
        if let Some(threads) = self.threads {
            command.env("RAYON_NUM_THREADS", threads.to_string());
        }
        let child = command.spawn();
        let child = child.with_context(|| format!("{} can't be started", self.path.display()))?;
        let output =
            self.watch(child).with_context(|| format!("{} is lost", self.path.display()))?;
        match output.status.code() {
            Some(0) => Ok(output.stdout),
            // It has finished its step and saved everything: so does the study.
            Some(130) => Err(Interrupted.into()),
            _ => {
                let said = std::fs::read(log).unwrap_or_default();
                let said = said.get(before as usize..).unwrap_or_default();
                let said = String::from_utf8_lossy(said);
                let error = said.lines().rev().find_map(|line| line.strip_prefix("error: "));
                match error {
                    Some(error) => bail!("{error} (all of it: {})", log.display()),
                    None => bail!("ended with {}; see {}", output.status, log.display()),
                }
            }
        }
    }

    /// Waits for the end of a process, and asks it to stop once the study is asked to.
    fn watch(&self, mut child: Child) -> std::io::Result<Output> {
        let stdout = child.stdout.take();
        std::thread::scope(|scope| {
            let stdout = scope.spawn(|| {
                let mut bytes = Vec::new();
                stdout.map_or(Ok(0), |mut stdout| stdout.read_to_end(&mut bytes)).map(|_| bytes)
            });
            let mut is_asked = false;
            let status = loop {
                if let Some(status) = child.try_wait()? {
                    break status;
                }
                if !is_asked && self.stop.load(Ordering::Relaxed) {
                    is_asked = true;
                    // It isn't reaped yet, so the number is still its own.
                    kill_process(Pid::from_child(&child), Signal::TERM)?;
                }
                std::thread::sleep(POLL);
            };
            let stdout =
                stdout.join().map_err(|_| std::io::Error::other("its output is lost"))??;
            Ok(Output { status, stdout, stderr: Vec::new() })
        })
    }

    /// Runs a command that prints JSON.
    pub(crate) fn json<T: DeserializeOwned, S: AsRef<OsStr>>(
        &self,
        arguments: &[S],
        log: &Path,
    ) -> anyhow::Result<T> {
        let stdout = self.run(arguments, log)?;
        serde_json::from_slice(&stdout).context("the program printed JSON of another shape")
    }

    /// Trains into a folder, or goes on where that was stopped. Only a run that is begun asks for its configuration.
    pub(crate) fn train(
        &self,
        run: &Path,
        config: impl FnOnce() -> anyhow::Result<RunConfig>,
    ) -> anyhow::Result<PathBuf> {
        if over(run)?.is_some() {
            return Ok(run.to_owned());
        }
        // A name may have dots.
        let beside = |end: &str| PathBuf::from(format!("{}.{end}", run.display()));
        let log = beside("log");
        if run.join("config.toml").is_file() {
            self.run(&["train".as_ref(), "--resume".as_ref(), run.as_os_str()], &log)?;
            return Ok(run.to_owned());
        }
        let mut config = config()?;
        config.output = Some(run.to_owned());
        let file = beside("toml");
        write_atomically(&file, resolved_toml(&config)?.as_bytes())?;
        self.run(&["train".as_ref(), "--config".as_ref(), file.as_os_str()], &log)?;
        Ok(run.to_owned())
    }
}

/// The report of a run that is over. One that was interrupted has a report as well, and goes on.
pub(crate) fn over(run: &Path) -> anyhow::Result<Option<Report>> {
    let path = run.join("report.json");
    if !path.is_file() {
        return Ok(None);
    }
    let damaged = || format!("{} is damaged; remove it", path.display());
    let report: Report = serde_json::from_slice(&std::fs::read(&path)?).with_context(damaged)?;
    Ok((report.ending() != Ending::Interrupted).then_some(report))
}
