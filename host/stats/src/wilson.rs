//! Rates with their confidence interval.

use serde::{Deserialize, Serialize};

/// A count out of a total. Written with the share and its interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Written")]
pub struct Rate {
    pub hits: usize,
    pub total: usize,
}

#[derive(Serialize)]
struct Written {
    hits: usize,
    total: usize,
    share: Option<f64>,
    interval: Option<(f64, f64)>,
}

impl From<Rate> for Written {
    fn from(rate: Rate) -> Self {
        Self { hits: rate.hits, total: rate.total, share: rate.value(), interval: rate.interval() }
    }
}

impl Rate {
    /// Counts the outcomes that are true.
    pub fn of(outcomes: impl IntoIterator<Item = bool>) -> Self {
        outcomes.into_iter().fold(Self::default(), |rate, hit| Self {
            hits: rate.hits + usize::from(hit),
            total: rate.total + 1,
        })
    }

    /// The share of hits; nothing if the total is 0.
    pub fn value(self) -> Option<f64> {
        (self.total > 0).then(|| self.hits as f64 / self.total as f64)
    }

    /// The 95% interval of the share; see [`wilson_95`].
    pub fn interval(self) -> Option<(f64, f64)> {
        wilson_95(self.hits, self.total)
    }
}

/// The 0.975 quantile of the standard normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// The Wilson score interval (Wilson 1927) of `hits` out of `total` at 95%
/// confidence, low and high, in [0, 1]; nothing if the total is 0.
pub fn wilson_95(hits: usize, total: usize) -> Option<(f64, f64)> {
    if total == 0 {
        return None;
    }
    let n = total as f64;
    let share = hits as f64 / n;
    let centre = share + Z * Z / (2.0 * n);
    let spread = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    Some((((centre - spread) / scale).clamp(0.0, 1.0), ((centre + spread) / scale).clamp(0.0, 1.0)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn assert_interval(hits: usize, total: usize, low: f64, high: f64) {
        let found = wilson_95(hits, total).unwrap();
        assert!((found.0 - low).abs() < 5e-5 && (found.1 - high).abs() < 5e-5, "{found:?}");
    }

    #[test]
    fn golden_intervals() {
        assert_interval(0, 10, 0.0, 0.2775);
        assert_interval(10, 10, 0.7225, 1.0);
        assert_interval(5, 10, 0.2366, 0.7634);
        // Newcombe 1998, Table I, method 3: 81 of 263 and 15 of 148.
        assert_interval(81, 263, 0.2553, 0.3662);
        assert_interval(15, 148, 0.0624, 0.1605);
        assert_eq!(wilson_95(0, 0), None);
    }

    #[test]
    fn a_rate_without_cases_has_no_value() {
        assert_eq!(Rate::of([]).value(), None);
        assert_eq!(Rate::of([true, false, false, true]).value(), Some(0.5));
    }

    #[test]
    fn a_rate_is_written_with_its_interval_and_read_back() {
        let rate = Rate { hits: 5, total: 10 };
        let text = serde_json::to_string(&rate).unwrap();
        assert!(
            text.starts_with(r#"{"hits":5,"total":10,"share":0.5,"interval":[0.236"#),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<Rate>(&text).unwrap(), rate);
    }
}
