//! Rotary position embedding (Su et al. 2021, arXiv 2104.09864), halves split.

use candle_core::{Result, Tensor};
use candle_nn::rotary_emb::rope_thd;

use super::packing::Rotation;
use crate::operation::{unary, wide};

/// Rotates the first `rotary` dimensions of every head [rows, heads, head_dim].
pub(super) fn rotate(x: &Tensor, rotation: &Rotation, rotary: usize) -> Result<Tensor> {
    let (cos, sin) = (rotation.cos.clone(), rotation.sin.clone());
    let value = apply_rope(&x.detach(), &cos, &sin, rotary)?;
    // The inverse of a rotation is its transpose.
    unary(x, value, move |_, _, g| apply_rope(g, &cos, &sin.neg()?, rotary))
}

fn apply_rope(x: &Tensor, cos: &Tensor, sin: &Tensor, rotary: usize) -> Result<Tensor> {
    let size = x.dim(2)?;
    let rotated = wide(&x.narrow(2, 0, rotary)?)?.unsqueeze(0)?.contiguous()?;
    let rotated = rope_thd(&rotated, cos, sin)?.squeeze(0)?.to_dtype(x.dtype())?;
    match size - rotary {
        0 => Ok(rotated),
        rest => Tensor::cat(&[rotated, x.narrow(2, rotary, rest)?], 2),
    }
}
