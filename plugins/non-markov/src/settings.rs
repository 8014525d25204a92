//! The settings.

use risk_policy::anchors::Anchors;
use risk_policy::settings::invalid;

#[derive(Debug, Clone, serde::Deserialize)]
#[serde(default)]
pub struct Settings {
    /// P(safe) that the run should keep.
    pub threshold: f64,
    pub eta: f64,
    /// Share of the margin of the first measurement that may be lost.
    pub limit: f64,
    /// Steps of a trajectory.
    pub every: u32,
    /// Whose weight the multiplier is.
    pub anchors: Anchors,
}

impl Default for Settings {
    fn default() -> Self {
        Self { threshold: 0.95, eta: 1.0, limit: 0.25, every: 2, anchors: Anchors::default() }
    }
}

/// Beyond it nothing but the anchors would count.
pub const LARGEST_WEIGHT: f64 = 100.0;
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
        self.anchors.check_controlled(0.0, LARGEST_WEIGHT)?;
        if !(self.limit >= 0.0 && self.limit.is_finite()) {
            return Err(invalid("limit", format!("{} is below 0", self.limit)));
        }
        if !(1..=MOST_STEPS).contains(&self.every) {
            return Err(invalid("every", format!("{} is not in [1, 100]", self.every)));
        }
        Ok(())
    }

    /// lambda <- max(0, lambda + eta (ln threshold - sum of l_t)), and never more than
    /// [`LARGEST_WEIGHT`].
    pub fn next_lambda(&self, lambda: f64, credit: f64) -> f64 {
        (lambda + self.eta * (self.threshold.ln() - credit)).clamp(0.0, LARGEST_WEIGHT)
    }
}
