//! SafeGrad (arXiv 2508.07172): what a task gradient has against the gradient of alignment
//! data is removed from it before the update.

use risk_policy::prelude::*;
use risk_policy::settings::invalid;

#[derive(Debug, serde::Deserialize)]
#[serde(default)]
pub struct Settings {
    share: f64,
    kl: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { share: 0.25, kl: 0.5 }
    }
}

impl Settings {
    fn check(&self) -> Result<(), String> {
        if !(self.share > 0.0 && self.share < 1.0) {
            let what = format!("{} is not above 0 and below 1", self.share);
            return Err(invalid("share", what));
        }
        if !(0.0..=1.0).contains(&self.kl) {
            return Err(invalid("kl", format!("{} is not in [0, 1]", self.kl)));
        }
        Ok(())
    }

    /// Task and KL weight of a sample.
    fn weights(&self, origin: Origin) -> (f64, f64) {
        match origin {
            Origin::Task => (1.0, 0.0),
            Origin::Alignment => (1.0 - self.kl, self.kl),
        }
    }
}

pub struct SafeGrad;

impl Policy for SafeGrad {
    type Settings = Settings;

    const NAME: &str = "safegrad";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str =
        "Removes from the task gradient what opposes the gradient of alignment data.";
    const SETTINGS_SCHEMA: &str = include_str!("../settings.schema.json");

    fn needs(settings: &Settings, _run: &RunInfo) -> Result<Needs, String> {
        settings.check()?;
        let needs = Needs::new().gradient_conflict();
        Ok(needs.actuators(Actuators::ALIGNMENT_SHARE | Actuators::GRADIENT_PROJECTION))
    }

    fn assess(call: &Call<'_, Settings>) -> Result<Assessment, String> {
        let settings = call.settings;
        settings.check()?;
        let samples = call.signals.samples.iter();
        let (task, kl): (Vec<f64>, Vec<f64>) =
            samples.map(|sample| settings.weights(sample.origin)).unzip();
        let risk = vec![0.0; task.len()];
        let mut regularization = Regularization::weights(task, kl);
        regularization.alignment_share = Some(settings.share);
        regularization.gradient_projection = true;
        let assessment = Assessment::new(risk, regularization);
        let Some(conflict) = &call.signals.gradient_conflict else {
            return Ok(assessment);
        };
        let cosine = cosine(conflict)?;
        let assessment = assessment.metric("conflict.cosine", cosine);
        Ok(if cosine < 0.0 {
            assessment.step_reason(
                "conflict",
                format!("the gradients of the step before had a cosine of {cosine:.3}"),
            )
        } else {
            assessment
        })
    }
}

fn cosine(conflict: &GradientConflict) -> Result<f64, String> {
    let cosine = conflict.dot / (conflict.task_norm * conflict.alignment_norm);
    if cosine.is_finite() {
        Ok(cosine)
    } else {
        Err("the gradients of the step before have no cosine that is a number".into())
    }
}

risk_policy::export!(SafeGrad);

#[cfg(test)]
mod tests;
