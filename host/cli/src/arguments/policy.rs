//! `host policy ...`: one set of arguments per file.

mod bench;
mod build;
mod inspect;
mod new;
mod run;
mod sign;
mod test;
mod verify;

pub use bench::BenchArguments;
pub use build::BuildArguments;
pub use inspect::InspectArguments;
pub use new::NewArguments;
pub use run::RunArguments;
pub use sign::SignArguments;
pub use test::TestArguments;
pub use verify::VerifyArguments;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Write a project that builds a policy, in one of four languages.
    New(Box<NewArguments>),
    /// Build the project in a folder into FOLDER/NAME.wasm.
    Build(Box<BuildArguments>),
    /// Run a policy's recorded cases.
    Test(Box<TestArguments>),
    /// Measure what a policy costs per call.
    Bench(Box<BenchArguments>),
    /// Show what is in a policy file and what it says of itself.
    Inspect(Box<InspectArguments>),
    /// Ask a policy one recorded case, or every step of a run, and print the answers.
    Run(Box<RunArguments>),
    /// Sign a policy: writes FILE.minisig, which minisign reads as well.
    Sign(Box<SignArguments>),
    /// Check the signature of a policy.
    Verify(Box<VerifyArguments>),
}
