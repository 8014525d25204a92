mod file;
mod page;
mod run;
mod text;
mod timestamp;

pub use run::{calibrated, journal_folder};
pub use text::inspection;

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{ArgGroup, Args};
use host_audit::checks::Field;
use host_trainer::Error;
use host_trainer::config::{Layers, RunConfig};
use host_trainer::records::Ending;

use crate::commands::registry::RegistryFlags;
use crate::commands::subject::SubjectFlags;

/// Check a policy before it is trusted, or the journal of a run after it ended.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("audited").required(true).multiple(true).args(["file", "run"])))]
pub struct Arguments {
    /// Policy to audit before it is trusted: a file, builtin:NAME, or oci://REGISTRY/NAME:TAG.
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Folder of a run: verifies its journal and replays every assessment. With FILE, which can
    /// have several: checks the policy on the signals that these runs recorded as well.
    #[arg(long, value_name = "DIR", num_args = 1..)]
    pub run: Vec<PathBuf>,
    /// With --run: also show what this policy would have said at every step.
    #[arg(long, value_name = "FILE", requires = "run", conflicts_with = "file")]
    pub policy: Option<PathBuf>,
    /// With --run: public key that must have signed the journal, a file or the key
    /// itself.
    #[arg(long, value_name = "KEY", requires = "run")]
    pub key: Option<String>,
    #[command(flatten)]
    timestamp: timestamp::TimestampFlags,
    #[command(flatten)]
    pub subject: SubjectFlags,
    #[command(flatten)]
    pub registry: RegistryFlags,
    /// Public key that must have signed the policy: a file, or the key itself.
    #[arg(long, value_name = "KEY", requires = "file")]
    pub signed_by: Option<String>,
    /// Calls with the same arguments that must give the same bytes.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(2..))]
    pub repeats: u32,
    /// What an answer may depend on beside the measurements, as a schedule does on the step. Can
    /// be repeated.
    #[arg(long, value_name = "FIELD", requires = "file", value_parser = field())]
    pub depends_on: Vec<String>,
    /// Change a limit, such as limits.fuel_per_call=1000000, or run the policy in a process of its
    /// own with trust.isolate=true. Can be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub assignments: Vec<String>,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
    /// Also write the report as a page of its own, to read and to print.
    #[arg(long, value_name = "OUT.html", requires = "file")]
    pub html: Option<PathBuf>,
    /// Print no progress.
    #[arg(short, long)]
    pub quiet: bool,
}

impl Arguments {
    /// What the policies may use while they are audited, and where they run.
    fn config(&self) -> Result<RunConfig, Error> {
        let mut layers = Layers::default();
        for assignment in &self.assignments {
            layers.add_assignment(assignment)?;
        }
        layers.resolve()
    }
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    match (&arguments.file, &arguments.run[..]) {
        (Some(path), _) => file::audit(path, arguments),
        (None, [folder]) => run::audit(folder, arguments),
        // The arguments ask for one of the two.
        (None, []) => Ok(Ending::Finished),
        (None, several) => {
            let problem = "names several runs; without a policy FILE, audit one at a time";
            Err(Error::config("--run", format!("{problem}, as {}", several[0].display())).into())
        }
    }
}

fn field() -> PossibleValuesParser {
    PossibleValuesParser::new(Field::ALL.map(|(name, _)| name))
}
