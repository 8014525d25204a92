//! Trial updates: the canary margin after the update at other learning rates.

use serde::{Deserialize, Serialize};
use wasmtime::component::{ComponentType, Lower};

use super::{
    Journalled, Missing, Needs, Signal, Signals,
    synthetic::{Damage, Step, Synthetic},
};
use crate::{
    invalid::Invalid,
    run::{RunCapabilities, Unmet},
    types::RunInfo,
};

/// The canary margin after a trial update at a scaled learning rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ComponentType, Lower)]
#[component(record)]
pub struct Trial {
    /// Of the learning rate.
    pub scale: f64,
    /// Per prompt.
    pub margins: Vec<f64>,
}

pub(super) struct TrialsSignal;

impl Signal for TrialsSignal {
    fn name(&self) -> &'static str {
        "trials"
    }

    fn need(&self) -> Option<&'static str> {
        Some("needs.trial-scales")
    }

    fn meaning(&self) -> &'static str {
        "refusal margin after trying the update at scaled learning rates"
    }

    fn asked(&self, needs: &Needs) -> bool {
        !needs.trial_scales.is_empty()
    }

    fn example(&self, needs: &mut Needs) {
        needs.trial_scales = vec![0.5, 1.0];
    }

    fn entries(&self, needs: &Needs) -> usize {
        needs.trial_scales.len()
    }

    fn check(&self, needs: &Needs, _run: &RunInfo) -> Result<(), Invalid> {
        for (i, scale) in needs.trial_scales.iter().enumerate() {
            let field = format!("needs.trial-scales[{i}]");
            if !(*scale > 0.0 && *scale <= 10.0) {
                let problem = format!("is {scale}; it must be above 0 and at most 10");
                return Err(Invalid::new(field, problem));
            }
            if needs.trial_scales[..i].contains(scale) {
                return Err(Invalid::new(field, format!("repeats {scale}")));
            }
        }
        Ok(())
    }

    fn exceeds(&self, narrow: &Needs, wide: &Needs) -> Option<String> {
        let beyond = |scale: &f64| !wide.trial_scales.contains(scale);
        narrow.trial_scales.iter().position(beyond).map(|i| format!("needs.trial-scales[{i}]"))
    }

    fn summary(&self, needs: &Needs) -> Vec<String> {
        if needs.trial_scales.is_empty() {
            return Vec::new();
        }
        let scales: Vec<String> = needs.trial_scales.iter().map(f64::to_string).collect();
        vec![format!("trial updates at {} of the learning rate", scales.join(", "))]
    }

    fn unmet(&self, needs: &Needs, run: &RunCapabilities<'_>) -> Option<Unmet> {
        let trials = "trial steps, which are judged by canary margins";
        self.asked(needs).then(|| run.canary(trials)).flatten()
    }

    fn given(&self, signals: &Signals) -> bool {
        !signals.trials.is_empty()
    }

    fn copy(&self, from: &Signals, to: &mut Signals) {
        to.trials.clone_from(&from.trials);
    }

    fn bytes(&self, signals: &Signals) -> usize {
        signals.trials.iter().map(|trial| size_of_val(&trial.margins[..])).sum()
    }

    /// Scale by scale: several policies may have tried different ones.
    fn offer(&self, needs: &Needs, from: Journalled<'_>, to: &mut Signals) -> Result<(), Missing> {
        for scale in &needs.trial_scales {
            if !from.needs.iter().any(|recorded| recorded.trial_scales.contains(scale)) {
                return Err(self.missing(needs));
            }
            let mut given = from.signals.iter().flat_map(|one| &one.trials);
            to.trials.extend(given.find(|trial| trial.scale == *scale).cloned());
        }
        Ok(())
    }

    fn synthesize(&self, made: &Synthetic<'_>, step: &Step, to: &mut Signals) {
        let trials = made.needs.trial_scales.iter().map(|scale| Trial {
            scale: *scale,
            margins: made.margins("trial", step.step, step.danger * scale.min(1.0)),
        });
        to.trials = trials.collect();
    }

    fn reached_by(&self, damage: Damage) -> bool {
        matches!(damage, Damage::Margins(_))
    }

    fn damage(&self, signals: &mut Signals, damage: Damage) {
        if let Damage::Margins(value) = damage {
            signals.trials.iter_mut().for_each(|trial| trial.margins.fill(value.into()));
        }
    }
}
