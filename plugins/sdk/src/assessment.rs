//! Building an [`Assessment`].

use crate::bindings::{Assessment, Candidate, Metric, Reason, Regularization};

impl Assessment {
    /// Risk per sample and what follows from it; no reasons, metrics or state yet.
    pub fn new(risk: Vec<f64>, regularization: Regularization) -> Self {
        Self { risk, regularization, reasons: Vec::new(), metrics: Vec::new(), state: Vec::new() }
    }

    /// A reason about one sample. `code` is stable and lower-case.
    pub fn sample_reason(mut self, sample: usize, code: &str, message: String) -> Self {
        let sample = u32::try_from(sample).ok();
        self.reasons.push(Reason { sample, code: code.to_string(), message });
        self
    }

    /// A reason about the whole step.
    pub fn step_reason(mut self, code: &str, message: String) -> Self {
        self.reasons.push(Reason { sample: None, code: code.to_string(), message });
        self
    }

    /// A number for the run's records.
    pub fn metric(mut self, name: &str, value: f64) -> Self {
        self.metrics.push(Metric::new(name, value));
        self
    }

    /// What the next step gets back.
    pub fn state(mut self, state: Vec<u8>) -> Self {
        self.state = state;
        self
    }
}

impl Metric {
    pub fn new(name: impl Into<String>, value: f64) -> Self {
        Self { name: name.into(), value }
    }
}

impl Candidate {
    /// The value of the metric `name`.
    pub fn metric(&self, name: &str) -> Option<f64> {
        self.metrics.iter().find(|metric| metric.name == name).map(|metric| metric.value)
    }
}

/// The mean, 0 for no values.
pub fn mean(values: &[f64]) -> f64 {
    if values.is_empty() { 0.0 } else { values.iter().sum::<f64>() / values.len() as f64 }
}

/// The largest value, 0 for no values.
pub fn largest(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_metrics_and_state_are_kept_in_order() {
        let a = Assessment::new(vec![0.0, 1.0], Regularization::constant(2, 1.0, 0.0))
            .sample_reason(1, "harmful-prompt", "risk 1".into())
            .step_reason("note", "n".into())
            .metric("risk.mean", mean(&[0.0, 1.0]))
            .state(vec![1]);
        assert_eq!(a.reasons[0].sample, Some(1));
        assert_eq!(a.reasons[1].sample, None);
        assert_eq!(a.metrics, vec![Metric::new("risk.mean", 0.5)]);
        assert_eq!(a.state, vec![1]);
    }

    #[test]
    fn mean_and_largest_of_nothing_are_zero() {
        assert_eq!((mean(&[]), largest(&[])), (0.0, 0.0));
        assert_eq!((mean(&[1.0, 2.0]), largest(&[0.2, 0.7, 0.1])), (1.5, 0.7));
    }
}
