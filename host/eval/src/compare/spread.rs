//! A metric over the seeds of a method.

use serde::Serialize;

use super::metric::{Measured, Unit};

/// Its value for one seed, its mean for several.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Spread {
    pub mean: f64,
    /// Standard deviation over the seeds (n - 1); nothing for one.
    pub sd: Option<f64>,
    /// At 95%, over the prompts of the one seed; nothing for several.
    pub interval: Option<(f64, f64)>,
    /// Per seed that has it.
    pub values: Vec<f64>,
}

impl Spread {
    /// Of at least one value.
    pub(super) fn of(measured: &[Measured]) -> Self {
        let values: Vec<f64> = measured.iter().map(|one| one.value).collect();
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Self {
            mean,
            sd: (values.len() > 1).then(|| (squares / (count - 1.0)).sqrt()),
            interval: match measured {
                [one] => one.interval,
                _ => None,
            },
            values,
        }
    }

    /// "93.8 ± 1.2" over seeds, "93.8 [86.2, 97.1]" of one seed; with how many of `seeds`
    /// have it if not all do.
    pub fn text(&self, unit: Unit, seeds: usize) -> String {
        let number = |value: f64| match unit {
            Unit::Percent => format!("{:.1}", 100.0 * value),
            Unit::Number(decimals) => format!("{value:.decimals$}"),
        };
        let mut text = number(self.mean);
        if let Some(sd) = self.sd {
            text += &format!(" ± {}", number(sd));
        } else if let Some((low, high)) = self.interval {
            text += &format!(" [{}, {}]", number(low), number(high));
        }
        if self.values.len() < seeds {
            text += &format!(" ({}/{seeds})", self.values.len());
        }
        text
    }
}
