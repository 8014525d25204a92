//! `host policy`: policy files and the projects that they are built in.

mod bench;
mod build;
mod inspect;
mod list;
mod new;
mod project;
mod pull;
mod push;
mod run;
mod sign;
mod test;
mod verify;

use clap::Subcommand;
use host_trainer::records::Ending;

/// List, write, build, test, measure, look into, sign and send around policies.
#[derive(Debug, Subcommand)]
pub enum Command {
    List(Box<list::Arguments>),
    New(Box<new::Arguments>),
    Build(Box<build::Arguments>),
    Test(Box<test::Arguments>),
    Bench(Box<bench::Arguments>),
    Inspect(Box<inspect::Arguments>),
    Run(Box<run::Arguments>),
    Sign(Box<sign::Arguments>),
    Verify(Box<verify::Arguments>),
    Push(Box<push::Arguments>),
    Pull(Box<pull::Arguments>),
}

pub fn run(command: &Command) -> anyhow::Result<Ending> {
    match command {
        Command::List(arguments) => list::run(arguments),
        Command::New(arguments) => new::run(arguments),
        Command::Build(arguments) => build::run(arguments),
        Command::Test(arguments) => test::run(arguments),
        Command::Bench(arguments) => bench::run(arguments),
        Command::Inspect(arguments) => inspect::run(arguments),
        Command::Run(arguments) => run::run(arguments),
        Command::Sign(arguments) => sign::run(arguments),
        Command::Verify(arguments) => verify::run(arguments),
        Command::Push(arguments) => push::run(arguments),
        Command::Pull(arguments) => pull::run(arguments),
    }
}
