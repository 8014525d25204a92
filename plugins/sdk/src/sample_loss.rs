//! Reading the losses of the samples of a step.

use crate::bindings::Signals;

impl Signals {
    /// Loss of each sample: mean cross-entropy per answer token, in nats, before the
    /// update. Takes [`Needs::sample_loss`](crate::bindings::Needs::sample_loss).
    ///
    /// # Errors
    /// If the losses are not one per sample, or one is below 0 or not finite: no policy
    /// may take that for a low loss.
    pub fn sample_losses(&self) -> Result<&[f64], String> {
        let losses = self.sample_loss.as_deref().ok_or("the losses of the samples are absent")?;
        if losses.len() != self.samples.len() {
            let (losses, samples) = (losses.len(), self.samples.len());
            return Err(format!("there are {losses} losses for {samples} samples"));
        }
        match losses.iter().position(|loss| !(*loss >= 0.0 && loss.is_finite())) {
            Some(sample) => Err(format!("the loss of sample {sample} is {}", losses[sample])),
            None => Ok(losses),
        }
    }

    /// Loss of the batch: mean cross-entropy per answer token over all samples of the
    /// step. None without an answer token.
    ///
    /// # Errors
    /// As [`Signals::sample_losses`].
    pub fn batch_loss(&self) -> Result<Option<f64>, String> {
        let (mut sum, mut tokens) = (0.0, 0.0);
        for (loss, sample) in self.sample_losses()?.iter().zip(&self.samples) {
            sum += loss * f64::from(sample.answer_tokens);
            tokens += f64::from(sample.answer_tokens);
        }
        Ok((tokens > 0.0).then(|| sum / tokens))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::fixtures;

    #[test]
    fn long_answers_count_by_their_tokens() {
        let mut signals = fixtures::signals(0, 2);
        (signals.samples[0].answer_tokens, signals.samples[1].answer_tokens) = (1, 3);
        signals.sample_loss = Some(vec![2.0, 1.0]);
        assert_eq!(signals.sample_losses().unwrap(), [2.0, 1.0]);
        assert_eq!(signals.batch_loss().unwrap(), Some(1.25));
    }

    #[test]
    fn a_step_without_answer_tokens_has_no_loss() {
        let mut signals = fixtures::signals(0, 0);
        signals.sample_loss = Some(Vec::new());
        assert_eq!(signals.batch_loss().unwrap(), None);
    }

    #[test]
    fn absent_short_and_impossible_losses_are_errors() {
        let mut signals = fixtures::signals(0, 2);
        assert!(signals.batch_loss().unwrap_err().contains("absent"));
        for (losses, part) in [
            (vec![1.0], "1 losses for 2 samples"),
            (vec![1.0, f64::NAN], "sample 1 is NaN"),
            (vec![f64::INFINITY, 1.0], "sample 0 is inf"),
            (vec![1.0, -0.5], "sample 1 is -0.5"),
        ] {
            signals.sample_loss = Some(losses);
            let error = signals.batch_loss().unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
