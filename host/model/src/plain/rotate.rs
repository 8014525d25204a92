//! Rotary position embedding (Su et al. 2021, arXiv 2104.09864), halves split.

use candle_core::{DType, Result, Tensor};
use candle_nn::rotary_emb::rope_thd;

use super::packing::Rotation;
use crate::operation::{unary, wide};

/// Rotates the first `rotary` dimensions of every head [rows, heads, head_dim], and rounds to a type.
pub(super) fn rotate(
    x: &Tensor,
    rotation: &Rotation,
    rotary: usize,
    dtype: DType,
) -> Result<Tensor> {
    let (cos, sin) = (rotation.cos.clone(), rotation.sin.clone());
    let value = apply_rope(&x.detach(), &cos, &sin, rotary, dtype)?;
    // The inverse of a rotation is its transpose.
    unary(x, value, move |x, _, g| apply_rope(g, &cos, &sin.neg()?, rotary, x.dtype()))
}

fn apply_rope(
    x: &Tensor,
    cos: &Tensor,
    sin: &Tensor,
    rotary: usize,
    dtype: DType,
) -> Result<Tensor> {
    let size = x.dim(2)?;
    let rotated = wide(&x.narrow(2, 0, rotary)?)?.unsqueeze(0)?.contiguous()?;
    let rotated = rope_thd(&rotated, cos, sin)?.squeeze(0)?.to_dtype(dtype)?;
    match size - rotary {
        0 => Ok(rotated),
        rest => Tensor::cat(&[rotated, x.narrow(2, rotary, rest)?.to_dtype(dtype)?], 2),
    }
}
