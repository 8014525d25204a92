use std::path::{Path, PathBuf};

use clap::Args;
use host_report::{Options, Refresh, Report, is_ours, read};
use host_sandbox::PublicKey;
use host_trainer::Error;
use host_trainer::records::Ending;
use host_trainer::run_dir::write_atomically;

use crate::out::{print_json, say};

/// Write a page on one run, on several beside each other, or on a study: figures, curves, risk by
/// row, answers, journal. A browser shows it without loading anything.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Folders of runs, or the folder of a study.
    #[arg(required = true, value_name = "RUN")]
    pub runs: Vec<PathBuf>,
    /// Where to write the page. Default: RUN.html beside the folder RUN; of several runs report.html.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Public key that must have signed the journal, a file or the key itself.
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// Print the data behind the page as JSON; the page is written only with --output.
    #[arg(long)]
    pub json: bool,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    let key = arguments.key.as_deref().map(PublicKey::read).transpose()?;
    let path = match &arguments.output {
        Some(path) => Some(path.clone()),
        None if arguments.json => None,
        None => Some(free(&arguments.runs)?),
    };
    let report = read(&arguments.runs, &Options { key, glance: false })?;
    if let Report::Run(run) = &report {
        for problem in &run.problems {
            say(format!("note: {problem}"));
        }
    }
    if let Some(path) = path {
        write_atomically(&path, report.page(Refresh::Never)?.as_bytes())?;
        say(format!("wrote {}", path.display()));
    }
    if arguments.json {
        print_json(&report)?;
    }
    Ok(Ending::Finished)
}

/// The place of a page that nobody named: beside the run and not in it, whose files are signed as a
/// whole. An older page of ours is replaced, and nothing else.
fn free(runs: &[PathBuf]) -> Result<PathBuf, Error> {
    let path = match runs {
        [one] => beside(one),
        _ => PathBuf::from("report.html"),
    };
    let is_free = match std::fs::File::open(&path) {
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
        Ok(file) => {
            let mut start = Vec::new();
            let read = std::io::Read::read_to_end(&mut std::io::Read::take(file, 4096), &mut start);
            read.is_ok() && is_ours(&start)
        }
    };
    if is_free {
        return Ok(path);
    }
    Err(Error::file(
        &path,
        "is there already and is no page of this program; name another file with --output",
    ))
}

fn beside(run: &Path) -> PathBuf {
    // A folder may be named by dots.
    let whole = run.file_name().map_or_else(|| run.canonicalize().ok(), |_| Some(run.to_owned()));
    let whole = whole.unwrap_or_else(|| run.to_owned());
    let name = whole.file_name().map(|name| name.to_string_lossy().into_owned());
    whole.with_file_name(format!("{}.html", name.unwrap_or_else(|| "report".into())))
}
