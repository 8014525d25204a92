//! Adaptive regularization driven by an activation-based risk predictor
//! (arXiv 2602.17546).
//!
//! A classifier on the hidden states of the frozen reference, read over the prompt, before
//! anything is generated, says how likely a prompt is harmful. That probability s sets, per sample, the KL weight
//! b = b_min + (b_max - b_min) s and the task weight a = 1 - b.

mod settings;

use risk_policy::prelude::*;
use risk_policy::probe::{self, Fitted};

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
        Ok(with_anchors(settings, settings.probe.needs(run)?))
    }

    fn calibrate(
        settings: &Settings,
        run: &RunInfo,
        examples: &Examples,
    ) -> Result<Calibration, String> {
        settings.check()?;
        let fitted = probe::calibrate(&settings.probe, run, examples)?;
        Ok(Calibration { needs: with_anchors(settings, fitted.needs.clone()), ..fitted })
    }

    fn assess(call: &Call<'_, Settings>) -> Result<Assessment, String> {
        let settings = call.settings;
        settings.check()?;
        let fitted = Fitted::from_bytes(call.parameters, call.run, &settings.probe)?;
        let own = fitted.risks(&call.signals.activations, call.signals.samples.len())?;
        let shaped = fitted.shaped(&own, &settings.adaptive.shape);
        let anchors = settings.anchors.as_ref();
        let mut assessment =
            settings.adaptive.assess(&shaped, anchors, call.signals, call.state)?;
        for (sample, (risk, shaped)) in own.iter().zip(&shaped).enumerate() {
            if *shaped >= settings.threshold {
                assessment = assessment.sample_reason(sample, "harmful-prompt", risk.reason());
            }
        }
        Ok(assessment)
    }
}

fn with_anchors(settings: &Settings, needs: Needs) -> Needs {
    match &settings.anchors {
        Some(anchors) => anchors.needs(needs),
        None => needs,
    }
}

risk_policy::export!(Probe);

#[cfg(test)]
mod tests;
