//! Why there is no answer.

/// Why there is nothing. The words continue a sentence that begins with the server's name.
#[derive(Debug)]
pub enum Failure {
    /// What the server answered.
    Status(u16),
    /// The network or the server failed; trying again may help.
    Unreachable(String),
    /// The server answered what isn't trusted.
    Untrusted(String),
    /// The cache can't be written.
    Cache(std::io::Error),
}

impl Failure {
    /// Whether what a cache holds may be used instead, and trying again may help.
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
