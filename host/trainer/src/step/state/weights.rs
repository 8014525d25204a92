//! From what the policies ask to the weights of the loss.

use host_contract::{RatioClip, Regularization};

use super::{Measured, State};
use crate::actuators::objective::{self, TokenWeights};
use crate::actuators::ratio_clip::{self, Penalty, Ratios};
use crate::error::Result;
use crate::signals::sensors::reference_log_probs;
use crate::step::micro_batch::MicroBatch;

impl State<'_> {
    /// The weights of the share's answer tokens.
    pub fn loss_weights(
        &mut self,
        measured: &mut Measured,
        micro: &[MicroBatch],
        asked: Option<&Regularization>,
    ) -> Result<TokenWeights> {
        let (context, mean) = (&measured.context, self.spec.config.loss);
        let Some(asked) = asked else {
            return Ok(objective::plain(&context.offsets, mean).slice(measured.tokens()));
        };
        let all = objective::token_weights(asked, &context.offsets, mean);
        let mut weights = all.slice(measured.tokens());
        if weights.needs_reference() {
            // Signals have been read by now, so what taught them may go.
            match &mut self.teacher {
                Some(teacher) => measured.known = teacher.of(measured.mine())?,
                None if measured.known.is_empty() => {
                    measured.known = self.reference.of(measured.mine())?;
                }
                None => {}
            }
        }
        let estimates = objective::wants_label_divergence(asked);
        if !estimates && asked.ratio_clip.is_none() {
            return Ok(weights);
        }
        let reference = if measured.labels.is_empty() {
            Vec::new()
        } else {
            reference_log_probs(
                &self.spec.context.model.decoder,
                &measured.known,
                &measured.labels,
            )?
        };
        if let Some(clips) = &asked.ratio_clip {
            self.clip_ratios(measured, micro, clips, &reference, &mut weights)?;
        }
        if estimates {
            weights.label_divergence(&measured.current.log_probs, &reference);
        }
        Ok(weights)
    }

    /// The penalty is one of the whole step, so all ranks come together for it. Its squares
    /// are added up by micro-batches: the same sum whoever computes them.
    fn clip_ratios(
        &self,
        measured: &Measured,
        micro: &[MicroBatch],
        clips: &[RatioClip],
        reference: &[f32],
        weights: &mut TokenWeights,
    ) -> Result<()> {
        let ranks = self.spec.ranks;
        let offsets = measured.offsets();
        let ratios = Ratios {
            clips: &clips[measured.shard.samples.clone()],
            offsets: &offsets,
            current: &measured.current.log_probs,
            reference,
        };
        let mut penalty =
            Penalty { squares: 0.0, count: ratio_clip::count(clips, &measured.context.offsets) };
        if clips.iter().any(|clip| clip.variance_penalty > 0.0) {
            let mut first = 0;
            let squares = micro.iter().map(|batch| {
                let members = first..first + batch.members.len();
                first = members.end;
                ratios.of(members).squares()
            });
            [penalty.squares] = ranks.totals([squares.sum()])?;
        }
        ratios.clip(weights, penalty);
        if ranks.is_root() {
            weights.constant += penalty.value();
        }
        Ok(())
    }
}
