//! `host config`: the configuration of a run.

mod check;
mod example;
mod schema;
mod show;

use clap::Subcommand;
use host_trainer::records::Ending;

/// Show, check and describe the configuration of a run.
#[derive(Debug, Subcommand)]
pub enum Command {
    Show(Box<show::Arguments>),
    Check(Box<check::Arguments>),
    Example(example::Arguments),
    Schema(schema::Arguments),
}

pub fn run(command: &Command) -> anyhow::Result<Ending> {
    match command {
        Command::Show(arguments) => show::run(arguments),
        Command::Check(arguments) => check::run(arguments),
        Command::Example(arguments) => example::run(arguments),
        Command::Schema(arguments) => schema::run(arguments),
    }
}
