//! `host policy ...`: one subcommand per file.

mod build;
mod new;

use host_trainer::run::Ending;

use crate::arguments::PolicyCommand;

pub fn policy(command: PolicyCommand) -> anyhow::Result<Ending> {
    match command {
        PolicyCommand::New(arguments) => new::new(*arguments),
        PolicyCommand::Build(arguments) => build::build(*arguments),
    }
}
