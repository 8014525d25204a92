//! A soft constraint on how far each answer token moves from the reference
//! (arXiv 2406.05946): the cross-entropy of token t is weighted by
//! 2 * (1 - sigmoid(g_t * (ln pi - ln ref))), with a strong g on the first few tokens,
//! where an answer turns into a refusal or into compliance.

use risk_policy::prelude::*;
use risk_policy::settings::invalid;

#[derive(Debug, serde::Deserialize)]
#[serde(default)]
pub struct Settings {
    first: f64,
    early: f64,
    late: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { first: 0.5, early: 2.0, late: 0.1 }
    }
}

/// No token is left out altogether.
const FLOOR: f64 = 1e-3;

impl Settings {
    fn check(&self) -> Result<(), String> {
        for (key, value) in [("first", self.first), ("early", self.early), ("late", self.late)] {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(invalid(key, format!("{value} is not a number from 0 on")));
            }
        }
        Ok(())
    }

    /// g of the answer token at this place, counting from 0.
    fn strength(&self, place: usize) -> f64 {
        match place {
            0 => self.first,
            1..=4 => self.early,
            _ => self.late,
        }
    }
}

/// The weight of a token whose log-probability is `moved` above the reference's.
fn token_weight(strength: f64, moved: f64) -> f64 {
    (2.0 / (1.0 + (strength * moved).exp())).max(FLOOR)
}

pub struct ConstrainedSft;

impl Policy for ConstrainedSft {
    type Settings = Settings;

    const NAME: &str = "constrained-sft";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str = "Answer tokens count less the further they have moved from the reference, above all the first few.";
    const SETTINGS_SCHEMA: &str = include_str!("../settings.schema.json");

    fn needs(settings: &Settings, _run: &RunInfo) -> Result<Needs, String> {
        settings.check()?;
        Ok(Needs::new()
            .tokens(TokenNeeds::CURRENT | TokenNeeds::REFERENCE)
            .actuators(Actuators::TOKEN_WEIGHTS))
    }

    fn assess(call: &Call<'_, Settings>) -> Result<Assessment, String> {
        call.settings.check()?;
        let samples = call.signals.samples.len();
        let tokens = call
            .signals
            .tokens
            .as_ref()
            .ok_or("the log-probabilities of the answer tokens are needed, there are none")?;
        let weights = token_weights(call.settings, tokens, samples)?;
        let least = weights.iter().copied().fold(f32::INFINITY, f32::min);
        let mut regularization = Regularization::constant(samples, 1.0, 0.0);
        let count = weights.len();
        let sum: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
        regularization.token_task_weight = Some(weights);
        let assessment = Assessment::new(vec![0.0; samples], regularization);
        if count == 0 {
            return Ok(assessment);
        }
        Ok(assessment
            .metric("token_weight.mean", sum / count as f64)
            .metric("token_weight.min", f64::from(least)))
    }
}

fn token_weights(
    settings: &Settings,
    tokens: &TokenSignals,
    samples: usize,
) -> Result<Vec<f32>, String> {
    let (current, reference) = (&tokens.current, &tokens.reference);
    let last = tokens.offsets.last().map_or(0, |end| *end as usize);
    if tokens.offsets.len() != samples + 1 || current.len() != last || reference.len() != last {
        return Err(format!(
            "{} current and {} reference log-probabilities and {} offsets do not fit {samples} samples",
            current.len(),
            reference.len(),
            tokens.offsets.len()
        ));
    }
    let mut weights = Vec::with_capacity(last);
    for (sample, ends) in tokens.offsets.windows(2).enumerate() {
        let range = ends[0] as usize..ends[1] as usize;
        let (Some(current), Some(reference)) = (current.get(range.clone()), reference.get(range))
        else {
            return Err(format!("the offsets of sample {sample} are not in order"));
        };
        for (place, (current, reference)) in current.iter().zip(reference).enumerate() {
            let moved = f64::from(*current) - f64::from(*reference);
            if !moved.is_finite() {
                return Err(format!(
                    "answer token {place} of sample {sample} has no log-probability that is a number"
                ));
            }
            weights.push(token_weight(settings.strength(place), moved) as f32);
        }
    }
    Ok(weights)
}

risk_policy::export!(ConstrainedSft);

#[cfg(test)]
mod tests;
