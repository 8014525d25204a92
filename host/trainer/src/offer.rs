//! What this host can measure for a policy, and steer for it.

use host_policy::wit::{Actuators, Needs, TokenNeeds};

use crate::canary::Canary;
use crate::config::RunConfig;
use crate::data::{Origin, Plan};
use crate::error::{Error, Result};

/// What this host can do for a policy besides the loss weights.
const OFFERED: [Actuators; 11] = [
    Actuators::TOKEN_WEIGHTS,
    Actuators::LABEL_DIVERGENCE,
    Actuators::LEARNING_RATE,
    Actuators::GRADIENT_CLIP,
    Actuators::EMA,
    Actuators::ANCHOR,
    Actuators::ALIGNMENT_SHARE,
    Actuators::RATIO_CLIP,
    Actuators::GRADIENT_PROJECTION,
    Actuators::ADAPTER_PROJECTION,
    Actuators::ROLL_BACK,
];

/// What a run has, on which it depends what it can do for a policy.
#[derive(Debug, Clone, Copy)]
pub struct Offer {
    pub canary: bool,
    /// Rows of the task, and rows of alignment data.
    pub task: bool,
    pub alignment: bool,
    /// A model to compare the weights with: what they were before alignment.
    pub base: bool,
}

impl Offer {
    pub fn new(config: &RunConfig, plan: &Plan, canary: Option<&Canary>) -> Self {
        let has = |origin| plan.samples().iter().any(|sample| sample.origin == origin);
        Self {
            canary: canary.is_some(),
            task: has(Origin::Task),
            alignment: has(Origin::Alignment),
            base: config.model.base.is_some(),
        }
    }
}

/// Refuses, before anything expensive runs, what the run can't measure or steer.
pub fn check_needs(policy: &str, needs: &Needs, judges: &[String], offer: Offer) -> Result<()> {
    let unmet = |need: &str, remedy: &str| {
        Err(Error::UnmetNeed { policy: policy.into(), need: need.into(), remedy: remedy.into() })
    };
    let canary = "name a file of held-out harmful prompts in canary.prompts";
    if needs.canary_every.is_some() && !offer.canary {
        return unmet("canary margins", canary);
    }
    if !needs.trial_scales.is_empty() && !offer.canary {
        return unmet("trial steps, which are judged by canary margins", canary);
    }
    let both = [
        ("an alignment share", Actuators::ALIGNMENT_SHARE),
        ("gradient projection", Actuators::GRADIENT_PROJECTION),
    ];
    let both = both
        .into_iter()
        .filter(|(_, actuator)| needs.actuators.contains(*actuator))
        .map(|(need, _)| need)
        .chain(needs.gradient_conflict.then_some("the gradient conflict"));
    if needs.actuators.contains(Actuators::ADAPTER_PROJECTION) && !offer.base {
        return unmet("adapter projection", "name the model before its alignment in model.base");
    }
    for need in both {
        if !offer.alignment {
            let remedy = "add alignment data: --alignment FILE, or a file of data.train with \
                          origin = \"alignment\"";
            return unmet(need, remedy);
        }
        if !offer.task {
            return unmet(need, "add a file of data.train with origin = \"task\"");
        }
    }
    for need in &needs.judges {
        if !judges.contains(&need.judge) {
            let remedy =
                format!("add [judges.{}] to the configuration, such as scores = FILE", need.judge);
            return unmet(&format!("judge {:?}", need.judge), &remedy);
        }
    }
    let version = concat!(
        "host ",
        env!("CARGO_PKG_VERSION"),
        " does not offer it; use a policy or setting without it"
    );
    let by_tokens =
        [("label-divergence", Actuators::LABEL_DIVERGENCE), ("ratio-clip", Actuators::RATIO_CLIP)];
    let both_models = TokenNeeds::CURRENT | TokenNeeds::REFERENCE;
    for (need, actuator) in by_tokens {
        if needs.actuators.contains(actuator) && !needs.tokens.contains(both_models) {
            return unmet(
                need,
                "the policy must also declare the current and reference token log-probabilities",
            );
        }
    }
    let offered = OFFERED.into_iter().fold(Actuators::empty(), |all, one| all | one);
    let missing = needs.actuators & !offered;
    if missing != Actuators::empty() {
        return unmet(
            &format!("actuators {}", host_policy::wit::actuator_names(missing).join(", ")),
            version,
        );
    }
    Ok(())
}
