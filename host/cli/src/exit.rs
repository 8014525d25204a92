//! From a result to an exit code and one line on stderr.

use std::process::ExitCode;

use host_trainer::Error;
use host_trainer::records::Ending;

/// How a command came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Done,
    Interrupted,
    /// It did its work, and what it looked at doesn't pass.
    AuditFailed,
}

impl From<Ending> for Outcome {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Finished | Ending::Stopped => Self::Done,
            Ending::Interrupted => Self::Interrupted,
        }
    }
}

pub fn code(result: anyhow::Result<Outcome>) -> ExitCode {
    match result {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Interrupted) => ExitCode::from(130),
        Ok(Outcome::AuditFailed) => ExitCode::from(4),
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
    let policy = match error.downcast_ref::<Error>() {
        Some(Error::Interrupted) => return 130,
        Some(Error::Config { .. }) => return 2,
        Some(Error::Policy(error)) => Some(error),
        _ => error.downcast_ref::<host_policy::Error>(),
    };
    match policy {
        Some(error) if error.is_fault() => 3,
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
