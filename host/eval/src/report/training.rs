//! What a training amounts to, as report.json has it.

use serde::{Deserialize, Serialize};

/// A training as a whole.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    pub ending: Ending,
    pub steps: u64,
    /// Of all steps.
    pub seconds: f64,
    /// Of these, what the policies took: signals, calls, journal. Absent without one.
    pub policy_seconds: Option<f64>,
    /// Faults of policies that were replaced by the strictest assessment.
    pub policy_faults: usize,
    /// Steps that were not applied because a number was not finite.
    pub not_applied: u64,
    /// What the policies left in force; absent where none steers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steering: Option<SteeringState>,
}

/// How a training ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    #[default]
    Finished,
    /// Ctrl-C; the step in progress was finished.
    Interrupted,
    /// The policy said stop.
    Stopped,
}

impl Ending {
    pub fn name(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Interrupted => "interrupted",
            Self::Stopped => "stopped",
        }
    }
}

/// What the last assessment that said anything of steering asked for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SteeringState {
    pub coefficient: f64,
    /// The part along the refusal direction is removed first.
    pub project: bool,
    /// On the reference while it teaches; else on the model when it is used.
    pub reference: bool,
}

impl From<host_contract::Steering> for SteeringState {
    fn from(asked: host_contract::Steering) -> Self {
        Self { coefficient: asked.coefficient, project: asked.project, reference: asked.reference }
    }
}
