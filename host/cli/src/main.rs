//! `host`: fine-tune a language model under a sandboxed safety policy.
//!
//! stdout is data, stderr is for people. Exit codes: 0 ok, 1 error, 2 usage,
//! 3 policy fault, 4 audit failed, 130 interrupted.

mod arguments;
mod commands;
mod exit;
mod home;
mod screen;
mod signal;

use clap::Parser;
use host_trainer::{Error, ranks};

use arguments::{Cli, Command};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    // Before anything else of the program starts: a worker has a job of its own.
    if std::env::args_os().nth(1).is_some_and(|argument| argument == home::WORKER) {
        return host_policy::worker::serve();
    }
    // candle's elementwise thread pool spins and steals time from our own threads;
    // it reads this once, so it must be set before anything else starts.
    if std::env::var_os("CANDLE_NUM_THREADS").is_none() {
        // SAFETY: no other thread exists yet.
        unsafe { std::env::set_var("CANDLE_NUM_THREADS", "1") };
    }
    let launched = ranks::launched();
    let speaks = launched.is_none_or(|launched| launched.rank == 0);
    let several = launched.is_some_and(|launched| launched.size > 1);
    let cli = Cli::try_parse().unwrap_or_else(|error| match speaks {
        true => error.exit(),
        false => std::process::exit(error.exit_code()),
    });
    screen::log(cli.verbose, speaks);
    let trains = matches!(&cli.command, Command::Train(arguments) if !arguments.dry_run);
    let result = match cli.command {
        _ if several && !trains => Err(Error::OneProcess.into()),
        Command::Train(arguments) => commands::train(arguments),
        Command::Calibrate(arguments) => commands::calibrate(arguments),
        Command::Eval(arguments) => commands::eval(arguments),
        Command::Compare(arguments) => commands::compare(arguments),
        Command::Generate(arguments) => commands::generate(arguments),
        Command::Steer(command) => commands::steer(command),
        Command::Audit(arguments) => commands::audit(arguments),
        Command::Policy(command) => commands::policy(command),
        Command::Judge(command) => commands::judge(command),
        Command::Export(arguments) => commands::export(arguments),
    };
    exit::code(result, speaks)
}
