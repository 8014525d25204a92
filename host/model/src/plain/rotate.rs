//! Rotary position embedding (Su et al. 2021, arXiv 2104.09864), halves split.

use candle_core::{Result, Tensor};
use candle_nn::rotary_emb::rope_thd;

use super::operation::{unary, wide};
use super::packing::Rotation;

/// Rotates the first `rotary` dimensions of every head [rows, heads, head_dim].
pub(super) fn rotate(x: &Tensor, rotation: &Rotation, rotary: usize) -> Result<Tensor> {
    let (cos, sin) = (rotation.cos.clone(), rotation.sin.clone());
    let value = turn(&x.detach(), &cos, &sin, rotary)?;
    // The inverse of a rotation is its transpose.
    unary(x, value, move |_, _, g| turn(g, &cos, &sin.neg()?, rotary))
}

fn turn(x: &Tensor, cos: &Tensor, sin: &Tensor, rotary: usize) -> Result<Tensor> {
    let size = x.dim(2)?;
    let turned = wide(&x.narrow(2, 0, rotary)?)?.unsqueeze(0)?.contiguous()?;
    let turned = rope_thd(&turned, cos, sin)?.squeeze(0)?.to_dtype(x.dtype())?;
    match size - rotary {
        0 => Ok(turned),
        rest => Tensor::cat(&[turned, x.narrow(2, rotary, rest)?], 2),
    }
}
