//! RMSNorm (Zhang and Sennrich 2019, arXiv 1910.07467) with a frozen weight.

use candle_core::{D, DType, Result, Tensor};

use crate::operation::{unary, wide};

/// x / rms(x) * weight over the last dimension, computed in the type of the weight, which is at least
/// single precision, and rounded to a type.
pub(super) fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64, dtype: DType) -> Result<Tensor> {
    let weight = weight.clone();
    let input = wide(&x.detach())?;
    let normed = input.broadcast_mul(&inverse_rms(&input, eps)?)?;
    let value = normed.broadcast_mul(&weight)?.to_dtype(dtype)?;
    unary(x, value, move |x, _, g| {
        let (x, dtype) = (wide(x)?, x.dtype());
        let scale = inverse_rms(&x, eps)?;
        let normed = x.broadcast_mul(&scale)?;
        let pulled = wide(g)?.broadcast_mul(&weight)?;
        let along = (&pulled * &normed)?.mean_keepdim(D::Minus1)?;
        let across = (pulled - normed.broadcast_mul(&along)?)?;
        across.broadcast_mul(&scale)?.to_dtype(dtype)
    })
}

fn inverse_rms(x: &Tensor, eps: f64) -> Result<Tensor> {
    let square = x.sqr()?.mean_keepdim(D::Minus1)?;
    (square + eps)?.sqrt()?.recip()
}
