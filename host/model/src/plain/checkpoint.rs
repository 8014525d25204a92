//! Activation checkpointing (Chen et al. 2016, arXiv 1604.06174): of every block only
//! the input is kept, and the backward pass runs the block again.

use std::sync::Arc;

use candle_core::backprop::GradStore;
use candle_core::{Error, Result, Tensor, Var};

use super::block::Block;
use super::factors::Factors;
use super::packing::Packing;
use crate::operation::{binary, unary};

/// The residual stream after the block; its graph holds the stream before, and no more.
pub(super) fn forward(
    block: Block,
    stream: &Tensor,
    factors: &Factors,
    packing: &Arc<Packing>,
) -> Result<Tensor> {
    let constant = factors.detached()?;
    let (value, _) = block.forward(&stream.detach(), &constant, packing)?;
    let packing = packing.clone();
    let Some(flat) = factors.flat()? else {
        // A layer below may be adapted.
        return unary(stream, value, move |stream, _, g| {
            let stream = Var::from_tensor(stream)?;
            let (again, _) = block.forward(&stream, &constant, &packing)?;
            let found = gradients(&again, g)?.remove(&stream);
            found.ok_or_else(cut)
        });
    };
    binary(stream, &flat, value, move |stream, flat, g| {
        let stream = Var::from_tensor(stream)?;
        let flat = Var::from_tensor(flat)?;
        let (again, _) = block.forward(&stream, &constant.cut(&flat)?, &packing)?;
        let mut grads = gradients(&again, g)?;
        let found = grads.remove(&stream).zip(grads.remove(&flat));
        found.ok_or_else(cut)
    })
}

/// Of what `value` is computed from, when `g` flows back into it.
fn gradients(value: &Tensor, g: &Tensor) -> Result<GradStore> {
    let g = g.clone();
    // Any scalar will do: what flows back is g.
    let zero = Tensor::zeros((), g.dtype(), g.device())?;
    unary(value, zero, move |_, _, _| Ok(g.clone()))?.backward()
}

fn cut() -> Error {
    Error::Msg("the graph of a block is cut".into())
}
