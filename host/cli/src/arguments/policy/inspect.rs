use std::path::PathBuf;

use clap::Args;

use crate::arguments::SubjectArguments;

#[derive(Debug, Args)]
pub struct InspectArguments {
    /// Policy to look into.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    #[command(flatten)]
    pub subject: SubjectArguments,
    /// Public key to check its signature with: a file, or the key itself.
    #[arg(long, value_name = "KEY")]
    pub signed_by: Option<String>,
    /// Print its interfaces as WIT, and nothing else.
    #[arg(long, conflicts_with = "json")]
    pub wit: bool,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}
