//! Reading how far the gradients of samples agree with the alignment gradient.

use crate::bindings::Signals;

impl Signals {
    /// Agreement of each sample's gradient with the alignment gradient: below 0 an update on
    /// the sample raises the alignment loss. None until a step had alignment samples. Takes
    /// [`Needs::gradient_agreement`](crate::bindings::Needs::gradient_agreement).
    ///
    /// # Errors
    /// If they are not one per sample, or one is not finite: no policy may take that for
    /// agreement.
    pub fn gradient_agreements(&self) -> Result<Option<&[f64]>, String> {
        let Some(agreements) = self.gradient_agreement.as_deref() else {
            return Ok(None);
        };
        if agreements.len() != self.samples.len() {
            let (found, samples) = (agreements.len(), self.samples.len());
            return Err(format!("there are {found} gradient agreements for {samples} samples"));
        }
        match agreements.iter().position(|agreement| !agreement.is_finite()) {
            Some(sample) => {
                Err(format!("the gradient agreement of sample {sample} is {}", agreements[sample]))
            }
            None => Ok(Some(agreements)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::fixtures;

    #[test]
    fn absent_is_none_and_a_wrong_number_or_nan_is_an_error() {
        let mut signals = fixtures::signals(0, 2);
        assert_eq!(signals.gradient_agreements().unwrap(), None);
        signals.gradient_agreement = Some(vec![0.5, -0.5]);
        assert_eq!(signals.gradient_agreements().unwrap(), Some(&[0.5, -0.5][..]));
        for (agreements, part) in [
            (vec![0.5], "1 gradient agreements for 2 samples"),
            (vec![0.5, f64::NAN], "sample 1 is NaN"),
        ] {
            signals.gradient_agreement = Some(agreements);
            let error = signals.gradient_agreements().unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
