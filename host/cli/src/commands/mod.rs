//! One command per file: its arguments, and what it does with them.

mod adapter;
mod audit;
mod calibrate;
mod compare;
mod completions;
mod config;
mod data;
mod doctor;
mod eval;
mod explain;
mod export;
mod generate;
mod init;
mod judge;
mod man;
mod policy;
mod registry;
mod report;
mod serve;
mod steer;
mod study;
mod subject;
mod train;
mod vector;
mod watch;

use std::path::Path;

use clap::Subcommand;
use host_sandbox::{Engine, Limits, Signer, public_path};
use host_trainer::Error;
use host_trainer::records::Ending;

use crate::home;
use crate::out::say_words;
use host_installed::POLICIES;

#[derive(Debug, Subcommand)]
pub enum Command {
    Init(Box<init::Arguments>),
    Train(Box<train::Arguments>),
    Calibrate(Box<calibrate::Arguments>),
    Eval(Box<eval::Arguments>),
    Compare(Box<compare::Arguments>),
    Report(Box<report::Arguments>),
    Watch(Box<watch::Arguments>),
    Study(Box<study::Arguments>),
    Generate(Box<generate::Arguments>),
    Serve(Box<serve::Arguments>),
    #[command(subcommand)]
    Data(data::Command),
    #[command(subcommand)]
    Steer(steer::Command),
    Audit(Box<audit::Arguments>),
    #[command(subcommand)]
    Policy(policy::Command),
    #[command(subcommand)]
    Judge(judge::Command),
    Export(Box<export::Arguments>),
    #[command(subcommand)]
    Config(config::Command),
    Doctor(Box<doctor::Arguments>),
    Explain(explain::Arguments),
    Completions(completions::Arguments),
    Man(man::Arguments),
}

impl Command {
    pub fn run(&self) -> anyhow::Result<Ending> {
        match self {
            Self::Init(arguments) => init::run(arguments),
            Self::Train(arguments) => train::run(arguments),
            Self::Calibrate(arguments) => calibrate::run(arguments),
            Self::Eval(arguments) => eval::run(arguments),
            Self::Compare(arguments) => compare::run(arguments),
            Self::Report(arguments) => report::run(arguments),
            Self::Watch(arguments) => watch::run(arguments),
            Self::Study(arguments) => study::run(arguments),
            Self::Generate(arguments) => generate::run(arguments),
            Self::Data(command) => data::run(command),
            Self::Serve(arguments) => serve::run(arguments),
            Self::Steer(command) => steer::run(command),
            Self::Audit(arguments) => audit::run(arguments),
            Self::Policy(command) => policy::run(command),
            Self::Judge(command) => judge::run(command),
            Self::Export(arguments) => export::run(arguments),
            Self::Config(command) => config::run(command),
            Self::Doctor(arguments) => doctor::run(arguments),
            Self::Explain(arguments) => explain::run(arguments),
            Self::Completions(arguments) => completions::run(arguments),
            Self::Man(arguments) => man::run(arguments),
        }
    }

    /// Whether the command may run as several MPI ranks: only a training.
    pub fn runs_in_ranks(&self) -> bool {
        matches!(self, Self::Train(arguments) if !arguments.dry_run)
    }
}

/// The engine that loads policies; they are compiled in a worker process and cached.
fn engine(limits: &Limits) -> Result<Engine, Error> {
    let engine = Engine::guarded(limits, home::worker()?, home::cache())?;
    Ok(engine.with_builtin(POLICIES))
}

/// The named secret key, or the user's own, which is made on first use.
fn signer(key: Option<&Path>) -> Result<Signer, host_sandbox::Error> {
    if let Some(key) = key {
        return Signer::open(key);
    }
    let path = home::key()?;
    let (signer, made) = Signer::open_or_create(&path)?;
    if made {
        say_words(format!(
            "note: made a key that signs what you do: {} (its public half: {})",
            path.display(),
            public_path(&path).display()
        ));
    }
    Ok(signer)
}
