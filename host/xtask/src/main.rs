//! Chores of this repository: `cargo xtask plugins` builds the policies under
//! `plugins/` into components, `cargo xtask hostile` and `cargo xtask mutate` show what
//! the host makes of hostile and of damaged ones, `cargo xtask overhead` what a policy
//! costs a training step, `cargo xtask costs` what several do beside one another, `cargo xtask reference` what holding it to
//! the reference costs.

mod binary;
mod check;
mod costs;
mod dist;
mod fuzz;
mod guest;
mod mutate;
mod overhead;
mod pin;
mod python;
mod reference;
mod structure;
mod sums;
mod training;
mod trials;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Chores of this repository")]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Builds policies into plugins/NAME.wasm and writes plugins/SHA256SUMS.
    Plugins(Plugins),
    /// Measures what a policy costs a training step.
    Overhead(overhead::Overhead),
    /// Measures what policies cost a training step beside one another, by turns.
    Costs(costs::Costs),
    /// Measures what holding samples to the reference costs a training step, in the first
    /// epoch, in later ones and in another run.
    Reference(reference::Reference),
    /// Compares what two builds of the program do with the same commands.
    Pin(pin::Pin),
    /// Checks floors, circles between modules, lengths of files, and where unsafe may stand.
    Structure(structure::Structure),
    /// Trains under every policy of tests/fixtures/hostile and prints a table: message,
    /// time to stop, what is left on the disk.
    Hostile(trials::Hostile),
    /// Damages policies at random and loads them: what is refused where, what answers,
    /// and that nothing crashes or hangs.
    Mutate(mutate::Mutate),
    /// Makes the tarball and the wheel that users install.
    Dist(dist::Dist),
    /// Makes the wheel of the Python package, and runs its tests.
    Python(python::Python),
    /// Fuzzes every reader by coverage.
    Fuzz(fuzz::Fuzz),
}

#[derive(Args)]
struct Plugins {
    /// Policies to build; all of them if none is named.
    names: Vec<String>,
    /// Rebuild into a temporary folder and compare with the committed files: both
    /// must behave as plugins/NAME/cases record. Changes nothing.
    #[arg(long, conflicts_with = "record")]
    check: bool,
    /// Build nothing; write down what the built policies answer to their cases.
    #[arg(long)]
    record: bool,
}

/// The argument with which the program is its own worker.
const WORKER: &str = "worker";

fn main() -> ExitCode {
    if let Some(code) = fuzz::as_compiler() {
        return code;
    }
    if std::env::args_os().nth(1).is_some_and(|first| first == WORKER) {
        let arguments: Vec<_> = std::env::args_os().skip(2).collect();
        return host_files::apart::exit(host_sandbox::serve(&arguments));
    }
    match run(&Cli::parse().chore) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(chore: &Chore) -> Result<()> {
    match chore {
        Chore::Plugins(options) => plugins(options),
        Chore::Overhead(options) => options.run(&plugins_folder()?),
        Chore::Costs(options) => options.run(),
        Chore::Reference(options) => options.run(&plugins_folder()?),
        Chore::Pin(options) => options.run(),
        Chore::Structure(options) => options.run(),
        Chore::Hostile(options) => options.run(),
        Chore::Mutate(options) => options.run(),
        Chore::Dist(options) => options.run(&root()?),
        Chore::Python(options) => options.run(&root()?),
        Chore::Fuzz(options) => options.run(&root()?),
    }
}

fn plugins(options: &Plugins) -> Result<()> {
    let folder = plugins_folder()?;
    let names = guest::select(&folder, &options.names)?;
    if options.record {
        return check::record(&folder, &names);
    }
    if options.check {
        let rebuilt = tempfile::tempdir().context("no temporary folder can be made")?;
        guest::build(&folder, &names, rebuilt.path())?;
        return check::compare(&folder, &names, rebuilt.path());
    }
    guest::build(&folder, &names, &folder)?;
    sums::write(&folder)
}

/// The workspace of the host.
fn root() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().with_context(|| format!("{} is missing", root.display()))
}

/// `plugins/`, beside the workspace of the host.
fn plugins_folder() -> Result<PathBuf> {
    let folder = root()?.join("plugins");
    ensure!(folder.is_dir(), "{} is missing", folder.display());
    Ok(folder)
}
