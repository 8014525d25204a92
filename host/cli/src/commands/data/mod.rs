//! `host data`: data files, without a training.

mod check;

use clap::Subcommand;
use host_trainer::records::Ending;

/// Look at data files before they are trained on.
#[derive(Debug, Subcommand)]
pub enum Command {
    Check(Box<check::Arguments>),
}

pub fn run(command: &Command) -> anyhow::Result<Ending> {
    match command {
        Command::Check(arguments) => check::run(arguments),
    }
}
