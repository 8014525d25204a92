//! Arguments of `host policy`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Sign a policy: writes FILE.minisig, which minisign reads as well.
    Sign(Box<SignArguments>),
    /// Check the signature of a policy.
    Verify(Box<VerifyArguments>),
}

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
