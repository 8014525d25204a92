//! A guard of steering (arXiv 2602.04896): a vector that the model is to be steered by is
//! allowed, projected off the refusal direction if it opposes it, or capped where it costs
//! more refusal margin than may be lost.

mod settings;
mod verdict;

use risk_policy::assessment::mean;
use risk_policy::prelude::*;

pub use settings::Settings;
use verdict::Verdict;

pub struct SteeringGuard;

impl Policy for SteeringGuard {
    type Settings = Settings;

    const NAME: &str = "steering-guard";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str =
        "Allows, projects or caps a steering vector by what it does to the refusal margin.";
    const SETTINGS_SCHEMA: &str = include_str!("../settings.schema.json");

    fn needs(settings: &Settings, run: &RunInfo) -> Result<Needs, String> {
        settings.check()?;
        Ok(Needs::new()
            .canary_every(settings.every)
            .steering(SteeringVector::Configured, settings.layers(run)))
    }

    fn assess(call: &Call<'_, Settings>) -> Result<Assessment, String> {
        let settings = call.settings;
        settings.check()?;
        let Some(signals) = &call.signals.steering else {
            return Err("there are no steering signals".into());
        };
        let mut verdict = Verdict::resume(call.state, signals.coefficient)?;
        let opposition = opposition(verdict.wanted, &signals.cosines)?;
        let samples = call.signals.samples.len();
        let plain = Regularization::constant(samples, 1.0, 0.0);
        let mut assessment =
            Assessment::new(vec![0.0; samples], plain).metric("opposition", opposition);
        if call.signals.canary.is_some() {
            let fall = fall(signals)?;
            assessment = assessment.metric("margin.fall", fall);
            for (code, message) in verdict.judge(settings, opposition, signals.coefficient, fall) {
                assessment = assessment.step_reason(code, message);
            }
        }
        assessment.regularization.steering = Some(Steering {
            coefficient: verdict.coefficient,
            project: verdict.project,
            reference: false,
        });
        Ok(assessment.metric("coefficient", verdict.coefficient).state(verdict.state()))
    }
}

/// The largest cosine, over the layers, with what is opposite to refusing; at most 0 if
/// steering goes along with the refusal direction everywhere.
fn opposition(coefficient: f64, cosines: &[f64]) -> Result<f64, String> {
    let against = |cosine: &f64| -cosine * coefficient.signum();
    let opposition = cosines.iter().map(against).reduce(f64::max);
    opposition
        .filter(|opposition| opposition.is_finite())
        .ok_or_else(|| "the steering signals have no cosines that are numbers".into())
}

/// How much of the mean refusal margin steering takes.
fn fall(signals: &SteeringSignals) -> Result<f64, String> {
    let (without, with) = (&signals.margins_without, &signals.margins_with);
    let fall = mean(without) - mean(with);
    if without.is_empty() || with.is_empty() || !fall.is_finite() {
        return Err("the steering signals have no margins that are numbers".into());
    }
    Ok(fall)
}

risk_policy::export!(SteeringGuard);

#[cfg(test)]
mod tests;
