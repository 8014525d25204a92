//! Which policy, in which function, at which step: what every message about a call begins
//! with.

use std::fmt;

/// A function of the policy interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// Not a function of the policy: what happens to its file before one is called.
    Load,
    /// Who the policy is.
    Describe,
    /// What it needs for its settings and the run.
    Configure,
    /// A fit to labelled examples.
    Calibrate,
    /// A decision about one step.
    Assess,
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Load => "load",
            Self::Describe => "describe",
            Self::Configure => "configure",
            Self::Calibrate => "calibrate",
            Self::Assess => "assess",
        })
    }
}

/// Where something happened: which policy, in which function, at which step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallSite {
    /// What the policy calls itself; absent until it has described itself.
    pub policy: Option<String>,
    /// The file it came from.
    pub file: String,
    /// What was called.
    pub function: Function,
    /// The optimizer step; only `assess` has one.
    pub step: Option<u64>,
}

impl fmt::Display for CallSite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.policy {
            Some(name) => write!(f, "policy {name} ({}), {}", self.file, self.function)?,
            None => write!(f, "policy {}, {}", self.file, self.function)?,
        }
        match self.step {
            Some(step) => write!(f, " at step {step}"),
            None => Ok(()),
        }
    }
}
