//! Adaptive regularization driven by an activation-based risk predictor
//! (arXiv 2602.17546).
//!
//! A classifier on the hidden states of the frozen reference, read at the last
//! prompt token, before anything is generated, says how likely a prompt is
//! harmful. That probability s sets, per sample, the KL weight
//! b = b_min + (b_max - b_min) s and the task weight a = 1 - b.

mod calibration;
mod classifier;
mod parameters;
mod settings;

use risk_policy::prelude::*;

use parameters::Fitted;
use settings::Settings;

pub struct Probe;

impl Policy for Probe {
    type Settings = Settings;

    const NAME: &str = "probe";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str = "Adaptive regularization: a probe on the reference's activations says how harmful \
         each prompt is, and that sets its KL weight.";
    const SETTINGS_SCHEMA: &str = include_str!("../settings.schema.json");

    fn needs(settings: &Settings, run: &RunInfo) -> Result<Needs, String> {
        settings.check()?;
        Ok(needs(settings, settings.layers(run)?))
    }

    fn calibrate(
        settings: &Settings,
        run: &RunInfo,
        examples: &Examples,
    ) -> Result<Calibration, String> {
        calibration::calibrate(settings, run, examples)
    }

    fn assess(call: &Call<'_, Settings>) -> Result<Assessment, String> {
        call.settings.check()?;
        let fitted = Fitted::from_bytes(call.parameters, call.run, call.settings)?;
        let own = risks(&fitted, call.signals)?;
        let mut assessment = call.settings.adaptive.assess(&own, call.state)?;
        for (sample, risk) in own.iter().enumerate() {
            if *risk >= call.settings.threshold {
                assessment =
                    assessment.sample_reason(sample, "harmful-prompt", reason(&fitted, *risk));
            }
        }
        Ok(assessment)
    }
}

fn needs(settings: &Settings, layers: Vec<u32>) -> Needs {
    Needs::new().tap(Source::Reference, settings.position.position(), layers).calibrated()
}

/// P(harmful) of every sample, on its own.
fn risks(fitted: &Fitted, signals: &Signals) -> Result<Vec<f64>, String> {
    let activations = signals
        .activations
        .first()
        .ok_or("the probe needs the activations of the reference, there are none")?;
    if activations.hidden as usize != fitted.standardizer.mean.len() {
        return Err(format!(
            "the activations have width {}, the probe was calibrated for {}: calibrate it again",
            activations.hidden,
            fitted.standardizer.mean.len()
        ));
    }
    let index = activations.layer_index(fitted.layer)?;
    (0..signals.samples.len()).map(|sample| fitted.risk(activations, sample, index)).collect()
}

fn reason(fitted: &Fitted, risk: f64) -> String {
    format!("the prompt is harmful with probability {risk:.3}, by layer {}", fitted.layer)
}

risk_policy::export!(Probe);

#[cfg(test)]
mod tests;
