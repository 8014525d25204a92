//! Errors of describing, loading and running a model.

use std::path::PathBuf;

use host_files::text::line;

/// A result with this crate's error.
pub type Result<T> = std::result::Result<T, Error>;

/// Every message is one line: what happened, where, and what to do next.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "a field is what the message says at its place")]
pub enum Error {
    /// A file or folder could not be read or written.
    #[error("{}: {source}{}", path.display(), host_files::advice(source))]
    Io { path: PathBuf, source: std::io::Error },

    /// A file was read but does not hold what it should.
    #[error("{}: {problem}; {action}", path.display())]
    File { path: PathBuf, problem: String, action: String },

    /// A field of a model's configuration is missing, wrong or unsupported.
    #[error("{file}: field `{field}` {problem}; {action}")]
    Config { file: String, field: String, problem: String, action: String },

    /// A weight is missing or does not fit the configuration.
    #[error("weight `{tensor}` {problem}; check that the weights belong to the configuration")]
    Weight { tensor: String, problem: String },

    /// A LoRA configuration or adapter does not fit the model.
    #[error("adapter: {problem}; {action}")]
    Adapter { problem: String, action: String },

    /// Steering vectors that are none, or don't fit the model.
    #[error("steering: {problem}; {action}")]
    Steering { problem: String, action: String },

    /// A batch the decoder cannot run.
    #[error("batch: {problem}; {action}")]
    Batch { problem: String, action: String },

    /// These kernels cannot run with this device, type or request.
    #[error("kernels {kernels}: {problem}; {action}")]
    Kernels { kernels: &'static str, problem: String, action: String },

    /// A model could not be found or fetched.
    #[error("model `{source_name}`: {problem}; {action}")]
    Source { source_name: String, problem: String, action: String },

    /// The tokenizer could not be built or could not encode a text.
    #[error("tokenizer: {problem}; {action}")]
    Tokenizer { problem: String, action: String },

    /// The chat template could not be compiled or rendered.
    #[error("chat template: {problem}; {action}")]
    Template { problem: String, action: String },

    /// Tensor arithmetic failed (out of memory, shapes that do not fit).
    #[error("tensor computation: {0}{hint}", hint = hint(.0))]
    Tensor(#[from] candle_core::Error),
}

/// What to do when a device has no memory left, for the end of a message.
pub fn hint(error: &candle_core::Error) -> &'static str {
    let text = error.to_string();
    if ["OUT_OF_MEMORY", "ALLOC_FAILED"].iter().any(|code| text.contains(code)) {
        "; run fewer or shorter sequences at a time, keep only the inputs of blocks (--checkpoint-activations), or hold the weights in bf16"
    } else {
        ""
    }
}

impl From<host_files::Error> for Error {
    fn from(error: host_files::Error) -> Self {
        use host_files::Error::{Exists, Io, Json, Shorter};
        match error {
            Io { path, source } => Error::Io { path, source },
            Exists { path } => {
                Error::file(path, "exists already", "give another name, or remove it")
            }
            Json { path, source } => {
                Error::file(path, format!("can't be written: {source}"), "report this as a bug")
            }
            Shorter { path } => Error::file(path, "is shorter than it was", "make it again"),
        }
    }
}

impl Error {
    pub(crate) fn batch(problem: impl Into<String>, action: impl Into<String>) -> Self {
        Error::Batch { problem: line(&problem.into()).into_owned(), action: action.into() }
    }

    pub(crate) fn adapter(problem: impl Into<String>, action: impl Into<String>) -> Self {
        Error::Adapter { problem: line(&problem.into()).into_owned(), action: action.into() }
    }

    pub(crate) fn steering(problem: impl Into<String>, action: impl Into<String>) -> Self {
        Error::Steering { problem: line(&problem.into()).into_owned(), action: action.into() }
    }

    pub(crate) fn weight(tensor: impl Into<String>, problem: impl Into<String>) -> Self {
        Error::Weight { tensor: tensor.into(), problem: problem.into() }
    }

    /// Of a file in a folder that isn't finished yet the final path is named.
    pub(crate) fn io(path: &std::path::Path, source: std::io::Error) -> Self {
        Error::Io { path: host_files::atomic::final_path(path), source }
    }

    pub(crate) fn file(
        path: impl Into<PathBuf>,
        problem: impl Into<String>,
        action: impl Into<String>,
    ) -> Self {
        Error::File {
            path: path.into(),
            problem: line(&problem.into()).into_owned(),
            action: action.into(),
        }
    }

    pub(crate) fn tokenizer(problem: impl Into<String>, action: impl Into<String>) -> Self {
        Error::Tokenizer { problem: line(&problem.into()).into_owned(), action: action.into() }
    }

    pub(crate) fn template(problem: impl Into<String>, action: impl Into<String>) -> Self {
        Error::Template { problem: line(&problem.into()).into_owned(), action: action.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_without_memory_left_says_what_to_do() {
        let error = |text: &str| Error::Tensor(candle_core::Error::Msg(text.into())).to_string();
        let full = error("DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")");
        assert!(full.contains("--checkpoint-activations"), "{full}");
        assert!(!error("shape mismatch").contains("--checkpoint-activations"));
    }
}
