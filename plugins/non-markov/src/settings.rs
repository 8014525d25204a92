//! The settings.

use risk_policy::settings::invalid;

#[derive(Debug, Clone, serde::Deserialize)]
#[serde(default)]
pub struct Settings {
    /// P(safe) that the run should keep.
    pub threshold: f64,
    pub eta: f64,
    /// The multiplier to begin with.
    pub lambda: f64,
    /// How far the margin may fall below its first measurement, in nats.
    pub limit: f64,
    /// Steps of a trajectory.
    pub every: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { threshold: 0.95, eta: 0.1, lambda: 0.1, limit: 1.0, every: 5 }
    }
}

/// The host takes no weight above it.
pub const LARGEST_WEIGHT: f64 = 10.0;
const MOST_STEPS: u32 = 100;

impl Settings {
    pub fn check(&self) -> Result<(), String> {
        if !(self.threshold > 0.0 && self.threshold <= 1.0) {
            let what = format!("{} is not in (0, 1]", self.threshold);
            return Err(invalid("threshold", what));
        }
        if !(self.eta > 0.0 && self.eta.is_finite()) {
            return Err(invalid("eta", format!("{} is not above 0", self.eta)));
        }
        if !(0.0..=LARGEST_WEIGHT).contains(&self.lambda) {
            return Err(invalid("lambda", format!("{} is not in [0, 10]", self.lambda)));
        }
        if !(self.limit >= 0.0 && self.limit.is_finite()) {
            return Err(invalid("limit", format!("{} is below 0", self.limit)));
        }
        if !(1..=MOST_STEPS).contains(&self.every) {
            return Err(invalid("every", format!("{} is not in [1, 100]", self.every)));
        }
        Ok(())
    }

    /// lambda <- max(0, lambda + eta (ln threshold - sum of l_t)), and never more than the
    /// host takes.
    pub fn next_lambda(&self, lambda: f64, credit: f64) -> f64 {
        (lambda + self.eta * (self.threshold.ln() - credit)).clamp(0.0, LARGEST_WEIGHT)
    }
}
