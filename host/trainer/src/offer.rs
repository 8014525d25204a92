//! What this host can measure for a policy, and steer for it.

use host_policy::wit::{Actuators, Needs, TokenNeeds};

use crate::error::{Error, Result};

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
