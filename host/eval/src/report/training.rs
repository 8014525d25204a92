//! What a training amounts to, as report.json has it.

use std::collections::BTreeMap;

use host_judges::Tally;
use serde::{Deserialize, Serialize};

use crate::selection::Selection;

/// Fewest steps whose first and last losses say anything.
const LEAST_STEPS: u64 = 10;
/// A task loss below which there is nothing to learn.
const KNOWN_BY_HEART: f64 = 0.05;
/// Smallest share of the task loss that counts as learned.
const LEARNED: f64 = 0.01;
/// Share of the task loss by which it grows in a training that diverges.
const DIVERGED: f64 = 0.1;

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
    /// Cross-entropy per answer token, unweighted: mean over the first tenth of the steps. Steps
    /// that computed none don't count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_task_loss: Option<f64>,
    /// Likewise over the last tenth of those that were taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_task_loss: Option<f64>,
    /// Highest learning rate of any step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
    /// Evaluations between the steps; absent where there were none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluations: Option<Selection>,
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
        warnings.extend(self.about_loss());
        warnings.extend(self.evaluations.as_ref().and_then(Selection::warning));
        warnings
    }

    /// Says so if the task loss is no better than it was, or worse.
    fn about_loss(&self) -> Option<String> {
        let (first, last) = (self.first_task_loss?, self.last_task_loss?);
        let judged = self.ending != Ending::Interrupted
            && self.steps >= LEAST_STEPS
            && first >= KNOWN_BY_HEART
            && self.learning_rate? > 0.0;
        if !judged {
            return None;
        }
        let rate = self.learning_rate?;
        let went = format!("loss {first:.3} -> {last:.3}");
        if last > (1.0 + DIVERGED) * first {
            return Some(format!("diverged: {went}; try a lower --lr (now {rate:e})"));
        }
        if last <= (1.0 - LEARNED) * first {
            return None;
        }
        Some(match self.policy_seconds {
            None => format!("learned nothing: {went}; try a higher --lr (now {rate:e})"),
            Some(_) => format!(
                "learned nothing of the task under the policy: {went}; --baseline shows what is \
                 learned without it, and --lr is {rate:e}"
            ),
        })
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
    /// Evaluations brought no improvement for as long as `train.patience` allows.
    EarlyStop,
}

impl Ending {
    pub fn name(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Interrupted => "interrupted",
            Self::Stopped => "stopped",
            Self::EarlyStop => "early-stop",
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

#[cfg(test)]
mod tests {
    use super::*;

    fn about(first: f64, last: f64) -> Totals {
        Totals {
            steps: 40,
            first_task_loss: Some(first),
            last_task_loss: Some(last),
            learning_rate: Some(2e-5),
            ..Totals::default()
        }
    }

    #[test]
    fn a_training_that_learned_nothing_or_diverged_says_so() {
        let told = |totals: Totals| totals.warnings().join("; ");
        let nothing = "learned nothing: loss 2.310 -> 2.300; try a higher --lr (now 2e-5)";
        assert_eq!(told(about(2.31, 2.30)), nothing);
        let diverged = "diverged: loss 2.310 -> 4.000; try a lower --lr (now 2e-5)";
        assert_eq!(told(about(2.31, 4.0)), diverged);
        let held = told(Totals { policy_seconds: Some(1.0), ..about(2.31, 2.30) });
        assert!(held.contains("under the policy") && held.contains("--baseline"), "{held}");
        for silent in [
            about(2.31, 2.0),
            about(0.01, 0.01),
            Totals { steps: 9, ..about(2.31, 2.30) },
            Totals { ending: Ending::Interrupted, ..about(2.31, 2.30) },
            Totals { last_task_loss: None, ..about(2.31, 2.30) },
        ] {
            assert_eq!(told(silent), "");
        }
    }
}
