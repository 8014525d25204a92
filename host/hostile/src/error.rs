use std::path::PathBuf;

pub type Result<T> = std::result::Result<T, Error>;

/// Why a hostile policy can't be made or tried.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: std::io::Error },
    /// `what` names the hostile policy.
    #[error("{what}: {problem}")]
    HostilePolicy { what: String, problem: String },
}

impl Error {
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        |source| Self::File { path, source }
    }

    pub(crate) fn policy(what: &str, problem: impl Into<String>) -> Self {
        Self::HostilePolicy { what: what.to_owned(), problem: problem.into() }
    }
}
