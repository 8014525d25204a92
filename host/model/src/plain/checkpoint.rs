//! Activation checkpointing (Chen et al. 2016, arXiv 1604.06174): of every block only
//! the input is kept, and the backward pass runs the block again.

use std::sync::Arc;

use candle_core::{Result, Tensor, Var};

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
    let Some(flat) = factors.flat()? else {
        return Ok(value);
    };
    let packing = packing.clone();
    binary(stream, &flat, value, move |stream, flat, g| {
        let stream = Var::from_tensor(stream)?;
        let flat = Var::from_tensor(flat)?;
        let (again, _) = block.forward(&stream, &constant.cut(&flat)?, &packing)?;
        let g = g.clone();
        // Any scalar will do: what flows back into the block is g.
        let zero = Tensor::zeros((), g.dtype(), g.device())?;
        let mut grads = unary(&again, zero, move |_, _, _| Ok(g.clone()))?.backward()?;
        match (grads.remove(&stream), grads.remove(&flat)) {
            (Some(stream), Some(flat)) => Ok((stream, flat)),
            _ => candle_core::bail!("the graph of a block is cut"),
        }
    })
}
