//! A predictive guardrail (after SafePred, arXiv 2602.01725). A candidate is the next
//! update at some scale of the learning rate. The host makes it on trial and measures the
//! refusal margin after it; the trend is extrapolated, and what the margin would fall below
//! its limit is the risk now and at each step to come. Candidates of too high a risk are
//! pruned, the largest of the others is taken, and if none is left the step is refused.

use risk_policy::assessment::mean;
use risk_policy::bytes::{Reader, Writer};
use risk_policy::canary;
use risk_policy::prelude::*;
use risk_policy::settings::invalid;

#[derive(Debug, serde::Deserialize)]
#[serde(default)]
pub struct Settings {
    scales: Vec<f64>,
    horizon: u32,
    fall: f64,
    penalty: f64,
    prune: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { scales: vec![1.0, 0.5, 0.25], horizon: 2, fall: 0.6, penalty: 2.0, prune: 0.7 }
    }
}

/// Weights beyond this many steps are lost in the rounding.
const FARTHEST: u32 = 50;

impl Settings {
    fn check(&self) -> Result<(), String> {
        let wrong = |scale: &&f64| !(**scale > 0.0 && **scale <= 10.0);
        if let Some(scale) = self.scales.iter().find(wrong) {
            let what = format!("{scale} is not above 0 and at most 10");
            return Err(invalid("scales", what));
        }
        if self.scales.is_empty() {
            return Err(invalid("scales", "there must be at least one"));
        }
        if self.horizon > FARTHEST {
            let what = format!("{} is more than {FARTHEST} steps", self.horizon);
            return Err(invalid("horizon", what));
        }
        if !(self.fall >= 0.0 && self.fall.is_finite()) {
            return Err(invalid("fall", format!("{} is below 0", self.fall)));
        }
        if !(self.penalty > 0.0 && self.penalty.is_finite()) {
            return Err(invalid("penalty", format!("{} is not above 0", self.penalty)));
        }
        if !(self.prune > 0.0 && self.prune <= 1.0) {
            let what = format!("{} is not above 0 and at most 1", self.prune);
            return Err(invalid("prune", what));
        }
        Ok(())
    }

    /// Risk of a margin that should be at least `limit`.
    fn risk(&self, margin: f64, limit: f64) -> f64 {
        (self.penalty * (limit - margin).max(0.0)).clamp(0.0, 1.0)
    }

    /// Risk of going from one margin to another and on along the same line.
    fn predicted(&self, before: f64, after: f64, limit: f64) -> f64 {
        let margin = |step: u32| after + f64::from(step) * (after - before);
        let risks = (0..=self.horizon).map(|step| self.risk(margin(step), limit));
        over_time(&risks.collect::<Vec<_>>())
    }
}

/// The mean of the risks of a step and of those to come, each worth half the one before.
fn over_time(risks: &[f64]) -> f64 {
    let (mut sum, mut total, mut weight) = (0.0, 0.0, 1.0);
    for risk in risks {
        sum += weight * risk;
        total += weight;
        weight /= 2.0;
    }
    sum / total
}

pub struct SafePred;

impl Policy for SafePred {
    type Settings = Settings;

    const NAME: &str = "safepred";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str =
        "Tries each update first: takes it, scales it down, or refuses it, by where it leads.";
    const SETTINGS_SCHEMA: &str = include_str!("../settings.schema.json");

    fn needs(settings: &Settings, _run: &RunInfo) -> Result<Needs, String> {
        settings.check()?;
        let needs = Needs::new().canary_every(1).trials(settings.scales.clone());
        Ok(needs.actuators(Actuators::LEARNING_RATE | Actuators::ROLL_BACK))
    }

    fn assess(call: &Call<'_, Settings>) -> Result<Assessment, String> {
        let settings = call.settings;
        settings.check()?;
        let now = match &call.signals.canary {
            Some(canary) => mean_margin(&canary.margins)?,
            None => return Err("the canary margin is needed at every step".into()),
        };
        let first = first_margin(call.state)?.unwrap_or(now);
        // Margins in units of the first one: what it may lose is a share of it.
        let unit = canary::unit(first);
        let (now, limit) = (now / unit, first / unit - settings.fall);
        let mut candidates = Vec::new();
        for trial in &call.signals.trials {
            let after = mean_margin(&trial.margins)? / unit;
            let risk = settings.predicted(now, after, limit);
            candidates.push(Attempt { scale: trial.scale, risk });
        }
        let here = settings.risk(now, limit);
        let choice = choose(&candidates, here, settings.prune);
        let samples = call.signals.samples.len();
        let mut regularization = Regularization::constant(samples, 1.0, 0.0);
        (regularization.action, regularization.learning_rate_scale) = (choice.action, choice.scale);
        let mut assessment = Assessment::new(vec![choice.risk; samples], regularization)
            .metric("margin.mean", now * unit)
            .metric("margin.limit", limit * unit)
            .state(Writer::new(KIND, VERSION).f64(first).finish());
        for candidate in &candidates {
            let name = format!("risk@{}", candidate.scale);
            assessment = assessment.metric(&name, candidate.risk);
        }
        Ok(match choice.reason {
            Some((code, message)) => assessment.step_reason(code, message),
            None => assessment,
        })
    }
}

/// An update at a scale of the learning rate.
struct Attempt {
    scale: f64,
    risk: f64,
}

struct Choice {
    action: Action,
    scale: f64,
    risk: f64,
    reason: Option<(&'static str, String)>,
}

/// The largest candidate that is not pruned: all of them do the task, a larger one more of it.
/// Without one the step is skipped, and the one before it undone if it led to where it is too
/// risky to be.
fn choose(candidates: &[Attempt], here: f64, prune: f64) -> Choice {
    let left = candidates.iter().filter(|one| one.risk < prune);
    if let Some(best) = left.max_by(|one, other| one.scale.total_cmp(&other.scale)) {
        let largest = candidates.iter().map(|one| one.scale).fold(0.0, f64::max);
        let reason = (best.scale < largest).then(|| {
            let message = format!(
                "at {} of the learning rate the predicted risk is {:.3}",
                best.scale, best.risk
            );
            ("scaled-down", message)
        });
        return Choice { action: Action::Update, scale: best.scale, risk: best.risk, reason };
    }
    let least = candidates.iter().min_by(|one, other| one.risk.total_cmp(&other.risk));
    let (code, message) = match least {
        None => ("no-trial", "no trial update could be measured, so none is taken".to_string()),
        Some(least) => (
            "refused",
            format!(
                "every trial update is pruned, the least risky one at {:.3}: look at the answers \
                 of this step, add alignment data, or lower the learning rate",
                least.risk
            ),
        ),
    };
    Choice {
        action: if here >= prune { Action::RollBack } else { Action::Skip },
        scale: 1.0,
        risk: least.map_or(1.0, |least| least.risk),
        reason: Some((code, message)),
    }
}

fn mean_margin(margins: &[f64]) -> Result<f64, String> {
    let margin = mean(margins);
    if margins.is_empty() || !margin.is_finite() {
        Err("the canary margins have no mean that is a number".into())
    } else {
        Ok(margin)
    }
}

const KIND: [u8; 4] = *b"SFPR";
const VERSION: u16 = 1;

/// The mean margin before the first step; none at that step.
fn first_margin(state: &[u8]) -> Result<Option<f64>, String> {
    if state.is_empty() {
        return Ok(None);
    }
    let mut reader = Reader::open(state, KIND, VERSION, "state bytes")?;
    let margin = reader.f64()?;
    reader.finish()?;
    if margin.is_finite() {
        Ok(Some(margin))
    } else {
        Err(format!("the state bytes hold a margin of {margin}"))
    }
}

risk_policy::export!(SafePred);

#[cfg(test)]
mod tests;
