use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub struct VerifyArguments {
    /// The policy's .wasm; its signature lies beside it.
    pub file: PathBuf,
    /// Public key: a file, or the key itself.
    #[arg(long, value_name = "KEY")]
    pub key: String,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}
