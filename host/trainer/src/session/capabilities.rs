//! What this run can measure for a policy, and steer.

use host_contract::{Needs, RunCapabilities, check_capabilities};
use host_data::{Origin, Plan};
use host_eval::canary::Canary;

use crate::config::RunConfig;
use crate::error::{Error, Result};

/// Capabilities of a run with this configuration, data and canary.
pub fn capabilities<'a>(
    config: &RunConfig,
    plan: &Plan,
    canary: Option<&Canary>,
    judges: &'a [String],
) -> RunCapabilities<'a> {
    let has = |origin| plan.samples().iter().any(|sample| sample.origin == origin);
    RunCapabilities {
        canary: canary.is_some(),
        task: has(Origin::Task),
        alignment: has(Origin::Alignment),
        base: config.model.base.is_some(),
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
