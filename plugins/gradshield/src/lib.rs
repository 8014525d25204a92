//! Rows are weighed by their gradients (after GradShield, arXiv 2605.14194): what would undo
//! alignment, because its gradient opposes that of alignment samples, counts less or not at
//! all.

use risk_policy::assessment::mean;
use risk_policy::bytes::{Reader, Writer};
use risk_policy::hinge::hinged;
use risk_policy::prelude::*;
use risk_policy::settings::invalid;

#[derive(Debug, serde::Deserialize)]
#[serde(default)]
pub struct Settings {
    alignment_rows: u32,
    alignment_weight: f64,
    tolerance: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { alignment_rows: 2, alignment_weight: 0.1, tolerance: 0.1 }
    }
}

impl Settings {
    fn check(&self) -> Result<(), String> {
        if !(1..=1024).contains(&self.alignment_rows) {
            let what = format!("{} is not in [1, 1024]", self.alignment_rows);
            return Err(invalid("alignment_rows", what));
        }
        if !(self.alignment_weight > 0.0 && self.alignment_weight <= 10.0) {
            let what = format!("{} is not above 0 and at most 10", self.alignment_weight);
            return Err(invalid("alignment_weight", what));
        }
        if !(0.0..1.0).contains(&self.tolerance) {
            return Err(invalid("tolerance", format!("{} is not in [0, 1)", self.tolerance)));
        }
        Ok(())
    }
}

/// Share of the unit that stays when alignment samples agree by something else.
const KEPT: f64 = 0.9;
/// A gradient that agrees by less than this is none.
const NOTHING: f64 = 1e-12;

const KIND: [u8; 4] = *b"GRSH";
const VERSION: u16 = 1;

pub struct GradShield;

impl Policy for GradShield {
    type Settings = Settings;

    const NAME: &str = "gradshield";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str =
        "Rows whose gradient opposes the gradient of alignment data count less or not at all.";
    const SETTINGS_SCHEMA: &str = include_str!("../settings.schema.json");

    fn needs(settings: &Settings, _run: &RunInfo) -> Result<Needs, String> {
        settings.check()?;
        let needs = Needs::new().gradient_agreement();
        Ok(needs.actuators(Actuators::ALIGNMENT_SHARE | Actuators::ALIGNMENT_EXTRA))
    }

    fn assess(call: &Call<'_, Settings>) -> Result<Assessment, String> {
        let settings = call.settings;
        settings.check()?;
        let samples = &call.signals.samples;
        let agreements = call.signals.gradient_agreements()?;
        let unit = unit(call, agreements)?;
        let risk: Vec<f64> = match (agreements, unit) {
            (Some(agreements), Some(unit)) => {
                let pairs = samples.iter().zip(agreements);
                pairs.map(|(sample, agreement)| settings.risk(sample, agreement / unit)).collect()
            }
            // Nothing to compare with yet.
            _ => vec![0.0; samples.len()],
        };
        let weight = |(sample, risk): (&Sample, &f64)| match sample.origin {
            Origin::Task => 1.0 - risk,
            Origin::Alignment => settings.alignment_weight,
        };
        let task = samples.iter().zip(&risk).map(weight).collect();
        let mut regularization = Regularization::weights(task, vec![0.0; samples.len()]);
        // The batch itself is of the task alone.
        regularization.alignment_share = Some(0.0);
        let regularization = regularization.alignment_extra(settings.alignment_rows);
        let dropped = risk.iter().filter(|risk| **risk >= 1.0).count();
        let mut assessment = Assessment::new(risk.clone(), regularization)
            .metric("risk.mean", mean(&risk))
            .metric("dropped", dropped as f64);
        let (Some(agreements), Some(unit)) = (agreements, unit) else {
            return Ok(assessment);
        };
        for (sample, risk) in risk.iter().enumerate().filter(|(_, risk)| **risk >= NAMED) {
            let message = format!(
                "its gradient opposes the alignment gradient by {:.3} of what alignment samples \
                 agree by; {:.3} of its weight is left",
                -agreements[sample] / unit,
                1.0 - risk
            );
            assessment = assessment.sample_reason(sample, "opposed", message);
        }
        let state = Writer::new(KIND, VERSION).f64(unit).finish();
        Ok(assessment.metric("agreement.unit", unit).state(state))
    }
}

/// Risk from which on a row is named.
const NAMED: f64 = 0.5;

impl Settings {
    /// Nothing up to the tolerance, everything from 1 on: a row that opposes as much as
    /// alignment samples agree.
    fn risk(&self, sample: &Sample, relative: f64) -> f64 {
        match sample.origin {
            Origin::Alignment => 0.0,
            Origin::Task => hinged((-relative).min(1.0), self.tolerance),
        }
    }
}

/// The running mean of what alignment samples agree by: the unit in which rows are measured.
/// None until there was one.
fn unit(call: &Call<'_, Settings>, agreements: Option<&[f64]>) -> Result<Option<f64>, String> {
    let before = kept(call.state)?;
    let Some(agreements) = agreements else {
        return Ok(before);
    };
    let pairs = call.signals.samples.iter().zip(agreements);
    let alignment = pairs.filter(|(sample, _)| sample.origin == Origin::Alignment);
    let values: Vec<f64> = alignment.map(|(_, agreement)| agreement.abs()).collect();
    let now = mean(&values);
    Ok(match before {
        _ if now <= NOTHING => before,
        Some(before) => Some(KEPT * before + (1.0 - KEPT) * now),
        None => Some(now),
    })
}

fn kept(state: &[u8]) -> Result<Option<f64>, String> {
    if state.is_empty() {
        return Ok(None);
    }
    let mut reader = Reader::open(state, KIND, VERSION, "state bytes")?;
    let unit = reader.f64()?;
    reader.finish()?;
    if unit > 0.0 { Ok(Some(unit)) } else { Err(format!("the state bytes hold a unit of {unit}")) }
}

risk_policy::export!(GradShield);

#[cfg(test)]
mod tests;
