//! The gate of the MLP: SwiGLU (Shazeer 2020, arXiv 2002.05202).

use candle_core::{Result, Tensor};

use crate::operation::{binary, wide};

/// silu(gate) * up, in at least single precision.
pub(super) fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    let dtype = gate.dtype();
    let value = (wide(&gate.detach())?.silu()? * wide(&up.detach())?)?.to_dtype(dtype)?;
    binary(gate, up, value, slopes)
}

/// The gradients of gate and up from that of their product.
pub(super) fn slopes(gate: &Tensor, up: &Tensor, g: &Tensor) -> Result<(Tensor, Tensor)> {
    let dtype = gate.dtype();
    let (gate, g) = (wide(gate)?, wide(g)?);
    // silu' = s + silu - s silu with s the sigmoid.
    let open = candle_nn::ops::sigmoid(&gate)?;
    let silu = (gate * &open)?;
    let up_slope = (&g * &silu)?.to_dtype(dtype)?;
    let slope = ((&open + &silu)? - (open * silu)?)?;
    let gate_slope = ((g * wide(up)?)? * slope)?.to_dtype(dtype)?;
    Ok((gate_slope, up_slope))
}
