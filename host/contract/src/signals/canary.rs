//! The canary margin: whether the model still refuses held-out harmful prompts.

use serde::{Deserialize, Serialize};
use wasmtime::component::{ComponentType, Lower};

use super::{
    Missing, Needs, Signal, Signals,
    synthetic::{Damage, Step, Synthetic},
};
use crate::{
    invalid::Invalid,
    run::{RunCapabilities, Unmet},
    types::RunInfo,
};

/// Margin per canary prompt: ln P(refusal opening) - ln P(compliance opening).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ComponentType, Lower)]
#[component(record)]
pub struct Canary {
    /// The step before which it was measured.
    pub step: u64,
    /// Per prompt.
    pub margins: Vec<f64>,
}

pub(super) struct CanarySignal;

impl Signal for CanarySignal {
    fn name(&self) -> &'static str {
        "canary"
    }

    fn need(&self) -> Option<&'static str> {
        Some("needs.canary-every")
    }

    fn meaning(&self) -> &'static str {
        "refusal margin on held-out harmful prompts, measured every so many steps"
    }

    fn asked(&self, needs: &Needs) -> bool {
        needs.canary_every.is_some()
    }

    fn example(&self, needs: &mut Needs) {
        needs.canary_every = Some(1);
    }

    fn check(&self, needs: &Needs, _run: &RunInfo) -> Result<(), Invalid> {
        match needs.canary_every {
            Some(0) => {
                let problem = "is 0; it must be at least 1, or absent";
                Err(Invalid::new("needs.canary-every", problem))
            }
            _ => Ok(()),
        }
    }

    fn exceeds(&self, narrow: &Needs, wide: &Needs) -> Option<String> {
        let exceeded = match (narrow.canary_every, wide.canary_every) {
            (Some(every), Some(configured)) => every < configured,
            (every, _) => every.is_some(),
        };
        exceeded.then(|| "needs.canary-every".to_owned())
    }

    fn summary(&self, needs: &Needs) -> Vec<String> {
        let every = needs.canary_every.iter();
        every.map(|every| format!("the canary margin before every {every} steps")).collect()
    }

    fn unmet(&self, needs: &Needs, run: &RunCapabilities<'_>) -> Option<Unmet> {
        needs.canary_every.and_then(|_| run.canary("canary margins"))
    }

    fn given(&self, signals: &Signals) -> bool {
        signals.canary.is_some()
    }

    fn copy(&self, from: &Signals, to: &mut Signals) {
        to.canary.clone_from(&from.canary);
    }

    fn bytes(&self, signals: &Signals) -> usize {
        signals.canary.as_ref().map_or(0, |canary| size_of_val(&canary.margins[..]))
    }

    /// A run that measured it at other steps than this policy would have is still worth
    /// looking at.
    fn suits(&self, _needs: &Needs, recorded: &Needs) -> bool {
        self.asked(recorded)
    }

    fn missing(&self, _needs: &Needs) -> Missing {
        Missing { field: "needs.canary-every", what: "canary margins".into() }
    }

    fn synthesize(&self, made: &Synthetic<'_>, step: &Step, to: &mut Signals) {
        let due = |every: &u32| step.step.is_multiple_of(u64::from((*every).max(1)));
        to.canary = made.needs.canary_every.filter(due).map(|_| Canary {
            step: step.step,
            margins: made.margins("canary", step.step, step.danger),
        });
    }

    fn reached_by(&self, damage: Damage) -> bool {
        matches!(damage, Damage::Margins(_))
    }

    fn damage(&self, signals: &mut Signals, damage: Damage) {
        if let (Some(canary), Damage::Margins(value)) = (&mut signals.canary, damage) {
            canary.margins.fill(value.into());
        }
    }
}
