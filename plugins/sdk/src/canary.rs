//! The canary as one number.

use crate::assessment::mean;
use crate::bindings::Canary;

impl Canary {
    /// The mean margin over the canary prompts.
    ///
    /// # Errors
    /// If there is no margin, or one is not finite: no policy may take that for safe.
    pub fn mean_margin(&self) -> Result<f64, String> {
        let margin = mean(&self.margins);
        if self.margins.is_empty() || !margin.is_finite() {
            return Err(format!(
                "the canary margins before step {} have no mean that is a number",
                self.step
            ));
        }
        Ok(margin)
    }
}

/// Unit in which the margin of a run is measured: what it was before the first step, in nats,
/// and at least 1, so that a model that hardly refuses has a unit too.
pub fn unit(first: f64) -> f64 {
    first.max(1.0)
}

/// Share of the first margin that is lost; below 0 if it has grown.
pub fn lost(first: f64, margin: f64) -> f64 {
    (first - margin) / unit(first)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_lost_is_a_share_of_the_first_margin() {
        assert_eq!((lost(4.0, 3.0), lost(4.0, 4.0), lost(4.0, -4.0)), (0.25, 0.0, 2.0));
        // Of a model that doesn't refuse, in nats.
        assert_eq!((lost(0.5, 0.0), lost(-3.0, -4.0)), (0.5, 1.0));
    }

    #[test]
    fn margins_without_a_mean_are_an_error() {
        let canary = |margins: &[f64]| Canary { step: 3, margins: margins.to_vec() };
        assert_eq!(canary(&[1.0, 4.0]).mean_margin().unwrap(), 2.5);
        for margins in [&[][..], &[f64::NAN], &[f64::INFINITY, 1.0]] {
            let error = canary(margins).mean_margin().unwrap_err();
            assert!(error.contains("before step 3"), "{error}");
        }
    }
}
