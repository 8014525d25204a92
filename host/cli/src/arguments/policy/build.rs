use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub struct BuildArguments {
    /// Folder of the project, with its policy.toml.
    #[arg(value_name = "DIR", default_value = ".")]
    pub folder: PathBuf,
    /// Print what was built as JSON.
    #[arg(long)]
    pub json: bool,
}
