//! Rates with their confidence interval.

use host_stats::wilson_95;
use serde::{Deserialize, Serialize};

/// A count out of a total. Written with the share and its interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

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
