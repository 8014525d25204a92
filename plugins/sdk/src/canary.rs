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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

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
