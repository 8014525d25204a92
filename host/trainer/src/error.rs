//! What can go wrong between the arguments and the last checkpoint.

use std::path::{Path, PathBuf};

use host_audit::FileError;
use host_data::Failure;
use serde::{Deserialize, Serialize};

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A configuration, a file, a model or a judge.
    #[error(transparent)]
    Failure(#[from] Failure),

    #[error(transparent)]
    Policy(#[from] host_sandbox::Error),

    /// The run can't give the policy what it declared in `needs`.
    #[error("policy {policy} needs {need}, which this run can't give: {remedy}")]
    UnmetNeed { policy: String, need: String, remedy: String },

    /// Several policies, of which one has no order with the others.
    #[error(
        "policy {policy} may use {actuator}, which {why}, so no other policy can work beside it; \
         run it as the only policy, or leave it out"
    )]
    Together { policy: String, actuator: &'static str, why: &'static str },

    /// An adapter tensor that the loss does not reach, or reaches with NaN.
    #[error("step {step}: {problem}; nothing was updated")]
    Gradient { step: u64, problem: String },

    /// Several steps in a row whose loss or gradient was NaN or infinite.
    #[error(
        "step {step}: {problem}, and so it was {in_a_row} steps in a row; none of them was applied: \
         lower --lr, or look at the data of these steps (metrics.jsonl); the last good state is {checkpoint}"
    )]
    NotFinite { step: u64, problem: String, in_a_row: u64, checkpoint: PathBuf },

    /// A checkpoint that can't be written.
    #[error(
        "cannot write the checkpoint {path}: {problem}; {last}; mend this, then go on with \
         host train --resume"
    )]
    Checkpoint { path: PathBuf, problem: String, last: String },

    /// A folder that holds no run, or one that can't go on.
    #[error("can't go on with {path}: {problem}")]
    Resume { path: PathBuf, problem: String },

    #[error("{path} exists already; choose another --output or remove it")]
    OutputExists { path: PathBuf },

    /// What another process of the same run failed with, in its own words.
    #[error("rank {rank}: {problem}")]
    Elsewhere { rank: usize, problem: String, kind: Kind },

    #[error(
        "{what} on rank {rank} differs from rank 0's; start all ranks with the same arguments and the same files"
    )]
    Differs { what: String, rank: usize },

    #[error(
        "step {step}: rank {rank} holds other parameters than rank 0 after the update; start again, \
         and check that machine's memory if it happens twice"
    )]
    Diverged { step: u64, rank: usize },

    #[error(
        "started as one of {size} processes, but this program was built for one; build it with \
         --features mpi, or start it without mpirun"
    )]
    NoMpi { size: usize },

    #[error("only a training runs in several processes; start this without mpirun")]
    OneProcess,

    #[error("MPI was started already; start it once in a process")]
    MpiTwice,
}

/// What kind of end an error is, for whoever gives it an exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// Arguments or a configuration that can't be used.
    Usage,
    /// A policy failed.
    Fault,
    Interrupted,
    Other,
}

impl Error {
    pub fn config(key: impl Into<String>, problem: impl Into<String>) -> Self {
        Failure::config(key, problem).into()
    }

    pub fn kind(&self) -> Kind {
        match self {
            Self::Failure(Failure::Config { .. }) | Self::NoMpi { .. } | Self::OneProcess => {
                Kind::Usage
            }
            Self::Policy(error) if error.is_fault() => Kind::Fault,
            Self::Failure(Failure::Interrupted) => Kind::Interrupted,
            Self::Elsewhere { kind, .. } => *kind,
            _ => Kind::Other,
        }
    }

    pub fn read(path: &Path, source: std::io::Error) -> Self {
        Failure::read(path, source).into()
    }

    pub fn write(path: &Path, source: std::io::Error) -> Self {
        Failure::write(path, source).into()
    }

    pub fn file(path: &Path, problem: impl Into<String>) -> Self {
        Failure::file(path, problem).into()
    }
}

impl From<FileError> for Error {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Read { path, source } => Self::read(&path, source),
            FileError::File { path, problem } => Self::file(&path, problem),
            FileError::Journal(error) => error.into(),
            FileError::Write(error) => error.into(),
        }
    }
}

impl From<host_data::Error> for Error {
    fn from(error: host_data::Error) -> Self {
        Failure::from(error).into()
    }
}

impl From<host_model::Error> for Error {
    fn from(error: host_model::Error) -> Self {
        Failure::from(error).into()
    }
}

impl From<host_files::Error> for Error {
    fn from(error: host_files::Error) -> Self {
        Failure::from(error).into()
    }
}

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        Failure::from(error).into()
    }
}
