mod file;
mod page;
mod run;
mod text;

pub use run::{calibrated, journal_folder};
pub use text::inspection;

use std::path::PathBuf;

use clap::{ArgGroup, Args};
use host_sandbox::Limits;
use host_trainer::Error;
use host_trainer::config::Layers;
use host_trainer::records::Ending;

use crate::commands::subject::SubjectFlags;

/// Check a policy before it is trusted, or the journal of a run after it ended.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("audited").required(true).args(["file", "run"])))]
pub struct Arguments {
    /// Policy to audit before it is trusted.
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Folder of a run: verifies its journal and replays every assessment.
    #[arg(long, value_name = "DIR")]
    pub run: Option<PathBuf>,
    /// With --run: also show what this policy would have said at every step.
    #[arg(long, value_name = "FILE", requires = "run")]
    pub policy: Option<PathBuf>,
    /// With --run: public key that must have signed the journal, a file or the key
    /// itself.
    #[arg(long, value_name = "KEY", requires = "run")]
    pub key: Option<String>,
    #[command(flatten)]
    pub subject: SubjectFlags,
    /// Public key that must have signed the policy: a file, or the key itself.
    #[arg(long, value_name = "KEY", conflicts_with = "run")]
    pub signed_by: Option<String>,
    /// Calls with the same arguments that must give the same bytes.
    #[arg(long, value_name = "N", default_value_t = 1000, conflicts_with = "run", value_parser = clap::value_parser!(u32).range(2..))]
    pub repeats: u32,
    /// Change a limit, such as limits.fuel_per_call=1000000. Can be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub assignments: Vec<String>,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
    /// Also write the report as a page of its own, to read and to print.
    #[arg(long, value_name = "OUT.html", conflicts_with = "run")]
    pub html: Option<PathBuf>,
    /// Print no progress.
    #[arg(short, long)]
    pub quiet: bool,
}

impl Arguments {
    /// What the policies may use while they are audited.
    fn limits(&self) -> Result<Limits, Error> {
        let mut layers = Layers::default();
        for assignment in &self.assignments {
            layers.add_assignment(assignment)?;
        }
        Ok(layers.resolve()?.limits)
    }
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    match (&arguments.file, &arguments.run) {
        (Some(path), _) => file::audit(path, arguments),
        (None, Some(folder)) => run::audit(folder, arguments),
        // The arguments ask for one of the two.
        (None, None) => Ok(Ending::Finished),
    }
}
