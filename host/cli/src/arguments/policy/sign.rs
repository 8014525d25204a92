use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub struct SignArguments {
    /// The policy's .wasm.
    pub file: PathBuf,
    /// Secret key; made, without a password, if the file does not exist. Default: your
    /// own.
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}
