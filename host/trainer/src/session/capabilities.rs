//! What this run can measure for a policy, and steer.

use host_contract::{
    Actuators, Guardrails, Needs, RunCapabilities, check_capabilities, check_together,
};
use host_data::{Origin, Plan};
use host_eval::canary::Canary;
use host_model::lora::Shape;

use crate::config::RunConfig;
use crate::error::{Error, Result};

/// Capabilities of a run with this configuration, data, canary and adapter.
pub fn capabilities<'a>(
    config: &RunConfig,
    plan: &Plan,
    canary: Option<&Canary>,
    judges: &'a [String],
    adapter: &Shape,
) -> RunCapabilities<'a> {
    let has = |origin| plan.samples().iter().any(|sample| sample.origin() == origin);
    RunCapabilities {
        canary: canary.is_some(),
        task: has(Origin::Task),
        alignment: has(Origin::Alignment),
        base: config.model.base.is_some(),
        additive: !adapter.magnitudes,
        anchors: [&config.anchors.harmful, &config.anchors.harmless].map(|all| !all.is_empty()),
        judges,
    }
}

/// Refuses, before anything expensive runs, what the run can't measure or steer.
pub fn check_needs(policy: &str, needs: &Needs, run: &RunCapabilities<'_>) -> Result<()> {
    check_capabilities(needs, run).map_err(|unmet| Error::UnmetNeed {
        policy: policy.into(),
        need: unmet.need,
        remedy: unmet.remedy,
    })
}

/// Refuses policies that the rules of the run forbid, and ones that can't work together. Each
/// comes with its name.
pub fn check_policies(policies: &[(String, Needs)], require: &Guardrails) -> Result<()> {
    for (policy, needs) in policies {
        if let Some((rule, actuator)) = require.forbids(needs) {
            let problem = format!(
                "`{rule}` forbids policy {policy}, which may use {actuator}; leave the policy or the \
                 rule out"
            );
            return Err(Error::config("trust.require", problem));
        }
    }
    let needs: Vec<&Needs> = policies.iter().map(|(_, needs)| needs).collect();
    check_together(&needs).map_err(|found| Error::Together {
        policy: policies[found.policy].0.clone(),
        actuator: found.actuator,
        why: found.why,
    })
}

/// Says that the mixture of the data is the least, where one of several policies mixes and
/// another doesn't.
pub fn about_mixture<'n>(needs: impl Iterator<Item = &'n Needs> + Clone) -> Option<&'static str> {
    let mixes = |needs: &Needs| needs.actuators.contains(Actuators::ALIGNMENT_SHARE);
    (needs.clone().any(mixes) && !needs.clone().all(mixes)).then_some(
        "not every policy mixes task and alignment data, so from the second step on the share \
         of alignment rows is at least the one that the data have",
    )
}
