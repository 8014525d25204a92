//! From a result to an exit code and one line on stderr.

use std::process::ExitCode;

use host_trainer::Error;
use host_trainer::run::Ending;

pub fn code(result: anyhow::Result<Ending>) -> ExitCode {
    match result {
        Ok(Ending::Finished | Ending::Stopped) => ExitCode::SUCCESS,
        Ok(Ending::Interrupted) => ExitCode::from(130),
        Err(error) => {
            let code = of(&error);
            // A closed pipe (`host ... | head`) is the reader's wish, not an error.
            if code != 0 {
                eprintln!("error: {}", one_line(&error));
            }
            ExitCode::from(code)
        }
    }
}

fn of(error: &anyhow::Error) -> u8 {
    if let Some(io) = error.downcast_ref::<std::io::Error>() {
        return if io.kind() == std::io::ErrorKind::BrokenPipe {
            0
        } else {
            1
        };
    }
    match error.downcast_ref::<Error>() {
        Some(Error::Interrupted) => 130,
        Some(Error::Config { .. }) => 2,
        Some(Error::Policy(error)) if error.is_fault() => 3,
        _ => 1,
    }
}

fn one_line(error: &anyhow::Error) -> String {
    // Every message of ours holds its cause already.
    error
        .to_string()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}
