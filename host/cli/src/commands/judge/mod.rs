//! `host judge`: judges of harm, without a training.

mod fit;
mod score;

use clap::Subcommand;
use host_trainer::records::Ending;

/// Score rows with a judge of harm, and fit one.
#[derive(Debug, Subcommand)]
pub enum Command {
    Score(Box<score::Arguments>),
    Fit(Box<fit::Arguments>),
}

pub fn run(command: &Command) -> anyhow::Result<Ending> {
    match command {
        Command::Score(arguments) => score::run(arguments),
        Command::Fit(arguments) => fit::run(arguments),
    }
}
