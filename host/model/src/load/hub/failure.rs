//! Why a model isn't fetched.

/// Why there is nothing.
#[derive(Debug)]
pub enum Failure {
    /// What the server answered.
    Status(u16),
    /// The network or the server failed; trying again may help.
    Unreachable(String),
    /// The server answered what isn't trusted; said of "the Hub".
    Untrusted(String),
    /// The cache can't be written.
    Cache(std::io::Error),
}

impl Failure {
    /// Whether what the cache holds may be used instead.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Status(500..))
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Cache(error)
    }
}

/// A result of a request.
pub type Result<T> = std::result::Result<T, Failure>;
