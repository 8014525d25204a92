//! An assessment, and its checks against the interface before anyone acts on it.

use host_files::text::{clean, is_word};
use serde::{Deserialize, Serialize};
use wasmtime::component::{ComponentType, Lift};

use crate::{
    actuators::{ACTUATORS, Check, Regularization, per_sample},
    invalid::Invalid,
    signals::Needs,
    types::{Metric, Reason, Sample},
};

/// What a policy decided about one step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ComponentType, Lift)]
#[component(record)]
pub struct Assessment {
    /// Per sample, in [0, 1].
    pub risk: Vec<f64>,
    /// How to train on the step.
    pub regularization: Regularization,
    /// Why.
    pub reasons: Vec<Reason>,
    /// Numbers to report.
    pub metrics: Vec<Metric>,
    /// Comes back at the next step.
    pub state: Vec<u8>,
}

/// What an assessment is checked against.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The samples of the step, in the order of the signals.
    pub samples: &'a [Sample],
    /// What the policy declared: an actuator that is not in it must not be used.
    pub needs: &'a Needs,
    /// Decoder blocks of the model.
    pub layers: u32,
}

/// Checks every length, range and declared actuator of an assessment.
///
/// Text is not checked here, and neither are the limits on counts and sizes.
///
/// # Errors
/// The first field that is wrong, with its value and what it must be.
pub fn validate_assessment(assessment: &Assessment, expected: Expected<'_>) -> Check {
    let samples = expected.samples.len();
    per_sample("risk", &assessment.risk, samples, 1.0)?;
    for actuator in ACTUATORS {
        actuator.check(&assessment.regularization, expected.samples)?;
        actuator.check_layers(&assessment.regularization, expected.layers)?;
    }
    declared(&assessment.regularization, expected.needs)?;
    for (i, reason) in assessment.reasons.iter().enumerate() {
        if let Some(sample) = reason.sample.filter(|sample| *sample as usize >= samples) {
            let problem =
                format!("is {sample}, and the step has {samples} samples (0 is the first)");
            return Err(Invalid::new(format!("reasons[{i}].sample"), problem));
        }
        if !is_word(&reason.code, "-_.", 64)
            || reason.code.contains(|c: char| c.is_ascii_uppercase())
        {
            let problem = format!(
                "is {:?}; it must be 1 to 64 characters of a-z, 0-9, '-', '_' and '.'",
                short(&reason.code)
            );
            return Err(Invalid::new(format!("reasons[{i}].code"), problem));
        }
    }
    check_metrics("metrics", &assessment.metrics)
}

/// Finds a part of the assessment that is used without having been declared.
fn declared(r: &Regularization, needs: &Needs) -> Check {
    for actuator in ACTUATORS.iter().filter(|one| !one.is_declared(needs.declared())) {
        if let Some(field) = actuator.used(r) {
            let field = format!("regularization.{field}");
            return Err(Invalid::new(field, actuator.undeclared()));
        }
    }
    Ok(())
}

/// Metrics: names are words, no name comes twice, every value is finite.
pub fn check_metrics(field: &str, metrics: &[Metric]) -> Check {
    for (i, metric) in metrics.iter().enumerate() {
        let name = short(&metric.name);
        if !is_word(&metric.name, "-_./@", 64) {
            let problem = format!(
                "is {name:?}; it must be 1 to 64 letters, digits, '-', '_', '.', '/' and '@'"
            );
            return Err(Invalid::new(format!("{field}[{i}].name"), problem));
        }
        if metrics[..i].iter().any(|earlier| earlier.name == metric.name) {
            return Err(Invalid::new(format!("{field}[{i}].name"), format!("repeats {name:?}")));
        }
        if !metric.value.is_finite() {
            let problem = format!(
                "({name}) is {}; it must be a finite number, so leave out what is undefined",
                metric.value
            );
            return Err(Invalid::new(format!("{field}[{i}].value"), problem));
        }
    }
    Ok(())
}

fn short(text: &str) -> String {
    clean(text, 64)
}
