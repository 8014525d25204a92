//! Builds the policies under `plugins/` into components: `cargo xtask plugins`.

mod check;
mod component;
mod guest;
mod sums;
mod toolchain;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
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

fn main() -> ExitCode {
    match run(&Cli::parse().chore) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(chore: &Chore) -> Result<()> {
    let Chore::Plugins(options) = chore;
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

/// `plugins/`, beside the workspace of the host.
fn plugins_folder() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins");
    root.canonicalize()
        .with_context(|| format!("{} is missing", root.display()))
}
