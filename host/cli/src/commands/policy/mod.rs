//! `host policy ...`: one subcommand per file.

mod bench;
mod inspect;
mod project;
mod run;
mod test;

use host_trainer::records::Ending;

use crate::arguments::PolicyCommand;

pub fn policy(command: PolicyCommand) -> anyhow::Result<Ending> {
    match command {
        PolicyCommand::Test(arguments) => test::test(&arguments),
        PolicyCommand::Bench(arguments) => bench::bench(&arguments),
        PolicyCommand::Inspect(arguments) => inspect::inspect(&arguments),
        PolicyCommand::Run(arguments) => run::run(&arguments),
    }
}
