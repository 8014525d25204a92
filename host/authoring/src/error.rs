//! What can go wrong between a template and a component.

use std::path::{Path, PathBuf};

use crate::Language;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// One line each: what happened, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "{name:?} can't name a policy: it takes 1 to 64 characters of a-z and 0-9, in words joined by '-', such as my-policy"
    )]
    Name { name: String },
    #[error("{} exists already: give --output another folder, or remove this one", path.display())]
    Exists { path: PathBuf },
    #[error("{}: {source}{}", path.display(), host_files::advice(source))]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{} is no policy project: it has no policy.toml; `host policy new` makes one", folder.display())]
    NoProject { folder: PathBuf },
    #[error("{}: {problem}", path.display())]
    Manifest { path: PathBuf, problem: String },
    /// A compiler or another tool isn't there.
    #[error("building a policy in {language} takes {tool}, which is not here: {install}")]
    Missing { language: Language, tool: &'static str, install: &'static str },
    #[error("`{program}` can't be run: {source}")]
    Run { program: String, source: std::io::Error },
    /// The tool has told why on stderr.
    #[error("{what} failed, see above (`{program}` ended with {status})")]
    Failed { what: String, program: String, status: std::process::ExitStatus },
    /// A file that the build was to make is not there, or a wrong one.
    #[error("{}: {problem}", path.display())]
    Product { path: PathBuf, problem: String },
    #[error("no component can be made: {problem}")]
    Component { problem: String },
}

impl From<host_files::Error> for Error {
    fn from(error: host_files::Error) -> Self {
        match error {
            host_files::Error::Io { path, source } => Self::Io { path, source },
            host_files::Error::Exists { path } => Self::Exists { path },
            host_files::Error::Shorter { ref path } | host_files::Error::Json { ref path, .. } => {
                Self::Product { path: path.clone(), problem: error.to_string() }
            }
        }
    }
}

impl Error {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { path, source }
    }

    pub(crate) fn component(problem: impl Into<String>) -> Self {
        Self::Component { problem: problem.into() }
    }
}
