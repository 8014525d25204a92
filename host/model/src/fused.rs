//! The decoder in hand-written kernels: CPU, weights in f32 or bf16.
//!
//! One custom operation spans all blocks. Its argument is the adapter as one
//! flat vector, so a frozen weight can get no gradient, and its backward pass
//! walks the blocks with the tapes the forward pass left.

mod adapter;
mod backward;
mod decode;
mod footprint;
mod forward;
mod frozen;
mod layer;
mod operation;
mod projection;
mod scratch;
mod shape;
mod spare;
mod tape;

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;

use crate::config::Config;
use crate::decoder::{Applied, Forward, Packed, TapRows};
use crate::error::Result;
use crate::lora::Lora;
use crate::steering::Steering;
use crate::weights::{LayerWeights, Linear, Weights};
use adapter::{Factors, Flat, LayerAdapter};
pub(crate) use frozen::{Matrix, Values};
use host_kernels::norm;
use host_kernels::packed_lhs::PackedLhs;
use host_kernels::pool::on_pool;
use layer::LayerValues;
use operation::Operation;
use shape::{BLOCK, Shape};
use spare::Spare;
use tape::Tape;

/// The frozen weights, contiguous, shared with the graphs that need them.
pub(crate) struct FusedModel {
    inner: Arc<Frozen>,
}

pub(crate) struct Frozen {
    pub config: Arc<Config>,
    pub embed: Tensor,
    pub layers: Vec<LayerWeights>,
    pub final_norm: Tensor,
    pub head: Tensor,
    spare: Spare,
}

/// Adapter values for the layers of one pass.
enum Adapted<'a> {
    /// From the variables: no gradient.
    Factors(Factors<'a>),
    /// From the flat vector of a graph.
    Flat(&'a Flat, &'a [f32]),
}

impl Adapted<'_> {
    fn layer(&self, layer: usize) -> LayerAdapter<'_> {
        match self {
            Adapted::Factors(factors) => factors.layer(layer),
            Adapted::Flat(flat, values) => flat.layer(values, layer),
        }
    }
}

/// What a pass keeps of each block.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keep {
    Nothing,
    /// Only the input; the rest is computed again.
    Inputs,
    Everything,
}

/// The residual stream after the last block run, tap means and tapes.
struct Pass {
    stream: Vec<f32>,
    taps: Vec<Vec<f32>>,
    tapes: Vec<Tape>,
}

impl FusedModel {
    pub fn new(config: Arc<Config>, weights: &Weights) -> Result<Self> {
        // Vectors are few: f32, whatever the matrices are held in.
        let vector = |tensor: &Tensor| tensor.to_dtype(DType::F32)?.contiguous();
        let linear = |linear: &Linear| -> Result<Linear> {
            Ok(Linear {
                weight: linear.weight.contiguous()?,
                bias: linear.bias.as_ref().map(vector).transpose()?,
            })
        };
        let layers = weights
            .layers
            .iter()
            .map(|layer| {
                Ok(LayerWeights {
                    attn_norm: vector(&layer.attn_norm)?,
                    q: linear(&layer.q)?,
                    k: linear(&layer.k)?,
                    v: linear(&layer.v)?,
                    o: linear(&layer.o)?,
                    q_norm: layer.q_norm.as_ref().map(vector).transpose()?,
                    k_norm: layer.k_norm.as_ref().map(vector).transpose()?,
                    mlp_norm: vector(&layer.mlp_norm)?,
                    gate: linear(&layer.gate)?,
                    up: linear(&layer.up)?,
                    down: linear(&layer.down)?,
                })
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Self {
            inner: Arc::new(Frozen {
                config,
                embed: weights.embed.contiguous()?,
                layers,
                final_norm: vector(&weights.final_norm)?,
                head: weights.head_matrix().contiguous()?,
                spare: Spare::default(),
            }),
        })
    }

    pub fn head(&self) -> &Tensor {
        &self.inner.head
    }

    pub fn forward(
        &self,
        batch: &Packed,
        adapter: Option<&Lora>,
        taps: &[TapRows],
        recompute: bool,
    ) -> Result<Forward> {
        let frozen = &self.inner;
        let Some(adapter) = adapter else {
            return self.infer(batch, Applied::default(), taps);
        };
        let flat = Flat::new(&frozen.config, adapter);
        let vector = flat.tensor(adapter)?;
        let (operation, found) = Operation::run(frozen, batch, flat, &vector, taps, recompute)?;
        Ok(Forward { hidden: vector.apply_op1(operation)?, taps: found })
    }

    pub fn infer(&self, batch: &Packed, applied: Applied, taps: &[TapRows]) -> Result<Forward> {
        let pass = self.pass(batch, applied, taps, self.inner.config.num_layers)?;
        let hidden = self.inner.normed(&pass.stream)?;
        let dims = (batch.rows(), self.inner.config.hidden_size);
        Ok(Forward { hidden: Tensor::from_vec(hidden, dims, &Device::Cpu)?, taps: pass.taps })
    }

    pub fn forward_taps(
        &self,
        batch: &Packed,
        applied: Applied,
        taps: &[TapRows],
    ) -> Result<Vec<Vec<f32>>> {
        let deepest = taps.iter().map(|tap| tap.layer).max().unwrap_or(0);
        Ok(self.pass(batch, applied, taps, deepest)?.taps)
    }

    /// The first `layers` blocks without gradient.
    fn pass(
        &self,
        batch: &Packed,
        applied: Applied,
        taps: &[TapRows],
        layers: usize,
    ) -> Result<Pass> {
        let config = &self.inner.config;
        let shape = Shape::new(config, batch);
        let adapter = Adapted::Factors(Factors::of(applied.adapter, config.num_layers)?);
        let (steering, keep) = (applied.steering, Keep::Nothing);
        self.inner.run(&shape, &adapter, steering, taps, layers, keep)
    }

    /// Gives back what steps leave for the next one.
    pub fn release(&self) {
        self.inner.spare.clear();
    }
}

impl Frozen {
    /// Embeds and runs the first `layers` blocks.
    fn run(
        &self,
        shape: &Shape,
        adapter: &Adapted,
        steering: Option<&Steering>,
        taps: &[TapRows],
        layers: usize,
        keep: Keep,
    ) -> Result<Pass> {
        on_pool(|| {
            let mut tapes = Vec::new();
            let mut found = vec![Vec::new(); taps.len()];
            let mut stream = self.embed_rows(&shape.batch.tokens)?;
            let mut spare = None;
            let mut left = PackedLhs::default();
            steer(steering, 0, &mut stream);
            self.read_taps(&stream, 0, taps, &mut found);
            for index in 0..layers {
                let factors = adapter.layer(index);
                let ranks = ranks(&factors);
                let mut tape = spare
                    .take()
                    .unwrap_or_else(|| self.spare.tape(&self.config, shape.rows, ranks));
                let values = LayerValues::of(&self.layers[index])?;
                let layer = values.layer(&self.config, index, factors);
                stream = layer.forward(shape, stream, &mut tape, &mut left);
                steer(steering, index + 1, &mut stream);
                self.read_taps(&stream, index + 1, taps, &mut found);
                match keep {
                    Keep::Nothing => spare = Some(tape),
                    Keep::Everything => tapes.push(tape),
                    Keep::Inputs => {
                        let mut input = Tape::new(&self.config, 0, ranks);
                        input.x = std::mem::take(&mut tape.x);
                        tapes.push(input);
                        spare = Some(tape);
                    }
                }
            }
            self.spare.keep(spare);
            Ok(Pass { stream, taps: found, tapes })
        })
    }

    fn embed_rows(&self, tokens: &[u32]) -> Result<Vec<f32>> {
        let table = Matrix::of(&self.embed)?;
        let hidden = self.config.hidden_size;
        let (mut rows, mut wide) = (Vec::with_capacity(tokens.len() * hidden), Vec::new());
        for id in tokens.iter().map(|id| *id as usize) {
            let row = table.weight().lines(id..id + 1, hidden);
            rows.extend_from_slice(row.floats(&mut wide));
        }
        Ok(rows)
    }

    fn read_taps(&self, stream: &[f32], layer: usize, taps: &[TapRows], found: &mut [Vec<f32>]) {
        let hidden = self.config.hidden_size;
        for (tap, values) in taps.iter().zip(found) {
            if tap.layer != layer {
                continue;
            }
            for rows in &tap.rows {
                let mut mean = vec![0f32; hidden];
                for row in stream[rows.start * hidden..rows.end * hidden].chunks_exact(hidden) {
                    mean.iter_mut().zip(row).for_each(|(m, x)| *m += x);
                }
                values.extend(mean.iter().map(|sum| sum / rows.len() as f32));
            }
        }
    }

    /// The final norm of every row.
    fn normed(&self, stream: &[f32]) -> Result<Vec<f32>> {
        let weight = Values::of(&self.final_norm)?;
        let weight: &[f32] = &weight;
        let eps = self.config.rms_norm_eps as f32;
        let size = BLOCK * self.config.hidden_size;
        let mut hidden = vec![0f32; stream.len()];
        hidden
            .par_chunks_mut(size)
            .zip(stream.par_chunks(size))
            .for_each(|(y, x)| norm::forward(x, weight, eps, y));
        Ok(hidden)
    }
}

fn steer(steering: Option<&Steering>, layer: usize, stream: &mut [f32]) {
    if let Some(steering) = steering {
        steering.add(layer, stream);
    }
}

/// The rank per target, 0 where there is no adapter.
fn ranks(factors: &LayerAdapter) -> [usize; 7] {
    factors.map(|low| low.map_or(0, |low| low.rank))
}
