//! From a result to an exit code and one line on stderr.

use std::process::ExitCode;

use host_data::failure::Failure;
use host_trainer::Error;
use host_trainer::error::Kind;
use host_trainer::records::Ending;

use crate::out::{say, stderr_width};

/// Prints the error of a failed command, if this is the rank that `speaks`.
pub fn code(result: anyhow::Result<Ending>, speaks: bool) -> ExitCode {
    match result {
        Ok(Ending::Finished | Ending::Stopped | Ending::EarlyStop) => ExitCode::SUCCESS,
        Ok(Ending::Interrupted) => ExitCode::from(130),
        Err(error) => {
            let code = of(&error);
            // A closed pipe (`host ... | head`) is the reader's wish, not an error.
            if code != 0 && speaks {
                say(format!("error: {}", one_line(&error)));
                // For a person; a log has the one line.
                if let (Some(topic), Some(_)) = (topic(&error), stderr_width()) {
                    say(format!("more: host explain {topic}"));
                }
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

/// What errors are about, as `host explain` names it.
#[cfg(test)]
pub const TOPICS: [&str; 16] = [
    "configuration",
    "data",
    "model",
    "device",
    "file",
    "judge",
    "policy",
    "fault",
    "need",
    "numerics",
    "checkpoint",
    "resume",
    "ranks",
    "audit",
    "unproven",
    "interrupted",
];

fn topic(error: &anyhow::Error) -> Option<&'static str> {
    let failed = error.downcast_ref().and_then(|failed| match failed {
        Failed::Audit(_) => Some("audit"),
        Failed::Unproven(_) => Some("unproven"),
        Failed::Cases(_) => Some("policy"),
        Failed::Run(_) => None,
    });
    failed
        .or_else(|| error.downcast_ref().map(of_training))
        .or_else(|| error.downcast_ref().map(of_failure))
        .or_else(|| error.downcast_ref().map(of_policy))
}

fn of_training(error: &Error) -> &'static str {
    match error {
        Error::Failure(failure) => of_failure(failure),
        Error::Policy(error) => of_policy(error),
        Error::UnmetNeed { .. } | Error::Together { .. } => "need",
        Error::Gradient { .. } | Error::NotFinite { .. } => "numerics",
        Error::Checkpoint { .. } => "checkpoint",
        Error::Resume { .. } | Error::OutputExists { .. } => "resume",
        Error::Elsewhere { .. }
        | Error::Differs { .. }
        | Error::Diverged { .. }
        | Error::NoMpi { .. }
        | Error::OneProcess
        | Error::MpiTwice => "ranks",
    }
}

fn of_failure(failure: &Failure) -> &'static str {
    match failure {
        Failure::Config { .. } => "configuration",
        Failure::Device { .. } | Failure::Tensor { .. } => "device",
        Failure::Data(_) => "data",
        Failure::Model(_) => "model",
        Failure::Read { .. } | Failure::Write { .. } | Failure::File { .. } => "file",
        Failure::Judge { .. } => "judge",
        Failure::Interrupted => "interrupted",
    }
}

fn of_policy(error: &host_sandbox::Error) -> &'static str {
    use host_sandbox::Error;
    match error {
        error if error.is_fault() => "fault",
        Error::Unmet { .. } => "need",
        Error::Key { .. } => "file",
        Error::Journal { .. } => "audit",
        Error::Limits(_) => "configuration",
        _ => "policy",
    }
}

fn one_line(error: &anyhow::Error) -> String {
    // Every message of ours holds its cause already.
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}
