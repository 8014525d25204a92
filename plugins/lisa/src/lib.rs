//! Lisa (arXiv 2405.18641): steps on task data and steps on alignment data take turns, and
//! each turn is held near the parameters at which it began by rho/2 |theta - theta_switch|^2.

use risk_policy::prelude::*;
use risk_policy::settings::invalid;

#[derive(Debug, serde::Deserialize)]
#[serde(default)]
pub struct Settings {
    task_steps: u32,
    alignment_steps: u32,
    rho: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { task_steps: 9, alignment_steps: 1, rho: 1.0 }
    }
}

impl Settings {
    fn check(&self) -> Result<(), String> {
        for (key, steps) in
            [("task_steps", self.task_steps), ("alignment_steps", self.alignment_steps)]
        {
            if steps == 0 {
                return Err(invalid(key, "0 steps are no turn: give at least 1"));
            }
        }
        if !(self.rho >= 0.0 && self.rho.is_finite()) {
            return Err(invalid("rho", format!("{} is below 0", self.rho)));
        }
        Ok(())
    }

    /// Whether a step is one of alignment data. A cycle begins with task data.
    fn aligns(&self, step: u64) -> bool {
        let (task, alignment) = (u64::from(self.task_steps), u64::from(self.alignment_steps));
        step % (task + alignment) >= task
    }
}

pub struct Lisa;

impl Policy for Lisa {
    type Settings = Settings;

    const NAME: &str = "lisa";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str =
        "Task and alignment data take turns, each held near where its turn began.";
    const SETTINGS_SCHEMA: &str = include_str!("../settings.schema.json");

    fn needs(settings: &Settings, _run: &RunInfo) -> Result<Needs, String> {
        settings.check()?;
        Ok(Needs::new().actuators(Actuators::ALIGNMENT_SHARE | Actuators::ANCHOR))
    }

    fn assess(call: &Call<'_, Settings>) -> Result<Assessment, String> {
        let settings = call.settings;
        settings.check()?;
        let samples = call.signals.samples.len();
        let mut regularization = Regularization::constant(samples, 1.0, 0.0);
        regularization.anchor =
            Some(Anchor { target: AnchorTarget::LastSwitch, strength: settings.rho });
        let next = settings.aligns(call.signals.step + 1);
        regularization.alignment_share = Some(f64::from(u8::from(next)));
        Ok(Assessment::new(vec![0.0; samples], regularization))
    }
}

risk_policy::export!(Lisa);

#[cfg(test)]
mod tests;
