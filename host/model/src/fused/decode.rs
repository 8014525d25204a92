//! One token per sequence over cached keys and values.

use candle_core::{Device, Tensor};
use rayon::prelude::*;

use super::adapter::{Extent, Factors};
use super::experts::ExpertMlp;
use super::frozen::{Adapted, Frozen, steer};
use super::layer::{Layer, LayerMlp, LayerValues};
use super::lengths::Source;
use super::projection::{Factor, Projection};
use super::shape::Shape;
use crate::error::{Error, Result};
use crate::pass::{Angles, FusedCache, KvCache, Overlay, Packed, Rotations, Store};
use crate::steering::Steering;
use host_kernels::cached::{CachedHead, KeyValues};
use host_kernels::packed_lhs::PackedLhs;
use host_kernels::pool::on_pool;
use host_kernels::product::{self, Product};
use host_kernels::right::Weight;
use host_kernels::view::Accumulate;
use host_kernels::{gated, norm, rotate, skinny, softmax};

/// Up to so many rows, streaming the weights beats packing them.
const FEW: usize = 16;

impl Frozen {
    /// See [`crate::Decoder::prefill`].
    pub fn prefill(&self, batch: &Packed, overlay: Overlay) -> Result<(Tensor, KvCache)> {
        let shape = Shape::new(&self.config, batch);
        let layers = self.config.num_layers;
        let source = Source::Factors(Factors::of(overlay.adapter, layers)?);
        let adapter = Adapted::new(self, source, layers)?;
        let (stream, layers) = self.run_cached(&shape, &adapter, overlay.steering)?;
        let hidden = self.config.hidden_size;
        let last: Vec<f32> = batch.starts[1..]
            .iter()
            .map(|end| shape.shared.row(end - 1))
            .map(|row| &stream[row * hidden..(row + 1) * hidden])
            .collect::<Vec<_>>()
            .concat();
        let rows = self.normed(&last)?;
        let rows = Tensor::from_vec(rows, (batch.num_sequences(), hidden), &Device::Cpu)?;
        let lengths = batch.sequences().map(|rows| rows.len()).collect();
        let store = Store::Fused(FusedCache { layers, gains: adapter.gains });
        Ok((rows, KvCache::new(lengths, store)))
    }

    /// See [`crate::Decoder::decode_step`].
    pub fn decode_step(
        &self,
        tokens: &[u32],
        cache: &mut KvCache,
        overlay: Overlay,
    ) -> Result<Tensor> {
        let config = &self.config;
        let source = Source::Factors(Factors::of(overlay.adapter, config.num_layers)?);
        let positions = cache.lengths().iter().map(|length| (*length, length + 1));
        let rotations = Rotations::new(config, positions);
        let Store::Fused(store) = &mut cache.store else {
            return Err(Error::Kernels {
                kernels: "fused",
                problem: "the cache was made by other kernels".into(),
                action: "prefill with the decoder that generates".into(),
            });
        };
        let mut stream = self.embed_rows(tokens)?;
        steer(overlay.steering, 0, &mut stream);
        on_pool(|| -> Result<()> {
            for (index, cached) in store.layers.iter_mut().enumerate() {
                let values = LayerValues::of(&self.layers[index])?;
                let layer = values.layer(config, index, source.with(&store.gains, index));
                layer.decode(&mut stream, rotations.of(config, index), cached);
                steer(overlay.steering, index + 1, &mut stream);
            }
            Ok(())
        })?;
        cache.grow();
        let rows = self.normed(&stream)?;
        let dims = (tokens.len(), config.hidden_size);
        Ok(Tensor::from_vec(rows, dims, &Device::Cpu)?)
    }

    /// Runs all blocks and copies each one's keys and values per sequence.
    fn run_cached(
        &self,
        shape: &Shape,
        adapter: &Adapted,
        steering: Option<&Steering>,
    ) -> Result<(Vec<f32>, Vec<Vec<KeyValues>>)> {
        on_pool(|| {
            let mut stream = self.embed_rows(&shape.tokens())?;
            steer(steering, 0, &mut stream);
            let mut tape = self.tapes.take(&self.config, 0, shape.rows, Extent::default());
            let (kv, format) = (self.config.kv_size(), self.format());
            let (mut left, mut outputs) = (PackedLhs::default(), Vec::new());
            let mut layers = Vec::with_capacity(self.layers.len());
            for (index, weights) in self.layers.iter().enumerate() {
                let values = LayerValues::of(weights)?;
                let factors = adapter.layer(index);
                tape.fit(&self.config, index, shape.rows, Extent::of(&factors));
                let layer = values.layer(&self.config, index, factors);
                stream = layer.forward(shape, stream, &mut tape, &mut left, &mut outputs);
                let (k, v) = (shape.shared.spread(&tape.k, kv), shape.shared.spread(&tape.v, kv));
                let cached = shape.batch.sequences().map(|rows| {
                    let rows = rows.start * kv..rows.end * kv;
                    KeyValues::new(format, [&k[rows.clone()], &v[rows]])
                });
                layers.push(cached.collect());
                steer(steering, index + 1, &mut stream);
            }
            self.tapes.keep([tape]);
            Ok((stream, layers))
        })
    }
}

impl Layer<'_> {
    /// One block on one new row per sequence; the rows join the cache.
    fn decode(&self, stream: &mut [f32], angles: Option<&Angles>, cached: &mut [KeyValues]) {
        let rows = cached.len();
        let mut normed = vec![0f32; stream.len()];
        self.enter(stream, self.attn_norm, &mut normed);
        let [mut q, mut k, v] = apply([&self.q, &self.k, &self.v], &normed, rows);
        let sides = [
            (&mut q, self.q_norm, self.config.num_heads),
            (&mut k, self.k_norm, self.config.num_kv_heads),
        ];
        for (values, weight, heads) in sides {
            if let Some(weight) = weight {
                let raw = values.clone();
                norm::forward(&raw, weight, self.eps, values);
            }
            if let Some(Angles { cos, sin, half }) = angles {
                rotate::forward(values, heads, self.config.head_dim, cos, sin, *half);
            }
        }
        let new = k.chunks_exact(self.k.out).zip(v.chunks_exact(self.v.out));
        for (cached, (k, v)) in cached.iter_mut().zip(new) {
            cached.extend([k, v]);
        }
        let mixed = self.attend_cached(&q, cached);
        let [o] = apply([&self.o], &mixed, rows);
        self.join(o, self.attn_out_norm, stream);
        self.enter(stream, self.mlp_norm, &mut normed);
        let mlp = match &self.mlp {
            LayerMlp::Dense(mlp) => mlp,
            LayerMlp::Experts(mlp) => return self.join_experts(mlp, &normed, stream),
        };
        let [gate, up] = apply([&mlp.gate, &mlp.up], &normed, rows);
        let mut inner = vec![0f32; gate.len()];
        gated::forward(self.config.activation, &gate, &up, &mut inner);
        let [down] = apply([&mlp.down], &inner, rows);
        self.join(down, self.mlp_out_norm, stream);
    }

    /// The experts' sum is added in the order of `forward`.
    fn join_experts(&self, mlp: &ExpertMlp, normed: &[f32], stream: &mut [f32]) {
        if !self.config.finishes_branches() {
            return mlp.decode(normed, stream);
        }
        let mut sum = vec![0f32; stream.len()];
        mlp.decode(normed, &mut sum);
        self.join(sum, self.mlp_out_norm, stream);
    }

    /// [sequences, heads * head_dim] of the new rows q over the cache.
    fn attend_cached(&self, q: &[f32], cached: &[KeyValues]) -> Vec<f32> {
        let (size, stride) = (self.config.head_dim, self.k.out);
        let group = self.config.num_heads / self.config.num_kv_heads;
        let mut mixed = vec![0f32; q.len()];
        mixed
            .par_chunks_exact_mut(self.q.out)
            .zip(q.par_chunks_exact(self.q.out))
            .zip(cached)
            .for_each(|((mixed, q), cached)| {
                let length = cached.of_keys() / stride;
                let skip = self.window.map_or(0, |w| length.saturating_sub(w));
                let mut row = Vec::with_capacity(length);
                let heads = mixed.chunks_exact_mut(size).zip(q.chunks_exact(size));
                for (head, (out, q)) in heads.enumerate() {
                    let column = head / group * size;
                    CachedHead { held: cached, stride, column, skip, scores: self.scores }
                        .attend(q, &mut row, out);
                }
            });
        mixed
    }
}

/// Applies projections of one input [rows, in] together: [rows, out] each.
fn apply<const N: usize>(projections: [&Projection; N], x: &[f32], rows: usize) -> [Vec<f32>; N] {
    if rows > FEW { multiply(projections, x, rows) } else { stream_weights(projections, x, rows) }
}

/// For so many rows that packing the weights costs little beside the products.
fn multiply<const N: usize>(
    projections: [&Projection; N],
    x: &[f32],
    rows: usize,
) -> [Vec<f32>; N] {
    let (input, format) = (projections[0].input, projections[0].weight.format());
    let mut left = PackedLhs::default();
    left.pack(format, x, (input, input));
    let lows = projections.map(|projection| {
        let mut low = vec![0f32; projection.low.map_or(0, |adapter| rows * adapter.rank)];
        Factor::multiply(&projection.factor_a(), x, &mut low);
        low
    });
    let mut outputs = projections.map(|projection| vec![0f32; rows * projection.out]);
    let sides = projections.iter().zip(&lows).zip(&mut outputs);
    let mut products: Vec<Product> = sides
        .map(|((projection, low), y)| projection.forward(Accumulate::Set, &left, low, y))
        .collect();
    product::run(&mut products);
    for (projection, y) in projections.iter().zip(&mut outputs) {
        projection.stretch(y);
    }
    outputs
}

/// The weights are read once, their output columns split over the threads.
fn stream_weights<const N: usize>(
    projections: [&Projection; N],
    x: &[f32],
    rows: usize,
) -> [Vec<f32>; N] {
    let total: usize = projections.iter().map(|projection| projection.out).sum();
    let shard = total.div_ceil(rayon::current_num_threads()).max(16);
    let mut work = Vec::new();
    for (index, projection) in projections.iter().enumerate() {
        for first in (0..projection.out).step_by(shard) {
            work.push((index, first..projection.out.min(first + shard)));
        }
    }
    let lows = projections.map(|projection| projection.low_rows(x, rows));
    let found: Vec<Vec<f32>> = work
        .par_iter()
        .map(|(index, columns)| projections[*index].columns(x, &lows[*index], rows, columns))
        .collect();
    let mut outputs = projections.map(|projection| vec![0f32; rows * projection.out]);
    for ((index, columns), part) in work.iter().zip(found) {
        let lines = outputs[*index].chunks_exact_mut(projections[*index].out);
        for (line, part) in lines.zip(part.chunks_exact(columns.len())) {
            line[columns.clone()].copy_from_slice(part);
        }
    }
    outputs
}

impl Projection<'_> {
    /// scaling * x A^T [rows, rank]; empty without an adapter.
    fn low_rows(&self, x: &[f32], rows: usize) -> Vec<f32> {
        let Some(adapter) = self.low else {
            return Vec::new();
        };
        let mut low = vec![0f32; rows * adapter.rank];
        skinny::matmul(x, self.input, Weight::F32(adapter.a), &mut low, adapter.rank);
        softmax::scale(&mut low, adapter.scaling);
        low
    }

    /// [rows, columns] of the output.
    fn columns(
        &self,
        x: &[f32],
        low: &[f32],
        rows: usize,
        columns: &std::ops::Range<usize>,
    ) -> Vec<f32> {
        let width = columns.len();
        let mut y = vec![0f32; rows * width];
        let weight = self.weight.lines(columns.clone(), self.input);
        skinny::matmul(x, self.input, weight, &mut y, width);
        let add_bias = |y: &mut [f32]| {
            if let Some(bias) = self.bias {
                y.chunks_exact_mut(width).for_each(|y| softmax::add(y, &bias[columns.clone()]));
            }
        };
        let gain = self.low.and_then(|low| low.lengths).map(|lengths| lengths.gain);
        if gain.is_none() {
            add_bias(&mut y);
        }
        if let Some(adapter) = self.low {
            let rank = adapter.rank;
            let b = &adapter.b[columns.start * rank..columns.end * rank];
            let mut change = vec![0f32; rows * width];
            skinny::matmul(low, rank, Weight::F32(b), &mut change, width);
            softmax::add(&mut y, &change);
        }
        if let Some(gain) = gain {
            let gain = &gain[columns.clone()];
            for y in y.chunks_exact_mut(width) {
                y.iter_mut().zip(gain).for_each(|(y, gain)| *y *= gain);
            }
            add_bias(&mut y);
        }
        y
    }
}
