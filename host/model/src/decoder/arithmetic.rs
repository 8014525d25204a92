//! How a decoder computes: what decides the bits of a pass besides weights and tokens.

use super::{Decoder, Kernels};
use host_kernels::simd::level;

impl Decoder {
    /// Kernels, number format, device and instruction set, in words. Two decoders of the
    /// same weights and the same program whose words differ may round differently.
    pub fn arithmetic(&self) -> String {
        format!(
            "{:?} {:?} {:?} {:?}",
            self.kernels,
            self.weights.dtype(),
            self.device().location(),
            level()
        )
    }

    /// Whether a row has the same bits whatever sequences it shares a batch with. The
    /// fused kernels sum every row on its own and in one order; libraries choose by the
    /// shape of the batch.
    pub fn rows_stand_alone(&self) -> bool {
        self.kernels == Kernels::Fused
    }
}
