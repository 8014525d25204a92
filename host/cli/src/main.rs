//! `host`: fine-tune a language model under a sandboxed safety policy.
//!
//! stdout is data, stderr is for people. Exit codes: 0 ok, 1 error, 2 usage,
//! 3 policy fault, 4 audit failed, 130 interrupted.
#![deny(clippy::print_stdout, clippy::print_stderr, reason = "all text goes through `out`")]

mod commands;
mod exit;
mod flags;
mod home;
mod out;
mod screen;
mod signal;

use clap::{CommandFactory as _, FromArgMatches as _, Parser};
use host_trainer::{Error, ranks};

use commands::Command;

#[derive(Debug, Parser)]
#[command(name = "host", version, about, max_term_width = 100)]
struct Cli {
    /// Show more of what happens (-v: information, -vv: details).
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    verbose: u8,
    #[command(subcommand)]
    command: Command,
}

impl Cli {
    /// All commands, as help, manual pages and completions show them.
    fn commands() -> clap::Command {
        flags::grouped(Self::command())
    }

    fn read<W: Into<std::ffi::OsString> + Clone>(
        words: impl IntoIterator<Item = W>,
    ) -> Result<Self, clap::Error> {
        let mut commands = Self::commands();
        let matches = commands.try_get_matches_from_mut(words)?;
        Self::from_arg_matches(&matches).map_err(|error| error.format(&mut commands))
    }
}

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    // Before anything else of the program starts: a worker has a job of its own.
    if std::env::args_os().nth(1).is_some_and(|argument| argument == home::WORKER) {
        return home::work();
    }
    out::say_panics();
    // candle's elementwise thread pool spins and steals time from our own threads;
    // it reads this once, so it must be set before anything else starts.
    if std::env::var_os("CANDLE_NUM_THREADS").is_none() {
        // SAFETY: no other thread exists yet.
        #[expect(unsafe_code, reason = "candle reads it from the environment")]
        unsafe {
            std::env::set_var("CANDLE_NUM_THREADS", "1");
        };
    }
    let launched = ranks::launched();
    let speaks = launched.is_none_or(|launched| launched.rank == 0);
    let several = launched.is_some_and(|launched| launched.size > 1);
    let cli = Cli::read(std::env::args_os()).unwrap_or_else(|error| {
        if speaks {
            out::exit_with(&error, Cli::read)
        } else {
            std::process::exit(error.exit_code())
        }
    });
    screen::log(cli.verbose, speaks);
    home::register_reader();
    let result = if several && !cli.command.runs_in_ranks() {
        Err(Error::OneProcess.into())
    } else {
        cli.command.run()
    };
    exit::code(result, speaks)
}
