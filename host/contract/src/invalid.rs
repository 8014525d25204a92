//! A value that breaks the rules of the contract.

use std::fmt;

/// A value in an answer that the interface does not allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// Such as `risk[3]` or `regularization.kl-weight`, in the interface's words.
    pub field: String,
    /// What it is and what it must be, such as `is NaN; it must be ...`.
    pub problem: String,
    /// The answer is well-formed, but this run can't serve it (say, a layer that
    /// the model doesn't have): the settings are wrong rather than the policy.
    pub unmet: bool,
}

impl Invalid {
    /// A field that breaks the rules of the interface.
    pub fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { field: field.into(), problem: problem.into(), unmet: false }
    }

    /// A field that this run can't serve.
    pub fn unmet(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { unmet: true, ..Self::new(field, problem) }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.field, self.problem)
    }
}
