//! A model's frozen weights, and the walk over its blocks.

use std::sync::Arc;

use candle_core::{DType, Tensor};
use host_kernels::packed_lhs::{Format, PackedLhs};
use host_kernels::pool::on_pool;
use host_kernels::{norm, softmax};
use rayon::prelude::*;

use super::adapter::{Extent, Factors, LayerAdapter};
use super::layer::LayerValues;
use super::lengths::{Source, SquareLengths};
use super::shape::{BLOCK, Shape};
use super::tape::Tape;
use super::tape_pool::TapePool;
use crate::config::Config;
use crate::error::Result;
use crate::head::LossHead;
use crate::matrix::Matrix;
use crate::pass::{Gains, Overlay, TapRows};
use crate::slices::{MatrixValues, Values};
use crate::steering::Steering;
use crate::weights::{ExpertWeights, GatedWeights, LayerWeights, Linear, MlpWeights, Weights};

/// The frozen weights, contiguous, shared with the graphs that need them.
pub(super) struct Frozen {
    pub config: Arc<Config>,
    pub embed: Matrix,
    pub layers: Vec<LayerWeights>,
    pub final_norm: Tensor,
    pub head: Matrix,
    pub tapes: TapePool,
    pub squares: SquareLengths,
}

/// The adapter of one pass.
pub(super) struct Adapted<'a> {
    pub source: Source<'a>,
    pub gains: Gains,
}

impl<'a> Adapted<'a> {
    /// For the first `layers`.
    pub fn new(frozen: &Frozen, source: Source<'a>, layers: usize) -> Result<Self> {
        let gains = source.gains((&frozen.layers, &frozen.squares), layers)?;
        Ok(Self { source, gains })
    }

    pub fn layer(&self, layer: usize) -> LayerAdapter<'_> {
        self.source.with(&self.gains, layer)
    }
}

/// Activations that a pass keeps of each block.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    Nothing,
    /// Only the input; the rest is computed again.
    Inputs,
    Everything,
}

/// The residual stream after the last block run, tap means and tapes.
pub(super) struct Trace {
    /// [computed rows, hidden]
    pub stream: Vec<f32>,
    pub taps: Vec<Vec<f32>>,
    pub tapes: Vec<Tape>,
}

impl Frozen {
    pub fn new(config: Arc<Config>, weights: &Weights) -> Result<Self> {
        // Vectors are few: f32, whatever the matrices are held in.
        let vector = |tensor: &Tensor| tensor.to_dtype(DType::F32)?.contiguous();
        let norm = |tensor: &Tensor| config.norm_factor(tensor)?.contiguous();
        let norm_if = |tensor: &Option<Tensor>| tensor.as_ref().map(norm).transpose();
        let linear = |linear: &Linear| -> Result<Linear> {
            Ok(Linear {
                weight: linear.weight.contiguous()?,
                bias: linear.bias.as_ref().map(vector).transpose()?,
            })
        };
        let gated = |mlp: &GatedWeights| -> Result<GatedWeights> {
            Ok(GatedWeights {
                gate: linear(&mlp.gate)?,
                up: linear(&mlp.up)?,
                down: linear(&mlp.down)?,
            })
        };
        let layers = weights
            .layers
            .iter()
            .map(|layer| {
                Ok(LayerWeights {
                    attn_norm: norm_if(&layer.attn_norm)?,
                    attn_out_norm: norm_if(&layer.attn_out_norm)?,
                    q: linear(&layer.q)?,
                    k: linear(&layer.k)?,
                    v: linear(&layer.v)?,
                    o: linear(&layer.o)?,
                    q_norm: norm_if(&layer.q_norm)?,
                    k_norm: norm_if(&layer.k_norm)?,
                    mlp_norm: norm_if(&layer.mlp_norm)?,
                    mlp_out_norm: norm_if(&layer.mlp_out_norm)?,
                    mlp: match &layer.mlp {
                        MlpWeights::Dense(mlp) => MlpWeights::Dense(gated(mlp)?),
                        MlpWeights::Experts(mlp) => MlpWeights::Experts(ExpertWeights {
                            router: vector(&mlp.router)?,
                            experts: mlp.experts.iter().map(gated).collect::<Result<_>>()?,
                        }),
                    },
                })
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Self {
            embed: weights.embed.contiguous()?,
            layers,
            final_norm: norm(&weights.final_norm)?,
            head: weights.head_matrix().contiguous()?,
            tapes: TapePool::default(),
            squares: SquareLengths::default(),
            config,
        })
    }

    /// In which the weights are multiplied, and keys and values are held.
    pub fn format(&self) -> Format {
        match self.head.dtype() {
            DType::BF16 => Format::Bf16,
            _ => Format::F32,
        }
    }

    /// The head, and what becomes of products with it.
    pub fn loss_head(&self) -> LossHead<'_, Matrix> {
        LossHead { matrix: &self.head, finish: self.config.logits }
    }

    /// The first `layers` blocks without gradient.
    pub fn infer(
        &self,
        shape: &Shape,
        overlay: Overlay,
        taps: &[TapRows],
        layers: usize,
    ) -> Result<Trace> {
        let source = Source::Factors(Factors::of(overlay.adapter, self.config.num_layers)?);
        let adapter = Adapted::new(self, source, layers)?;
        let (steering, keep) = (overlay.steering, Keep::Nothing);
        self.run(shape, &adapter, steering, taps, layers, keep)
    }

    /// Embeds and runs the first `layers` blocks.
    pub fn run(
        &self,
        shape: &Shape,
        adapter: &Adapted,
        steering: Option<&Steering>,
        taps: &[TapRows],
        layers: usize,
        keep: Keep,
    ) -> Result<Trace> {
        on_pool(|| {
            let mut tapes = Vec::new();
            let mut found = vec![Vec::new(); taps.len()];
            let mut stream = self.embed_rows(&shape.tokens())?;
            if let Some(noise) = shape.noise() {
                noise.embed(self.config.hidden_size, &mut stream);
            }
            let mut spare: Option<Tape> = None;
            let (mut left, mut outputs) = (PackedLhs::default(), Vec::new());
            steer(steering, 0, &mut stream);
            self.read_taps(shape, &stream, 0, taps, &mut found);
            for index in 0..layers {
                let factors = adapter.layer(index);
                let extent = Extent::of(&factors);
                let mut tape = match spare.take() {
                    Some(tape) => refit(tape, &self.config, (index, shape.rows), extent),
                    None => self.tapes.take(&self.config, index, shape.rows, extent),
                };
                let values = LayerValues::of(&self.layers[index])?;
                let layer = values.layer(&self.config, index, factors);
                stream = layer.forward(shape, stream, &mut tape, &mut left, &mut outputs);
                steer(steering, index + 1, &mut stream);
                self.read_taps(shape, &stream, index + 1, taps, &mut found);
                match keep {
                    Keep::Nothing => spare = Some(tape),
                    Keep::Everything => tapes.push(tape),
                    Keep::Inputs => {
                        let mut input = Tape::new(&self.config, index, 0, extent);
                        input.x = std::mem::take(&mut tape.x);
                        tapes.push(input);
                        spare = Some(tape);
                    }
                }
            }
            self.tapes.keep(spare);
            Ok(Trace { stream, taps: found, tapes })
        })
    }

    pub fn embed_rows(&self, tokens: &[u32]) -> Result<Vec<f32>> {
        let table = MatrixValues::of(&self.embed)?;
        let hidden = self.config.hidden_size;
        let (mut rows, mut wide) = (Vec::with_capacity(tokens.len() * hidden), Vec::new());
        for id in tokens.iter().map(|id| *id as usize) {
            let row = table.weight().lines(id..id + 1, hidden);
            rows.extend_from_slice(row.floats(&mut wide));
        }
        let scale = self.config.scales.embedding as f32;
        if scale != 1.0 {
            softmax::scale(&mut rows, scale);
        }
        Ok(rows)
    }

    fn read_taps(
        &self,
        shape: &Shape,
        stream: &[f32],
        layer: usize,
        taps: &[TapRows],
        found: &mut [Vec<f32>],
    ) {
        let hidden = self.config.hidden_size;
        for (tap, values) in taps.iter().zip(found) {
            if tap.layer != layer {
                continue;
            }
            for rows in &tap.rows {
                let mut mean = vec![0f32; hidden];
                for row in rows.clone().map(|row| shape.shared.row(row)) {
                    softmax::add(&mut mean, &stream[row * hidden..(row + 1) * hidden]);
                }
                values.extend(mean.iter().map(|sum| sum / rows.len() as f32));
            }
        }
    }

    /// The final norm of every row.
    pub fn normed(&self, stream: &[f32]) -> Result<Vec<f32>> {
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

pub(super) fn steer(steering: Option<&Steering>, layer: usize, stream: &mut [f32]) {
    if let Some(steering) = steering {
        steering.add(layer, stream);
    }
}

/// A block's tape for the next one, whose projections may have other ranks.
fn refit(mut tape: Tape, config: &Config, (layer, rows): (usize, usize), extent: Extent) -> Tape {
    tape.fit(config, layer, rows, extent);
    tape
}
