//! Pinning behaviour: what two builds of `host` do with the same commands.
//!
//! `scenes.toml` lists the commands. Each build runs all of them in folders of the same
//! path, with the same keys and caches of its own, so nothing has to be rewritten before the
//! results are compared. What still differs from run to run (time, memory, the program's own
//! digest) is masked by the rules in [`mask`], and by nothing else.

mod compare;
mod mask;
mod record;
mod scene;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand};

use record::Recorder;
use scene::Scene;

#[derive(Args)]
pub struct Pin {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run the commands with one build and keep what it says and writes.
    Record {
        /// The program to run.
        #[arg(long, value_name = "FILE")]
        host: PathBuf,
        /// Where to keep it; must not exist.
        #[arg(short, long, value_name = "DIR")]
        output: PathBuf,
        #[command(flatten)]
        options: Options,
    },
    /// Run the commands with two builds and print what differs.
    Compare {
        /// The build whose behaviour counts.
        #[arg(long, value_name = "FILE")]
        old: PathBuf,
        /// The build under test.
        #[arg(long, value_name = "FILE")]
        new: PathBuf,
        /// Policies for the new build, if not the same as for the old one.
        #[arg(long, value_name = "DIR")]
        plugins_new: Option<PathBuf>,
        /// Keep both recordings in this folder, and use the old one again if it is there.
        #[arg(long, value_name = "DIR")]
        keep: Option<PathBuf>,
        /// Most differing lines to print of a file.
        #[arg(long, value_name = "N", default_value_t = 12)]
        lines: usize,
        #[command(flatten)]
        options: Options,
    },
    /// Print the names of the scenes.
    List,
}

#[derive(Args)]
struct Options {
    /// Folder with the policies, NAME.wasm and NAME/cases.
    #[arg(long, value_name = "DIR", default_value = "tests/fixtures/v0.1")]
    plugins: PathBuf,
    /// Only scenes whose name contains this. Can be repeated.
    #[arg(long = "only", value_name = "TEXT")]
    only: Vec<String>,
    /// Also run the scenes of several processes; the builds need the feature mpi.
    #[arg(long)]
    mpi: bool,
}

impl Options {
    fn scenes(&self) -> Result<Vec<Scene>> {
        let mut scenes = scene::all()?;
        scenes.retain(|scene| self.mpi || !scene.mpi);
        scenes.retain(|scene| {
            self.only.is_empty() || self.only.iter().any(|part| scene.name.contains(part))
        });
        ensure!(!scenes.is_empty(), "no scene has such a name; `xtask pin list` prints them all");
        Ok(scenes)
    }
}

impl Pin {
    /// # Errors
    /// A program or folder that can't be used, and, of a comparison, any difference.
    pub fn run(&self) -> Result<()> {
        match &self.task {
            Task::List => {
                for scene in scene::all()? {
                    println!("{:<24} {}", scene.name, scene.about);
                }
                Ok(())
            }
            Task::Record { host, output, options } => {
                ensure!(!output.exists(), "{} exists; name a new folder", output.display());
                let work = tempfile::tempdir().context("no temporary folder can be made")?;
                let recorder = Recorder { work: work.path(), keys: None, older: None };
                recorder.record(host, &options.plugins, &options.scenes()?, output)
            }
            Task::Compare { old, new, plugins_new, keep, lines, options } => {
                let work = tempfile::tempdir().context("no temporary folder can be made")?;
                let kept = keep.as_deref().unwrap_or(work.path());
                let scenes = options.scenes()?;
                let recordings = [kept.join("old"), kept.join("new")];
                record_both(
                    [old, new],
                    [&options.plugins, plugins_new.as_ref().unwrap_or(&options.plugins)],
                    &scenes,
                    &recordings,
                )?;
                compare::print(&recordings, &scenes, *lines)
            }
        }
    }
}

/// Records the old build, unless that was done before, and the new one.
fn record_both(
    hosts: [&PathBuf; 2],
    plugins: [&PathBuf; 2],
    scenes: &[Scene],
    recordings: &[PathBuf; 2],
) -> Result<()> {
    // The same path for both builds, which any message and any file may contain.
    let work = std::env::temp_dir().join("host-pin");
    std::fs::create_dir(&work).with_context(|| {
        format!("{} can't be made; does another comparison run? If not, remove it", work.display())
    })?;
    let keys = recordings[0].join("keys");
    if !recordings[0].exists() {
        let recorder = Recorder { work: &work, keys: None, older: None };
        recorder.record(hosts[0], plugins[0], scenes, &recordings[0])?;
    }
    if recordings[1].exists() {
        std::fs::remove_dir_all(&recordings[1])
            .with_context(|| recordings[1].display().to_string())?;
    }
    let recorder = Recorder { work: &work, keys: Some(&keys), older: Some(hosts[0]) };
    recorder.record(hosts[1], plugins[1], scenes, &recordings[1])
}
