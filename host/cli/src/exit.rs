//! From a result to an exit code and one line on stderr.

use std::process::ExitCode;

use host_data::failure::Failure;
use host_trainer::Error;
use host_trainer::error::Kind;
use host_trainer::records::Ending;

use crate::out::say;

/// Prints the error of a failed command, if this is the rank that `speaks`.
pub fn code(result: anyhow::Result<Ending>, speaks: bool) -> ExitCode {
    match result {
        Ok(Ending::Finished | Ending::Stopped) => ExitCode::SUCCESS,
        Ok(Ending::Interrupted) => ExitCode::from(130),
        Err(error) => {
            let code = of(&error);
            // A closed pipe (`host ... | head`) is the reader's wish, not an error.
            if code != 0 && speaks {
                say(format!("error: {}", one_line(&error)));
            }
            ExitCode::from(code)
        }
    }
}

/// A check that failed; its report went to stdout.
#[derive(Debug)]
pub enum Failed {
    /// An audit: exit code 4.
    Audit(String),
    /// An audit that found nothing wrong and doesn't show what it was asked for: exit code 5.
    Unproven(String),
    /// Tests of a policy: exit code 1.
    Cases(String),
    /// A run whose result is worth nothing: exit code 1.
    Run(String),
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Audit(why) | Self::Unproven(why) | Self::Cases(why) | Self::Run(why) => {
                f.write_str(why)
            }
        }
    }
}

impl std::error::Error for Failed {}

fn of(error: &anyhow::Error) -> u8 {
    match error.downcast_ref() {
        Some(Failed::Audit(_)) => return 4,
        Some(Failed::Unproven(_)) => return 5,
        _ => {}
    }
    if let Some(io) = error.downcast_ref::<std::io::Error>() {
        return if io.kind() == std::io::ErrorKind::BrokenPipe { 0 } else { 1 };
    }
    if let Some(error) = error.downcast_ref::<Error>() {
        return match error.kind() {
            Kind::Usage => 2,
            Kind::Fault => 3,
            Kind::Interrupted => 130,
            Kind::Other => 1,
        };
    }
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return match failure {
            Failure::Config { .. } => 2,
            Failure::Interrupted => 130,
            _ => 1,
        };
    }
    if let Some(error) = error.downcast_ref::<host_serve::Error>() {
        return if error.is_usage() { 2 } else { 1 };
    }
    match error.downcast_ref::<host_sandbox::Error>() {
        Some(error) if error.is_fault() => 3,
        _ => 1,
    }
}

fn one_line(error: &anyhow::Error) -> String {
    // Every message of ours holds its cause already.
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}
