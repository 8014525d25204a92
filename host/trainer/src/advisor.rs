//! A policy at work in a run: its settings, parameters and state between steps.

use std::time::Duration;

use host_policy::wit::{self, Action, Actuators, Needs, RunInfo, Signals, TokenNeeds};
use host_policy::{Call, Policy};

use crate::error::{Error, Result};

/// A policy that has been configured, and calibrated if it wants to be.
pub struct ActivePolicy {
    pub policy: Policy,
    /// JSON.
    pub settings: String,
    pub run: RunInfo,
    pub needs: Needs,
    pub parameters: Vec<u8>,
}

/// Calls `assess` and carries the state from step to step.
pub struct Advisor<'a> {
    active: &'a ActivePolicy,
    state: Vec<u8>,
}

/// One assessment and what it cost.
pub struct Advice {
    pub assessment: wit::Assessment,
    pub fuel: u64,
    pub elapsed: Duration,
}

impl<'a> Advisor<'a> {
    pub fn new(active: &'a ActivePolicy) -> Self {
        Self {
            active,
            state: Vec::new(),
        }
    }

    pub fn assess(&mut self, signals: &Signals) -> Result<Advice> {
        let active = self.active;
        let assessed = active.policy.assess(Call {
            settings: &active.settings,
            run: &active.run,
            parameters: &active.parameters,
            state: &self.state,
            signals,
            needs: &active.needs,
        })?;
        self.state.clone_from(&assessed.assessment.state);
        Ok(Advice {
            assessment: assessed.assessment,
            fuel: assessed.fuel,
            elapsed: assessed.time,
        })
    }

    pub fn may_roll_back(&self) -> bool {
        self.active.needs.actuators.contains(Actuators::ROLL_BACK)
    }
}

/// What this host can do for a policy besides the loss weights.
const OFFERED: [Actuators; 6] = [
    Actuators::TOKEN_WEIGHTS,
    Actuators::LABEL_DIVERGENCE,
    Actuators::LEARNING_RATE,
    Actuators::GRADIENT_CLIP,
    Actuators::EMA,
    Actuators::ROLL_BACK,
];

/// Refuses, before anything expensive runs, what the run can't measure or steer.
pub fn check_needs(policy: &str, needs: &Needs, judges: &[String], has_canary: bool) -> Result<()> {
    let unmet = |need: &str, remedy: &str| {
        Err(Error::UnmetNeed {
            policy: policy.into(),
            need: need.into(),
            remedy: remedy.into(),
        })
    };
    if needs.canary_every.is_some() && !has_canary {
        return unmet(
            "canary margins",
            "name a file of held-out harmful prompts in canary.prompts",
        );
    }
    for need in &needs.judges {
        if !judges.contains(&need.judge) {
            let remedy = format!(
                "add [judges.{}] with scores = FILE to the configuration",
                need.judge
            );
            return unmet(&format!("judge {:?}", need.judge), &remedy);
        }
        if need.prefix_words.is_some() {
            return unmet(
                "judgements of answer prefixes",
                "this host's judges score whole answers only",
            );
        }
    }
    let version = concat!(
        "host ",
        env!("CARGO_PKG_VERSION"),
        " does not offer it; use a policy or setting without it"
    );
    if !needs.trial_scales.is_empty() {
        return unmet("trial steps", version);
    }
    if needs.gradient_conflict {
        return unmet("the gradient conflict", version);
    }
    if needs.steering.is_some() {
        return unmet("steering", version);
    }
    if needs.actuators.contains(Actuators::LABEL_DIVERGENCE)
        && !needs
            .tokens
            .contains(TokenNeeds::CURRENT | TokenNeeds::REFERENCE)
    {
        return unmet(
            "label-divergence",
            "the policy must also declare the current and reference token log-probabilities",
        );
    }
    let offered = OFFERED
        .into_iter()
        .fold(Actuators::empty(), |all, one| all | one);
    let missing = needs.actuators & !offered;
    if missing != Actuators::empty() {
        return unmet(
            &format!(
                "actuators {}",
                host_policy::wit::actuator_names(missing).join(", ")
            ),
            version,
        );
    }
    Ok(())
}

/// Whether the parameters move at this step.
pub fn applies(action: Action) -> bool {
    action == Action::Update
}
