use std::path::PathBuf;

use clap::{ArgGroup, Args};

use crate::arguments::SubjectArguments;

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("asked").required(true).args(["case", "run"])))]
pub struct RunArguments {
    /// Policy to ask.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Case with the function and its arguments.
    #[arg(value_name = "CASE.json")]
    pub case: Option<PathBuf>,
    /// Folder of a run: asks the policy what it makes of every recorded step.
    #[arg(long, value_name = "DIR")]
    pub run: Option<PathBuf>,
    #[command(flatten)]
    pub subject: SubjectArguments,
}
