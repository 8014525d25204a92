//! Reports: runs and studies as pages of their own, and the data behind them.
//!
//! ```text
//! read     folders -> Report        what is there, capped and counted
//! Report   page(..)                 HTML that loads nothing
//!          serde                    the same for programs
//! ```
//!
//! Nobody vouches for what is read. A part that is missing or damaged costs itself and is told; text is
//! cut at a length and what is left out is counted.
#![warn(missing_docs)]

mod answers;
mod calibration;
mod curves;
mod journal;
mod made_of;
mod page;
mod part;
mod rows;
mod run;
mod runs;
mod shares;
mod state;
mod study;
mod time;

use std::path::{Path, PathBuf};

use host_sandbox::PublicKey;
use host_trainer::config::check_run;
use host_trainer::{Error, Result};
use serde::Serialize;

pub use host_html::{Refresh, is_ours};
pub use run::Run;
pub use runs::Runs;
pub use state::state;
pub use study::Study;

/// What a report is of.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Report {
    /// One run, finished or not.
    Run(Box<Run>),
    /// Several runs beside each other.
    Runs(Box<Runs>),
    /// What `host study` left.
    Study(Box<Study>),
}

/// How a report is made.
#[derive(Debug, Default)]
pub struct Options {
    /// The key that must have signed the journal; else the one that lies beside it.
    pub key: Option<PublicKey>,
    /// A run that goes on meanwhile: what takes long or is being written is left out, and said so.
    pub glance: bool,
}

/// Reads one run, several runs, or the folder of a study.
///
/// # Errors
/// A folder that is none of these.
pub fn read(folders: &[PathBuf], options: &Options) -> Result<Report> {
    match folders {
        [one] if study::is_one(one) => Ok(Report::Study(Box::new(Study::read(one)?))),
        [one] => Ok(Report::Run(Box::new(Run::read(&checked(one)?, options)))),
        several => {
            let several: Vec<PathBuf> =
                several.iter().map(|one| checked(one)).collect::<Result<_>>()?;
            Ok(Report::Runs(Box::new(Runs::read(&several)?)))
        }
    }
}

/// A folder that a run was begun in.
fn checked(folder: &Path) -> Result<PathBuf> {
    check_run(folder)?;
    Ok(folder.into())
}

impl Report {
    /// The page.
    ///
    /// # Errors
    /// A bug of a template, as an error of the report.
    pub fn page(&self, refresh: Refresh) -> Result<String> {
        let page = match self {
            Self::Run(run) => page::run(run, refresh),
            Self::Runs(runs) => page::runs(runs, refresh),
            Self::Study(study) => page::study(study, refresh),
        };
        page.map_err(|error| {
            Error::config("report", format!("{error}; this is a bug, please report it"))
        })
    }
}
