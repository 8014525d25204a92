//! `host policy ...`: one set of arguments per file.

mod bench;
mod inspect;
mod run;
mod test;

pub use bench::BenchArguments;
pub use inspect::InspectArguments;
pub use run::RunArguments;
pub use test::TestArguments;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Run a policy's recorded cases.
    Test(Box<TestArguments>),
    /// Measure what a policy costs per call.
    Bench(Box<BenchArguments>),
    /// Show what is in a policy file and what it says of itself.
    Inspect(Box<InspectArguments>),
    /// Ask a policy one recorded case, and print the answer.
    Run(Box<RunArguments>),
}
