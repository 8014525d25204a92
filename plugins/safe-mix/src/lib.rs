//! Plain fine-tuning with alignment data in every step: a share of the batch, or samples
//! in addition to it.

use risk_policy::prelude::*;
use risk_policy::settings::invalid;

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub struct Settings {
    share: Option<f64>,
    extra: Option<u32>,
}

/// What is mixed in where the settings say nothing.
const SHARE: f64 = 0.1;
/// The host accepts extra samples up to this.
const MOST_EXTRA: u32 = 1024;

/// Where the alignment samples of a step go.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Mix {
    /// They take this share of the batch.
    Share(f64),
    /// So many come in addition to the batch.
    Extra(u32),
}

impl Settings {
    fn mix(&self) -> Result<Mix, String> {
        match (self.share, self.extra) {
            (Some(_), Some(_)) => {
                Err(invalid("extra", "is in place of `share`: set one of the two"))
            }
            (None, Some(extra)) if (1..=MOST_EXTRA).contains(&extra) => Ok(Mix::Extra(extra)),
            (None, Some(extra)) => {
                Err(invalid("extra", format!("{extra} is not in [1, {MOST_EXTRA}]")))
            }
            (share, None) => match share.unwrap_or(SHARE) {
                share if share > 0.0 && share < 1.0 => Ok(Mix::Share(share)),
                share => Err(invalid("share", format!("{share} is not above 0 and below 1"))),
            },
        }
    }
}

pub struct SafeMix;

impl Policy for SafeMix {
    type Settings = Settings;

    const NAME: &str = "safe-mix";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str = "Plain fine-tuning with a share of alignment data in every step.";
    const SETTINGS_SCHEMA: &str = include_str!("../settings.schema.json");

    fn needs(settings: &Settings, _run: &RunInfo) -> Result<Needs, String> {
        Ok(Needs::new().actuators(match settings.mix()? {
            Mix::Share(_) => Actuators::ALIGNMENT_SHARE,
            Mix::Extra(_) => Actuators::ALIGNMENT_SHARE | Actuators::ALIGNMENT_EXTRA,
        }))
    }

    fn assess(call: &Call<'_, Settings>) -> Result<Assessment, String> {
        let samples = call.signals.samples.len();
        let mut regularization = Regularization::constant(samples, 1.0, 0.0);
        match call.settings.mix()? {
            Mix::Share(share) => regularization.alignment_share = Some(share),
            // The batch itself is of the task alone.
            Mix::Extra(extra) => {
                regularization.alignment_share = Some(0.0);
                regularization.alignment_extra = Some(extra);
            }
        }
        Ok(Assessment::new(vec![0.0; samples], regularization))
    }
}

risk_policy::export!(SafeMix);

#[cfg(test)]
mod tests;
