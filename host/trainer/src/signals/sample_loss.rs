//! Loss of each sample of a step, before the update.

use host_contract::{Needs, Signals};

use super::measured::{MeasuredSignal, Measurements, Moment, Reads};
use super::readout::sample_means;
use crate::error::Result;

pub(super) struct SampleLoss;

impl MeasuredSignal for SampleLoss {
    fn name(&self) -> &'static str {
        "sample-loss"
    }

    fn reads(&self, needs: &Needs) -> Reads {
        let current = needs.sample_loss;
        Reads { current, current_log_probs: current, ..Reads::default() }
    }

    fn measure(&self, at: &Moment<'_>, to: &mut Measurements) -> Result<()> {
        if at.needs.iter().any(|needs| needs.sample_loss) {
            to.signals.sample_loss = Some(means(&at.step.offsets, &at.current.log_probs));
        }
        Ok(())
    }

    fn view(&self, needs: &Needs, measured: &Measurements, to: &mut Signals) {
        to.sample_loss = measured.signals.sample_loss.clone().filter(|_| needs.sample_loss);
    }
}

/// Mean cross-entropy per answer token of each sample, in nats. `offsets` holds the first
/// answer token of each sample, and the total; `log_probs` has ln P of every answer token.
fn means(offsets: &[u32], log_probs: &[f32]) -> Vec<f64> {
    sample_means(offsets, log_probs).into_iter().map(|mean| -mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sample_has_the_mean_of_its_own_answer_tokens() {
        assert_eq!(means(&[0, 1, 4], &[-3.0, -0.5, -1.0, -1.5]), [3.0, 1.0]);
        assert!(means(&[0], &[]).is_empty());
    }
}
