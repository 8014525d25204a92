//! What keeps a policy from coming or going: one line, with what to do next.

use std::path::Path;

use host_files::text::{clean, line};
use host_sandbox::{Error as PolicyError, FileProblem};
use host_web::Failure;

use crate::reference::Reference;

/// A result whose error is one line for a person.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A reference, what is wrong with it or its registry, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{reference}: {problem}; {action}")]
pub struct Error {
    /// As it was named.
    pub reference: String,
    /// Without a full stop.
    pub problem: String,
    /// What to do next.
    pub action: String,
}

impl Error {
    /// Of a name that can't be read.
    pub fn named(path: &Path, problem: &str) -> Self {
        let (problem, action) = problem.split_once("; ").unwrap_or((problem, "check the name"));
        Self {
            reference: path.display().to_string(),
            problem: problem.into(),
            action: action.into(),
        }
    }
}

impl From<Error> for FileProblem {
    fn from(error: Error) -> Self {
        Self::new(error.problem, error.action)
    }
}

/// As of any policy file that can't be used.
impl From<Error> for PolicyError {
    fn from(error: Error) -> Self {
        Self::File { file: clean(&error.reference, 1000), problem: error.into() }
    }
}

/// An error whose reference isn't said yet.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub problem: String,
    pub action: String,
    /// Whether it is the network or the server, and may pass.
    pub passing: bool,
}

pub(crate) type Attempt<T> = std::result::Result<T, Problem>;

impl Problem {
    pub fn new(problem: impl Into<String>, action: impl Into<String>) -> Self {
        Self { problem: problem.into(), action: action.into(), passing: false }
    }

    /// Something that an honest registry doesn't do; continues "the registry ...".
    pub fn lie(what: impl std::fmt::Display) -> Self {
        let action = "nothing of it is used; check the name, or ask whoever runs the registry";
        Self::new(format!("the registry {what}"), action)
    }

    pub fn of(self, reference: &Reference) -> Error {
        Error {
            reference: reference.to_string(),
            problem: line(&self.problem).into_owned(),
            action: self.action,
        }
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unreachable(why) => Self {
                passing: true,
                ..Self::new(
                    format!("the registry can't be reached ({why})"),
                    "check the name and the network, and try again; what was pulled before is \
                     there with --offline, or by its digest",
                )
            },
            Failure::Untrusted(what) => Self::lie(what),
            Failure::Status(status) => {
                Self::new(format!("the registry answers with status {status}"), "try again later")
            }
            Failure::Cache(error) => Self::new(
                format!("can't be written ({error})"),
                "make room, or name another folder with XDG_CACHE_HOME",
            ),
        }
    }
}
