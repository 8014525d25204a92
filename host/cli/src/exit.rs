//! From a result to an exit code and one line on stderr.

use std::process::ExitCode;

use host_trainer::Error;
use host_trainer::records::Ending;

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

/// What was looked at is not as it must be. The report of it went to stdout.
#[derive(Debug)]
pub enum Failed {
    /// An audit: exit code 4.
    Audit(String),
    /// Tests of a policy: exit code 1.
    Cases(String),
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Audit(why) | Self::Cases(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Failed {}

fn of(error: &anyhow::Error) -> u8 {
    if let Some(Failed::Audit(_)) = error.downcast_ref() {
        return 4;
    }
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
