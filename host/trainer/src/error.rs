//! What can go wrong between the arguments and the last checkpoint.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A configuration key or value that can't be used. `key` is the dotted path.
    #[error("configuration: {key}: {problem}")]
    Config { key: String, problem: String },

    /// A device that this build knows and this machine doesn't have.
    #[error("device {name} can't be used ({problem}); choose one that nvidia-smi lists, or cpu")]
    Device { name: String, problem: String },

    /// A data file or one of its rows.
    #[error(transparent)]
    Data(#[from] crate::data::Error),

    #[error(transparent)]
    Model(#[from] host_model::Error),

    #[error(transparent)]
    Policy(#[from] host_policy::Error),

    #[error("{step}tensor computation failed: {source}{}", host_model::error::hint(.source))]
    Tensor { step: String, source: candle_core::Error },

    #[error("cannot read {path}: {source}; check the path")]
    Read { path: PathBuf, source: std::io::Error },

    #[error("cannot write {path}: {source}{}", hint(.source))]
    Write { path: PathBuf, source: std::io::Error },

    /// A file of ours (calibration, manifest) that doesn't hold what it should.
    #[error("{path}: {problem}")]
    File { path: PathBuf, problem: String },

    /// The run can't give the policy what it declared in `needs`.
    #[error("policy {policy} needs {need}, which this run can't give: {remedy}")]
    UnmetNeed { policy: String, need: String, remedy: String },

    /// A judge that was tried out and failed.
    #[error("judge {judge} can't judge: {problem}; {remedy}")]
    Judge { judge: String, problem: String, remedy: String },

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

    /// Ctrl-C outside the training loop, where there is nothing to save.
    #[error("interrupted")]
    Interrupted,

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
        Self::Config { key: key.into(), problem: problem.into() }
    }

    pub fn kind(&self) -> Kind {
        match self {
            Self::Config { .. } | Self::NoMpi { .. } | Self::OneProcess => Kind::Usage,
            Self::Policy(error) if error.is_fault() => Kind::Fault,
            Self::Interrupted => Kind::Interrupted,
            Self::Elsewhere { kind, .. } => *kind,
            _ => Kind::Other,
        }
    }

    pub fn read(path: &Path, source: std::io::Error) -> Self {
        Self::Read { path: path.into(), source }
    }

    pub fn write(path: &Path, source: std::io::Error) -> Self {
        Self::Write { path: path.into(), source }
    }

    pub fn file(path: &Path, problem: impl Into<String>) -> Self {
        Self::File { path: path.into(), problem: problem.into() }
    }
}

impl From<host_files::Error> for Error {
    fn from(error: host_files::Error) -> Self {
        use host_files::Error::{Exists, Io, Json, Shorter};
        match error {
            Io { path, source } => Self::Write { path, source },
            Json { path, source } => Self::File { path, problem: source.to_string() },
            Exists { path } => Self::File {
                path,
                problem: "exists already; name another folder, or remove this one".into(),
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

impl From<candle_core::Error> for Error {
    fn from(source: candle_core::Error) -> Self {
        Self::Tensor { step: String::new(), source }
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
