//! Agreement of each sample's gradient with the alignment gradient (as GradShield and SEAL
//! compare them), without a backward pass per sample:
//!
//! ```text
//! u = g_alignment / |g_alignment|
//! agreement of i = (loss_i(parameters + e u) - loss_i(parameters)) / e  ~  g_i . u
//! ```
//!
//! It costs one forward without gradient. The alignment gradient is the last one that there
//! was, as for the conflict of the two.

use candle_core::DType;

use super::{Measured, State};
use crate::error::Result;
use crate::parameters::norm;
use crate::signals::readout::sample_means;
use crate::step::micro_batch::MicroBatch;

/// The distance e, which is small beside one update: AdamW moves every parameter by about the
/// learning rate, so millions of them by 0.1 and more. Where numbers have 8 bits a small step
/// drowns in their rounding.
fn distance(dtype: DType) -> f64 {
    if matches!(dtype, DType::F32 | DType::F64) { 1e-2 } else { 0.5 }
}

impl State<'_> {
    /// The direction of the alignment gradient, kept for the next step.
    pub(super) fn keep_direction(&mut self) {
        let (Some(direction), Some(alignment)) = (&mut self.direction, &self.alignment) else {
            return;
        };
        let norm = norm(alignment);
        if norm > 0.0 && norm.is_finite() {
            direction.clear();
            direction.extend(alignment.iter().map(|value| (f64::from(*value) / norm) as f32));
        }
    }

    /// Puts the agreement of the step's samples into `measured`, on the root.
    pub(super) fn agree(&mut self, measured: &mut Measured, micro: &[MicroBatch]) -> Result<()> {
        let Some(direction) = self.direction.as_ref().filter(|known| !known.is_empty()) else {
            return Ok(());
        };
        let decoder = &self.spec.context.model.decoder;
        let e = distance(decoder.weights.dtype());
        let moved = self.parameters.iter().zip(direction);
        let moved: Vec<f32> =
            moved.map(|(at, along)| (f64::from(*at) + e * f64::from(*along)) as f32).collect();
        self.layout.write(&moved)?;
        let mut after = Vec::with_capacity(measured.labels.len());
        for batch in micro {
            after.extend(batch.label_log_probs(decoder, self.spec.adapter)?);
        }
        self.layout.write(&self.parameters)?;
        let offsets = measured.offsets();
        let before = sample_means(&offsets, &measured.current.log_probs);
        let after = sample_means(&offsets, &after);
        let slope = |(before, after)| ((before - after) / e) as f32;
        let own: Vec<f32> = before.into_iter().zip(after).map(slope).collect();
        let all = self.spec.ranks.gather(own)?;
        measured.context.gradient_agreement = Some(all.into_iter().map(f64::from).collect());
        Ok(())
    }
}
