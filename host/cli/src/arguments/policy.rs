//! `host policy ...`: one set of arguments per file.

mod build;
mod new;
mod sign;
mod verify;

pub use build::BuildArguments;
pub use new::NewArguments;
pub use sign::SignArguments;
pub use verify::VerifyArguments;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Write a project that builds a policy, in one of four languages.
    New(Box<NewArguments>),
    /// Build the project in a folder into FOLDER/NAME.wasm.
    Build(Box<BuildArguments>),
    /// Sign a policy: writes FILE.minisig, which minisign reads as well.
    Sign(Box<SignArguments>),
    /// Check the signature of a policy.
    Verify(Box<VerifyArguments>),
}
