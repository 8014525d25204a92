use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub struct RunArguments {
    /// Policy to ask.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Case with the function and its arguments.
    #[arg(value_name = "CASE.json")]
    pub case: PathBuf,
}
