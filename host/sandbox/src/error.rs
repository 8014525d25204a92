//! What can go wrong with a policy, one line per cause.

use crate::{
    call_site::{CallSite, Function},
    limits::{BadLimit, Limit},
};
use host_contract::Invalid;
use std::{
    fmt,
    path::{Path, PathBuf},
};

/// A result whose error is one line for a person.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a file is no policy, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileProblem {
    /// What is wrong with the file.
    pub problem: String,
    /// What its author or user can do.
    pub remedy: String,
}

/// What to do about a file that is not, or not quite, a policy.
pub(crate) const REBUILD: &str = "rebuild it against wit/v0.2/policy.wit, world policy";

impl FileProblem {
    /// A problem with its remedy.
    pub fn new(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { problem: problem.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for FileProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.problem, self.remedy)
    }
}

/// Everything that can go wrong between a policy file and an assessment. The message of a
/// variant says what its fields are.
#[expect(missing_docs)]
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A limit in the run's configuration is unusable.
    #[error(transparent)]
    Limits(#[from] BadLimit),

    /// The WebAssembly engine doesn't start on this machine.
    #[error("the WebAssembly engine can't run: {problem}")]
    Engine { problem: String },

    #[error("can't read the policy {}: {source}; give the path of a policy component (.wasm)", path.display())]
    Read { path: PathBuf, source: std::io::Error },

    /// The file is no policy component, or one that imports something.
    #[error("policy {file}: {problem}")]
    File { file: String, problem: FileProblem },

    /// The file is not the one that was pinned. Found before it is compiled.
    #[error(
        "policy {file}: its sha256 is {actual}, but {expected} is pinned; \
         restore the pinned file, or pin the new one after reviewing it"
    )]
    Digest { file: String, expected: String, actual: String },

    /// The file is not signed by the key that was asked for.
    #[error(
        "policy {file}: {problem}; \
         have it signed with {by}, or don't require a signature"
    )]
    Unsigned { file: String, problem: String, by: &'static str },

    /// The file, or the key that signed it, is on the list of what is no longer trusted.
    #[error("policy {file}: {what} was revoked: {why}; take another policy")]
    Revoked { file: String, what: String, why: String },

    /// A list of revocations that can't be read.
    #[error("the list of revocations {}: {problem}", path.display())]
    Revocations { path: PathBuf, problem: String },

    /// A key that can't be used.
    #[error("key {key}: {problem}")]
    Key { key: String, problem: String },

    /// A journal that can't be written, or that doesn't hold what it should.
    #[error("journal {}: {problem}", path.display())]
    Journal { path: PathBuf, problem: String },

    /// The settings are no JSON object, or the policy refuses them.
    #[error("{at}: the settings are refused: {message}")]
    Settings { at: Box<CallSite>, message: String },

    /// The policy works, but asks for what this run doesn't have.
    #[error("{at}: this run can't give the policy what it needs: {invalid}")]
    Unmet { at: Box<CallSite>, invalid: Invalid },

    /// `calibrate` or `assess` returned its own error.
    #[error("{at}: the policy gave up: {message}")]
    Refused { at: Box<CallSite>, message: String },

    /// A call went past a limit and was stopped.
    #[error("{at}: {}; {}", limit.exceeded(*allowed), limit.remedy(at.function))]
    Limit { at: Box<CallSite>, limit: Limit, allowed: u64 },

    /// The policy crashed.
    #[error("{at}: the policy crashed: {cause}")]
    Trap { at: Box<CallSite>, cause: String },

    /// The answer could not be read out of the policy's memory.
    #[error(
        "{at}: the answer can't be read: {cause}; the policy's bindings are broken, rebuild it"
    )]
    Unreadable { at: Box<CallSite>, cause: String },

    /// The answer breaks the interface's rules.
    #[error("{at}: invalid answer: {invalid}")]
    Invalid { at: Box<CallSite>, invalid: Invalid },
}

impl Error {
    /// True if the policy misbehaved: it trapped, went past a limit, answered
    /// nonsense, or gave up in the middle of a run. Such a run ends with exit code
    /// 3. False if the file, the settings or the run don't fit (exit code 1).
    pub fn is_fault(&self) -> bool {
        match self {
            Self::Limit { limit, .. } => !matches!(limit, Limit::Settings | Limit::Input),
            Self::Trap { .. } | Self::Unreadable { .. } | Self::Invalid { .. } => true,
            Self::Refused { at, .. } => at.function == Function::Assess,
            _ => false,
        }
    }

    /// Where it happened; absent for what went wrong before any call.
    pub fn place(&self) -> Option<&CallSite> {
        match self {
            Self::Settings { at, .. } | Self::Unmet { at, .. } | Self::Refused { at, .. } => {
                Some(at)
            }
            Self::Limit { at, .. } | Self::Trap { at, .. } => Some(at),
            Self::Unreadable { at, .. } | Self::Invalid { at, .. } => Some(at),
            _ => None,
        }
    }

    /// A journal that can't be written, with a hint where the disk is full.
    pub fn journal(path: &Path, source: &std::io::Error) -> Self {
        let hint = match source.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                "; free some space, or choose --journal light"
            }
            _ => "",
        };
        Self::Journal { path: path.to_owned(), problem: format!("{source}{hint}") }
    }

    /// Turns a broken rule into the error it is: the policy's fault, or needs that
    /// this run can't meet.
    pub(crate) fn invalid(at: &CallSite, invalid: Invalid) -> Self {
        let at = Box::new(at.clone());
        if invalid.unmet { Self::Unmet { at, invalid } } else { Self::Invalid { at, invalid } }
    }
}
