//! `host policy ...`: one subcommand per file.

mod bench;
mod build;
mod inspect;
mod new;
mod project;
mod run;
mod sign;
mod test;
mod verify;

use host_trainer::records::Ending;

use crate::arguments::PolicyCommand;

pub fn policy(command: PolicyCommand) -> anyhow::Result<Ending> {
    match command {
        PolicyCommand::New(arguments) => new::new(*arguments),
        PolicyCommand::Build(arguments) => build::build(*arguments),
        PolicyCommand::Test(arguments) => test::test(&arguments),
        PolicyCommand::Bench(arguments) => bench::bench(&arguments),
        PolicyCommand::Inspect(arguments) => inspect::inspect(&arguments),
        PolicyCommand::Run(arguments) => run::run(&arguments),
        PolicyCommand::Sign(arguments) => sign::sign(&arguments),
        PolicyCommand::Verify(arguments) => verify::verify(&arguments),
    }
}
