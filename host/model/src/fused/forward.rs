//! The forward pass of one block. In turn, rows are prepared and packed side by side,
//! and products with frozen weights split their columns over the threads.

use std::borrow::Cow;
use std::ops::Range;

use rayon::prelude::*;

use super::layer::{DenseMlp, Layer, LayerMlp};
use super::projection::{Factor, Projection};
use super::shape::{BLOCK, Shape};
use super::shared_rows::Piece;
use super::tape::{Tape, at, blocks, blocks_mut, fit, low_blocks};
use crate::config::Target;
use crate::pass::{Angles, Input};
use host_kernels::attention::Head;
use host_kernels::packed_lhs::PackedLhs;
use host_kernels::view::{Accumulate, Mat};
use host_kernels::{gated, norm, product, rotate};

/// What attention reads.
pub(super) struct Sides<'t> {
    q: &'t [f32],
    k: Cow<'t, [f32]>,
    v: Cow<'t, [f32]>,
}

impl Layer<'_> {
    /// Takes the residual stream [rows, hidden]; gives it after the block and
    /// leaves in `tape` what the backward pass needs. `left` and `outputs` are scratch.
    pub fn forward(
        &self,
        shape: &Shape,
        x: Vec<f32>,
        tape: &mut Tape,
        left: &mut PackedLhs,
        outputs: &mut Vec<f32>,
    ) -> Vec<f32> {
        self.project_rows(shape, &x, tape, left);
        self.attend(shape, tape);
        let mut out = std::mem::take(&mut tape.x);
        fit(&mut out, x.len());
        self.leave_attention(shape, &x, tape, left);
        self.finish(&x, self.attn_out_norm, &mut tape.attn_out, &mut tape.mid);
        match &self.mlp {
            LayerMlp::Dense(mlp) => {
                self.enter_mlp(mlp, shape, tape, left);
                self.leave_mlp(mlp, shape, tape, &mut out, left);
            }
            LayerMlp::Experts(mlp) => {
                mlp.forward(self.entry(self.mlp_norm), tape, &mut out, left, outputs);
            }
        }
        self.finish(&tape.mid, self.mlp_out_norm, &mut tape.mlp_out, &mut out);
        tape.x = x;
        out
    }

    /// q, k and v of norm(x), rotated
    fn project_rows(&self, shape: &Shape, x: &[f32], tape: &mut Tape, left: &mut PackedLhs) {
        let hidden = self.q.input;
        let factors = [&self.q, &self.k, &self.v].map(Projection::factor_a);
        let format = self.q.weight.format();
        let mut packed = left.shape(format, shape.rows, hidden).blocks(BLOCK);
        let mut low = low_blocks(&mut tape.low, shape.rows, BLOCK);
        let work: Vec<_> = x
            .chunks(BLOCK * hidden)
            .map(|x| {
                let low = [Target::Q, Target::K, Target::V].map(|target| low[at(target)].next());
                (x, packed.next_block(), low)
            })
            .collect();
        let dropout = shape.dropout(self.index, Input::Attention);
        work.into_par_iter().enumerate().for_each(|(block, (x, mut packed, low))| {
            let mut normed = vec![0f32; x.len()];
            self.enter(x, self.attn_norm, &mut normed);
            packed.pack(&normed, x.len() / hidden, hidden);
            if let Some(dropout) = dropout {
                dropout.block(block, hidden, &mut normed);
            }
            for (factor, low) in factors.iter().zip(low) {
                Factor::multiply(factor, &normed, low);
            }
        });
        let low = |target: Target| &tape.low[at(target)][..];
        product::run(&mut [
            self.q.forward(Accumulate::Set, left, low(Target::Q), &mut tape.q),
            self.k.forward(Accumulate::Set, left, low(Target::K), &mut tape.k),
            self.v.forward(Accumulate::Set, left, low(Target::V), &mut tape.v),
        ]);
        self.q.stretch(&mut tape.q);
        self.k.stretch(&mut tape.k);
        self.v.stretch(&mut tape.v);
        self.apply_rope(shape, tape);
    }

    /// Norm and rotation of queries and keys, as far as the layer has them.
    fn apply_rope(&self, shape: &Shape, tape: &mut Tape) {
        let angles = shape.rotations.of(self.config, self.index);
        let (half, cos, sin) = angles.map_or((0, &[][..], &[][..]), Angles::tables);
        let (q_size, kv_size) = (self.q.out, self.k.out);
        let mut k = blocks_mut(&mut tape.k, BLOCK * kv_size);
        let mut q_raw = blocks_mut(&mut tape.q_raw, BLOCK * q_size);
        let mut k_raw = blocks_mut(&mut tape.k_raw, BLOCK * kv_size);
        let mut cos = blocks(cos, BLOCK * half);
        let mut sin = blocks(sin, BLOCK * half);
        let work: Vec<_> = tape
            .q
            .chunks_mut(BLOCK * q_size)
            .map(|q| (q, k.next(), q_raw.next(), k_raw.next(), cos.next(), sin.next()))
            .collect();
        let (heads, kv_heads) = (self.config.num_heads, self.config.num_kv_heads);
        work.into_par_iter().for_each(|(q, k, q_raw, k_raw, cos, sin)| {
            for (values, raw, weight, heads) in
                [(q, q_raw, self.q_norm, heads), (k, k_raw, self.k_norm, kv_heads)]
            {
                if !raw.is_empty() {
                    raw.copy_from_slice(values);
                }
                if let Some(weight) = weight {
                    norm::forward(raw, weight, self.eps, values);
                }
                if half > 0 {
                    rotate::forward(values, heads, self.config.head_dim, cos, sin, half);
                }
            }
        });
    }

    fn attend(&self, shape: &Shape, tape: &mut Tape) {
        let size = self.config.head_dim;
        let work = shape.heads(self.config.num_heads);
        let found: Vec<(Vec<f32>, Vec<f32>)> = {
            let sides = self.sides(shape, tape);
            work.par_iter().map(|(piece, head)| self.head(&sides, piece, *head).forward()).collect()
        };
        tape.totals.clear();
        for ((Piece { rows, .. }, head), (out, totals)) in work.iter().zip(found) {
            let target = tape.mixed[rows.start * self.q.out..rows.end * self.q.out]
                .chunks_exact_mut(self.q.out);
            for (line, values) in target.zip(out.chunks_exact(size)) {
                line[head * size..(head + 1) * size].copy_from_slice(values);
            }
            tape.totals.push(totals);
        }
    }

    /// What attention reads: queries of the computed rows, keys and values of the rows of the batch.
    pub(super) fn sides<'t>(&self, shape: &Shape, tape: &'t Tape) -> Sides<'t> {
        let spread = |values: &'t [f32]| shape.shared.spread(values, self.k.out);
        Sides { q: &tape.q, k: spread(&tape.k), v: spread(&tape.v) }
    }

    /// The views of one head over one piece.
    pub(super) fn head<'t>(&self, sides: &'t Sides, piece: &Piece, head: usize) -> Head<'t> {
        let size = self.config.head_dim;
        let group = self.config.num_heads / self.config.num_kv_heads;
        let view = |values: &'t [f32], rows: &Range<usize>, cols: usize, head: usize| {
            Mat::rows(&values[..rows.end * cols], cols).from(rows.start, head * size)
        };
        Head {
            q: view(sides.q, &piece.rows, self.q.out, head),
            k: view(&sides.k, &piece.sees, self.k.out, head / group),
            v: view(&sides.v, &piece.sees, self.v.out, head / group),
            first: piece.sees.len() - piece.rows.len(),
            length: piece.sees.len(),
            size,
            window: self.window,
            scores: self.scores,
        }
    }

    /// mid = x + o(mixed), without x where that is finished
    fn leave_attention(&self, shape: &Shape, x: &[f32], tape: &mut Tape, left: &mut PackedLhs) {
        let (hidden, width) = (self.o.out, self.o.input);
        let factor = self.o.factor_a();
        let format = self.o.weight.format();
        let mut packed = left.shape(format, shape.rows, width).blocks(BLOCK);
        let mut mixed = blocks(&tape.mixed, BLOCK * width);
        let mut mid = blocks_mut(&mut tape.mid, BLOCK * hidden);
        let mut low = low_blocks(&mut tape.low, shape.rows, BLOCK);
        let work: Vec<_> = x
            .chunks(BLOCK * hidden)
            .map(|x| (x, mixed.next(), mid.next(), low[at(Target::O)].next(), packed.next_block()))
            .collect();
        let dropout = shape.dropout(self.index, Input::Mixed);
        work.into_par_iter().enumerate().for_each(|(block, (x, mixed, mid, low, mut packed))| {
            self.start(x, mid);
            packed.pack(mixed, mixed.len() / width, width);
            let mut mixed = Cow::Borrowed(mixed);
            if let Some(dropout) = dropout {
                dropout.block(block, width, mixed.to_mut());
            }
            Factor::multiply(&factor, &mixed, low);
        });
        let low = &tape.low[at(Target::O)];
        product::run(&mut [self.o.forward(Accumulate::Add, left, low, &mut tape.mid)]);
        self.o.stretch(&mut tape.mid);
    }

    /// gate and up of norm(mid)
    fn enter_mlp(&self, mlp: &DenseMlp, shape: &Shape, tape: &mut Tape, left: &mut PackedLhs) {
        let hidden = mlp.gate.input;
        let factors = [&mlp.gate, &mlp.up].map(Projection::factor_a);
        let format = mlp.gate.weight.format();
        let mut packed = left.shape(format, shape.rows, hidden).blocks(BLOCK);
        let mut low = low_blocks(&mut tape.low, shape.rows, BLOCK);
        let work: Vec<_> = tape
            .mid
            .chunks(BLOCK * hidden)
            .map(|mid| {
                let low = [Target::Gate, Target::Up].map(|target| low[at(target)].next());
                (mid, packed.next_block(), low)
            })
            .collect();
        let dropout = shape.dropout(self.index, Input::Mlp);
        work.into_par_iter().enumerate().for_each(|(block, (mid, mut packed, low))| {
            let mut normed = vec![0f32; mid.len()];
            self.enter(mid, self.mlp_norm, &mut normed);
            packed.pack(&normed, mid.len() / hidden, hidden);
            if let Some(dropout) = dropout {
                dropout.block(block, hidden, &mut normed);
            }
            for (factor, low) in factors.iter().zip(low) {
                Factor::multiply(factor, &normed, low);
            }
        });
        let low = |target: Target| &tape.low[at(target)][..];
        product::run(&mut [
            mlp.gate.forward(Accumulate::Set, left, low(Target::Gate), &mut tape.gate),
            mlp.up.forward(Accumulate::Set, left, low(Target::Up), &mut tape.up),
        ]);
        mlp.gate.stretch(&mut tape.gate);
        mlp.up.stretch(&mut tape.up);
    }

    /// out = mid + down(f(gate) * up), without mid where that is finished
    fn leave_mlp(
        &self,
        mlp: &DenseMlp,
        shape: &Shape,
        tape: &mut Tape,
        out: &mut [f32],
        left: &mut PackedLhs,
    ) {
        let (hidden, inner) = (mlp.down.out, mlp.down.input);
        let factor = mlp.down.factor_a();
        let format = mlp.down.weight.format();
        let mut packed = left.shape(format, shape.rows, inner).blocks(BLOCK);
        let mut up = blocks(&tape.up, BLOCK * inner);
        let mut mid = blocks(&tape.mid, BLOCK * hidden);
        let mut slots = blocks_mut(out, BLOCK * hidden);
        let mut low = low_blocks(&mut tape.low, shape.rows, BLOCK);
        let work: Vec<_> = tape
            .gate
            .chunks(BLOCK * inner)
            .map(|gate| {
                (
                    gate,
                    up.next(),
                    mid.next(),
                    slots.next(),
                    low[at(Target::Down)].next(),
                    packed.next_block(),
                )
            })
            .collect();
        let dropout = shape.dropout(self.index, Input::Inner);
        work.into_par_iter().enumerate().for_each(
            |(block, (gate, up, mid, out, low, mut packed))| {
                let mut activated = vec![0f32; gate.len()];
                gated::forward(self.config.activation, gate, up, &mut activated);
                packed.pack(&activated, gate.len() / inner, inner);
                if let Some(dropout) = dropout {
                    dropout.block(block, inner, &mut activated);
                }
                Factor::multiply(&factor, &activated, low);
                self.start(mid, out);
            },
        );
        let low = &tape.low[at(Target::Down)];
        product::run(&mut [mlp.down.forward(Accumulate::Add, left, low, out)]);
        mlp.down.stretch(out);
    }
}
