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

use risk_policy::assessment::{largest, mean};
use risk_policy::prelude::*;
use risk_policy::regularization::score_of_risk;
use risk_policy::smoothing::Smoothing;

use parameters::Fitted;
use settings::{Aggregation, Mode, Settings};

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
        let mut risk = aggregated(&own, call.settings.aggregation);
        let mut smoothing = Smoothing::resume(call.settings.smoothing, call.state)?;
        smoothing.apply(&mut risk);
        let regularization = regularization(call.settings, &risk);
        let mut assessment = Assessment::new(risk, regularization).state(smoothing.state());
        for (sample, risk) in own.iter().enumerate() {
            if *risk >= call.settings.threshold {
                assessment =
                    assessment.sample_reason(sample, "harmful-prompt", reason(&fitted, *risk));
            }
        }
        Ok(with_metrics(assessment))
    }
}

fn needs(settings: &Settings, layers: Vec<u32>) -> Needs {
    Needs::new()
        .tap(Source::Reference, settings.position.position(), layers)
        .calibrated()
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
    (0..signals.samples.len())
        .map(|sample| fitted.risk(activations, sample, index))
        .collect()
}

fn aggregated(own: &[f64], aggregation: Aggregation) -> Vec<f64> {
    match aggregation {
        Aggregation::Sample => own.to_vec(),
        Aggregation::Batch => vec![mean(own); own.len()],
    }
}

fn regularization(settings: &Settings, risk: &[f64]) -> Regularization {
    match settings.mode {
        Mode::Adaptive => Regularization::affine(risk, settings.b_min, settings.b_max),
        Mode::PublishedCode => {
            let scores: Vec<f64> = risk.iter().map(|s| score_of_risk(*s)).collect();
            Regularization::published_code(&scores)
        }
    }
}

fn reason(fitted: &Fitted, risk: f64) -> String {
    format!(
        "the prompt is harmful with probability {risk:.3}, by layer {}",
        fitted.layer
    )
}

fn with_metrics(assessment: Assessment) -> Assessment {
    let risk = (mean(&assessment.risk), largest(&assessment.risk));
    let kl = mean(&assessment.regularization.kl_weight);
    let task = mean(&assessment.regularization.task_weight);
    assessment
        .metric("risk.mean", risk.0)
        .metric("risk.max", risk.1)
        .metric("kl_weight.mean", kl)
        .metric("task_weight.mean", task)
}

risk_policy::export!(Probe);

#[cfg(test)]
mod tests;
