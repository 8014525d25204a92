//! What keeps a command from going on before and beside the training: a configuration,
//! a file, a model, a judge.

use std::path::{Path, PathBuf};

/// A result whose error is one line for a person.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// Every message is one line: what happened, where, and what to do next.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A configuration key or value that can't be used. `key` is the dotted path.
    #[error("configuration: {key}: {problem}")]
    Config { key: String, problem: String },

    /// A device that this build knows and this machine doesn't have.
    #[error("device {name} can't be used ({problem}); choose one that nvidia-smi lists, or cpu")]
    Device { name: String, problem: String },

    /// A data file or one of its rows.
    #[error(transparent)]
    Data(#[from] crate::Error),

    /// A model that can't be loaded or run.
    #[error(transparent)]
    Model(#[from] host_model::Error),

    /// Tensor arithmetic that failed; `step` is empty or names the optimizer step.
    #[error("{step}tensor computation failed: {source}{}", host_model::error::hint(.source))]
    Tensor { step: String, source: candle_core::Error },

    /// A file that can't be read.
    #[error("cannot read {path}: {source}; check the path")]
    Read { path: PathBuf, source: std::io::Error },

    /// A file that can't be written.
    #[error("cannot write {path}: {source}{}", hint(.source))]
    Write { path: PathBuf, source: std::io::Error },

    /// A file of ours (calibration, manifest) that doesn't hold what it should.
    #[error("{path}: {problem}")]
    File { path: PathBuf, problem: String },

    /// A judge that was tried out and failed.
    #[error("judge {judge} can't judge: {problem}; {remedy}")]
    Judge { judge: String, problem: String, remedy: String },

    /// Ctrl-C outside the training loop, where there is nothing to save.
    #[error("interrupted")]
    Interrupted,
}

impl Failure {
    /// A key of the configuration and what is wrong with its value.
    pub fn config(key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Config { key: key.into(), problem: problem.into() }
    }

    /// A file that can't be read.
    pub fn read(path: &Path, source: std::io::Error) -> Self {
        Self::Read { path: path.into(), source }
    }

    /// A file that can't be written.
    pub fn write(path: &Path, source: std::io::Error) -> Self {
        Self::Write { path: path.into(), source }
    }

    /// A file that doesn't hold what it should.
    pub fn file(path: &Path, problem: impl Into<String>) -> Self {
        Self::File { path: path.into(), problem: problem.into() }
    }
}

impl From<candle_core::Error> for Failure {
    fn from(source: candle_core::Error) -> Self {
        Self::Tensor { step: String::new(), source }
    }
}

impl From<host_files::Error> for Failure {
    fn from(error: host_files::Error) -> Self {
        use host_files::Error::{Exists, Io, Json, Shorter};
        match error {
            Io { path, source } => Self::Write { path, source },
            Json { path, source } => Self::File { path, problem: source.to_string() },
            Exists { path } => Self::File {
                path,
                problem: "exists already; give another name, or remove it".into(),
            },
            Shorter { path } => Self::File {
                path,
                problem: "is shorter than it was at the last checkpoint, so the run can't go on; \
                          start a new one"
                    .into(),
            },
        }
    }
}

fn hint(source: &std::io::Error) -> &'static str {
    match source.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            "; free some space and start again"
        }
        std::io::ErrorKind::PermissionDenied => {
            "; check the folder's permissions or choose another --output"
        }
        _ => "",
    }
}
