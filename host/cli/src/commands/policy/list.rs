use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use host_files::Page;
use host_sandbox::{Limits, Policy};
use host_trainer::Error;
use host_trainer::records::Ending;
use host_trainer::run_dir::write_atomically;
use serde::Serialize;

use crate::commands::engine;
use crate::out::print;
use host_installed::POLICIES;

/// List the policies that come with the program: builtin:NAME stands for their files.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Also write them into this folder, as NAME.wasm.
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct Row {
    policy: String,
    version: String,
    sha256: String,
    summary: String,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    let engine = engine(&Limits::default())?;
    let row = |path: String| -> Result<Row, Error> {
        let policy = Policy::load(&engine, &path)?;
        let described = policy.descriptor();
        Ok(Row {
            version: described.version.clone(),
            sha256: policy.digest().to_owned(),
            summary: described.summary.clone(),
            policy: path,
        })
    };
    let rows = POLICIES.iter().map(|one| row(one.path())).collect::<Result<Vec<_>, _>>()?;
    if let Some(folder) = &arguments.output {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("{} can't be made", folder.display()))?;
        for one in POLICIES {
            write_atomically(&folder.join(format!("{}.wasm", one.name)), one.bytes)?;
        }
    }
    print(arguments.json, &rows, |_| table(&rows))?;
    Ok(Ending::Finished)
}

/// Name, version, the start of the digest, summary.
fn table(rows: &[Row]) -> Page {
    let width = rows.iter().map(|row| row.policy.len()).max().unwrap_or(0);
    let line = |row: &Row| {
        let Row { policy, version, sha256, summary } = row;
        format!("{policy:width$}  {version}  {}  {summary}", &sha256[..8])
    };
    let mut page = Page::default();
    page.lines(rows.iter().map(line));
    page
}
