//! The gate of the MLP (Shazeer 2020, arXiv 2002.05202).

use candle_core::{DType, Result, Tensor};

use crate::config::Activation;
use crate::operation::{binary, wide};

/// f(gate) * up, computed in at least single precision and rounded to a type.
pub(super) fn gated(
    activation: Activation,
    gate: &Tensor,
    up: &Tensor,
    dtype: DType,
) -> Result<Tensor> {
    let (open, _) = opened(activation, &wide(&gate.detach())?)?;
    let value = ((open * wide(&gate.detach())?)? * wide(&up.detach())?)?.to_dtype(dtype)?;
    binary(gate, up, value, move |gate, up, g| slopes(activation, gate, up, g))
}

/// The gradients of gate and up from that of their product.
pub(super) fn slopes(
    activation: Activation,
    gate: &Tensor,
    up: &Tensor,
    g: &Tensor,
) -> Result<(Tensor, Tensor)> {
    let dtype = gate.dtype();
    let (gate, g) = (wide(gate)?, wide(g)?);
    let (open, steepness) = opened(activation, &gate)?;
    let function = (gate * &open)?;
    let up_slope = (&g * &function)?.to_dtype(dtype)?;
    // f = x s(z(x)), so f' = s + x s (1 - s) z'.
    let bent = ((&function - (&function * &open)?)? * steepness)?;
    let slope = (open + bent)?;
    let gate_slope = ((g * wide(up)?)? * slope)?.to_dtype(dtype)?;
    Ok((gate_slope, up_slope))
}

/// The sigmoid s(z(x)) that x is multiplied with, and z'(x).
fn opened(activation: Activation, x: &Tensor) -> Result<(Tensor, Tensor)> {
    match activation {
        Activation::Silu => Ok((candle_nn::ops::sigmoid(x)?, x.ones_like()?)),
        Activation::GeluTanh => {
            // (1 + tanh(u)) / 2 is sigmoid(2u).
            let twice = 2.0 * (2.0 / std::f64::consts::PI).sqrt();
            let square = (x.sqr()? * (twice * 0.044715))?;
            let z = (x * square.affine(1.0, twice)?)?;
            Ok((candle_nn::ops::sigmoid(&z)?, square.affine(3.0, twice)?))
        }
    }
}
