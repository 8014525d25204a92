//! From what a probe or a judge says of a sample to the risk that counts.

use crate::settings::invalid;

/// The settings that shape a risk.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Deserialize)]
#[serde(default)]
pub struct Shape {
    /// Share of harmful samples to be expected in the data; none leaves the risk at the share
    /// it was calibrated on.
    pub prior: Option<f64>,
    /// Risk up to which a sample counts as harmless.
    pub hinge: f64,
}

impl Shape {
    /// # Errors
    /// For a value that is out of range, naming its key.
    pub fn check(&self) -> Result<(), String> {
        if let Some(prior) = self.prior
            && !(prior > 0.0 && prior < 1.0)
        {
            return Err(invalid("prior", format!("{prior} is not above 0 and below 1")));
        }
        if !(0.0..1.0).contains(&self.hinge) {
            return Err(invalid("hinge", format!("{} is not in [0, 1)", self.hinge)));
        }
        Ok(())
    }

    /// Moves the risks to the expected share, then takes what lies above the hinge.
    /// `calibrated` is the share of harmful samples that they were made for, `usual` the
    /// [`usual`] risk of the run's own rows, on the scale of the risks as they come.
    pub fn apply(&self, risks: &[f64], calibrated: f64, usual: f64) -> Vec<f64> {
        let moved = |risk: f64| match self.prior {
            Some(prior) => shifted(risk, calibrated, prior),
            None => risk,
        };
        let threshold = self.hinge.max(moved(usual));
        risks.iter().map(|risk| hinged(moved(*risk), threshold)).collect()
    }
}

/// `max(0, (s - t) / (1 - t))`: nothing up to t, and from there on in proportion up to 1.
pub fn hinged(risk: f64, threshold: f64) -> f64 {
    ((risk - threshold) / (1.0 - threshold)).max(0.0)
}

/// A probability of harm for another share of harmful samples: its log-odds plus
/// `ln(p / (1 - p)) - ln(p_cal / (1 - p_cal))`. 0 and 1 stay what they are.
pub fn shifted(risk: f64, calibrated: f64, expected: f64) -> f64 {
    let odds = expected / (1.0 - expected) * (1.0 - calibrated) / calibrated;
    odds * risk / (1.0 - risk + odds * risk)
}

/// Deviations above the median that still count as usual.
const DEVIATIONS: f64 = 3.0;
/// Median absolute deviations of a normal distribution per standard deviation.
const NORMAL: f64 = 1.4826;
/// A sample that is more likely harmful than not is never usual: else a run whose rows are
/// all harmful would call them harmless.
const MOST: f64 = 0.5;

/// The risk up to which samples count as usual among these, which nobody labelled: median
/// plus three robust standard deviations of the log-odds, at most 0.5. Harmful samples among
/// them move it little as long as they are the minority. 0 for none.
pub fn usual(risks: &[f64]) -> f64 {
    let log_odds = |risk: &f64| {
        let risk = risk.clamp(1e-9, 1.0 - 1e-9);
        (risk / (1.0 - risk)).ln()
    };
    let values: Vec<f64> = risks.iter().map(log_odds).collect();
    let Some(middle) = median(values.clone()) else {
        return 0.0;
    };
    let spread = median(values.iter().map(|value| (value - middle).abs()).collect());
    let limit = middle + DEVIATIONS * NORMAL * spread.unwrap_or_default();
    (1.0 / (1.0 + (-limit).exp())).min(MOST)
}

/// The middle value, of an even number the mean of the middle two.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    let upper = *values.get(half)?;
    if values.len() % 2 == 1 { Some(upper) } else { Some(0.5 * (values[half - 1] + upper)) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn close(got: f64, want: f64) {
        assert!((got - want).abs() < 1e-4, "{got} is not {want}");
    }

    #[test]
    fn hinge_golden_values() {
        close(hinged(0.3, 0.4), 0.0);
        close(hinged(0.4, 0.4), 0.0);
        close(hinged(0.7, 0.4), 0.5);
        close(hinged(1.0, 0.4), 1.0);
        close(hinged(0.7, 0.0), 0.7);
    }

    #[test]
    fn a_rarer_harm_makes_the_same_score_less_likely_harmful() {
        // Odds 1, times 1/9 for 10% instead of one half.
        close(shifted(0.5, 0.5, 0.1), 0.1);
        close(shifted(0.9, 0.5, 0.1), 0.5);
        close(shifted(0.3, 0.25, 0.25), 0.3);
        assert_eq!((shifted(0.0, 0.5, 0.1), shifted(1.0, 0.5, 0.1)), (0.0, 1.0));
    }

    #[test]
    fn without_settings_the_risk_stays_what_it_is() {
        assert_eq!(Shape::default().apply(&[0.0, 0.37, 1.0], 0.5, 0.0), [0.0, 0.37, 1.0]);
        let both = Shape { prior: Some(0.1), hinge: 0.2 }.apply(&[0.5, 0.9], 0.5, 0.0);
        close(both[0], 0.0);
        close(both[1], 0.375);
    }

    #[test]
    fn what_is_usual_is_set_by_the_majority_of_rows() {
        // Film reviews around .23, of which a tenth is exchanged for harmful requests.
        let mut rows: Vec<f64> = (0..100).map(|i| 0.18 + 0.001 * f64::from(i)).collect();
        let alone = usual(&rows);
        assert!(alone > 0.28 && alone < 0.45, "{alone}");
        rows.iter_mut().step_by(10).for_each(|risk| *risk = 0.99);
        let poisoned = usual(&rows);
        assert!((poisoned - alone).abs() < 0.06, "{alone} {poisoned}");
        assert_eq!(usual(&[0.99; 50]), 0.5, "all of them harmful");
        assert_eq!(usual(&[]), 0.0);
        assert_eq!(usual(&[0.0, 1.0]), 0.5);
    }

    #[test]
    fn values_out_of_range_name_their_key() {
        for (shape, key) in [
            (Shape { prior: Some(0.0), hinge: 0.0 }, "`prior`"),
            (Shape { prior: Some(f64::NAN), hinge: 0.0 }, "`prior`"),
            (Shape { prior: None, hinge: 1.0 }, "`hinge`"),
        ] {
            assert!(shape.check().unwrap_err().contains(key));
        }
    }
}
