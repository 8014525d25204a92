//! The settings.

use risk_policy::bindings::RunInfo;
use risk_policy::settings::invalid;

#[derive(Debug, Clone, serde::Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Of the vector; absent for the block in the middle.
    pub layers: Option<Vec<u32>>,
    /// Nats of mean margin that steering may take.
    pub allowed_fall: f64,
    /// Largest cosine with what is opposite to refusing.
    pub allowed_opposition: f64,
    pub every: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { layers: None, allowed_fall: 0.5, allowed_opposition: 0.1, every: 5 }
    }
}

impl Settings {
    pub fn check(&self) -> Result<(), String> {
        if !(self.allowed_fall > 0.0 && self.allowed_fall.is_finite()) {
            let what = format!("{} is not above 0", self.allowed_fall);
            return Err(invalid("allowed_fall", what));
        }
        if !(0.0..=1.0).contains(&self.allowed_opposition) {
            let what = format!("{} is not in [0, 1]", self.allowed_opposition);
            return Err(invalid("allowed_opposition", what));
        }
        if self.every == 0 {
            return Err(invalid("every", "0 steps never come: give at least 1"));
        }
        match &self.layers {
            Some(layers) if layers.is_empty() => Err(invalid("layers", "names none")),
            _ => Ok(()),
        }
    }

    pub fn layers(&self, run: &RunInfo) -> Vec<u32> {
        match &self.layers {
            Some(layers) => layers.clone(),
            None => vec![run.layers.div_ceil(2)],
        }
    }
}
