//! `host steer`: vectors that are added to the residual stream.

mod eval;
mod fit;

use clap::Subcommand;
use host_trainer::records::Ending;

/// Fit steering vectors, and measure what they do to refusals.
#[derive(Debug, Subcommand)]
pub enum Command {
    Fit(Box<fit::Arguments>),
    Eval(Box<eval::Arguments>),
}

pub fn run(command: &Command) -> anyhow::Result<Ending> {
    match command {
        Command::Fit(arguments) => fit::run(arguments),
        Command::Eval(arguments) => eval::run(arguments),
    }
}
