//! `host policy ...`: one subcommand per file.

mod build;
mod new;
mod sign;
mod verify;

use host_trainer::records::Ending;

use crate::arguments::PolicyCommand;

pub fn policy(command: PolicyCommand) -> anyhow::Result<Ending> {
    match command {
        PolicyCommand::New(arguments) => new::new(*arguments),
        PolicyCommand::Build(arguments) => build::build(*arguments),
        PolicyCommand::Sign(arguments) => sign::sign(&arguments),
        PolicyCommand::Verify(arguments) => verify::verify(&arguments),
    }
}
