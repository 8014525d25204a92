//! What a repository of the Hub holds.

use std::borrow::Cow;

/// What a repository of the Hub holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Weights, a tokenizer, a configuration.
    Model,
    /// Files with rows.
    Dataset,
}

impl Kind {
    /// As the Hub's interface and the cache call them.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Model => "models",
            Self::Dataset => "datasets",
        }
    }

    /// One of them, for a message.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Dataset => "data set",
        }
    }

    /// What may be given instead of one, for a message.
    pub fn instead(self) -> &'static str {
        match self {
            Self::Model => "a folder with the model's files",
            Self::Dataset => "a file",
        }
    }

    /// Where the files of a repository are, within the Hub's address.
    pub fn address(self, id: &str) -> Cow<'_, str> {
        match self {
            Self::Model => id.into(),
            Self::Dataset => format!("datasets/{id}").into(),
        }
    }
}
