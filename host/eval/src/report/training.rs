//! What a training amounts to, as report.json has it.

use std::collections::BTreeMap;

use host_judges::Tally;
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
    /// Steps that the policies skipped or took back.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub skipped: u64,
    /// Samples of all steps.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub samples: u64,
    /// Of these, those that taught nothing of the task: of weight 0, or in a skipped step.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub untaught: u64,
    /// What the judges that policies asked said of them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub judges: BTreeMap<String, Tally>,
    /// What the policies left in force; absent where none steers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steering: Option<SteeringState>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Totals {
    /// What a person must know before believing in the result.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for (name, tally) in self.judges.iter().filter(|(_, tally)| tally.unscored() > 0) {
            let first = tally.problem.as_ref().map(|problem| format!(" (first: {problem})"));
            warnings.push(format!(
                "judge {name} gave no score for {} of {} judgements ({}), which count as the \
                 worst{}",
                tally.unscored(),
                tally.total(),
                tally.described(),
                first.unwrap_or_default()
            ));
        }
        if self.skipped > 0 {
            let (skipped, steps) = (self.skipped, self.steps);
            warnings.push(format!("{skipped} of {steps} steps were skipped and changed nothing"));
        }
        if 2 * self.untaught > self.samples {
            let (untaught, samples) = (self.untaught, self.samples);
            warnings.push(format!(
                "{untaught} of {samples} samples taught nothing of the task: their task weight was \
                 0, or their step was skipped"
            ));
        }
        warnings
    }

    /// Why what is left is the model as it was, if it is.
    pub fn failure(&self) -> Option<String> {
        let idle = self.skipped + self.not_applied;
        let nothing = self.ending == Ending::Finished && self.steps > 0 && idle >= self.steps;
        nothing.then(|| {
            format!(
                "none of the {} steps changed the model ({} skipped by the policies, {} not \
                 applied)",
                self.steps, self.skipped, self.not_applied
            )
        })
    }
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
