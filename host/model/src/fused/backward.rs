//! The backward pass of one block, in the reverse order of the forward pass, then the
//! adapter's gradients, each a product over all rows.

use std::borrow::Cow;

use rayon::prelude::*;

use super::adapter::FactorGradients;
use super::layer::{DenseMlp, Layer, LayerMlp};
use super::projection::{Factor, Projection, backward};
use super::scratch::Scratch;
use super::shape::{BLOCK, Shape};
use super::tape::{Tape, at, blocks, blocks_mut, low_blocks};
use crate::config::Target;
use crate::pass::{Angles, Input};
use host_kernels::attention::Gradients;
use host_kernels::low_rank::sum_rows;
use host_kernels::view::Mat;
use host_kernels::{gated, norm, rotate, softmax};

/// A projection with its rows of x, the gradient of its output, and that output.
type Source<'a> = (&'a Projection<'a>, &'a [f32], &'a [f32], &'a [f32]);

/// Columns of an adapter's gradient in a piece of work.
const STRIPE: usize = 128;

impl Layer<'_> {
    /// Turns `scratch.g` from the gradient of the block's output into that of
    /// its input (unless nothing below wants it) and writes the gradients of
    /// the layer's adapter.
    pub fn backward(
        &self,
        shape: &Shape,
        tape: &Tape,
        scratch: &mut Scratch,
        gradients: FactorGradients,
        wants_input: bool,
    ) {
        if self.finishes {
            // From here `g` is the gradient of the MLP's own output, `dblock` that of the block's.
            self.finish_back(&tape.mlp_out, self.mlp_out_norm, &scratch.g, &mut scratch.dblock);
            std::mem::swap(&mut scratch.g, &mut scratch.dblock);
        }
        match &self.mlp {
            LayerMlp::Dense(mlp) => {
                self.leave_mlp_back(mlp, shape, scratch);
                self.enter_mlp_back(mlp, shape, tape, scratch);
            }
            LayerMlp::Experts(mlp) => mlp.backward(tape, scratch),
        }
        self.enter_stream_back(tape, scratch);
        self.leave_attention_back(shape, scratch);
        self.attend_back(shape, tape, scratch);
        self.project_back(shape, tape, scratch, wants_input);
        self.adapter_gradients(shape, tape, scratch, gradients);
        std::mem::swap(&mut scratch.g, &mut scratch.dx);
    }

    /// The gradient of the MLP's inner values, in `dup`.
    fn leave_mlp_back(&self, mlp: &DenseMlp, shape: &Shape, scratch: &mut Scratch) {
        let hidden = mlp.down.out;
        mlp.down.stretch_back(&mut scratch.g);
        let factor = mlp.down.factor_b();
        let format = mlp.down.weight.format();
        let [left, ..] = &mut scratch.left;
        let mut packed = left.shape(format, shape.rows, hidden).blocks(BLOCK);
        let mut low = low_blocks(&mut scratch.low, shape.rows, BLOCK);
        let work: Vec<_> = scratch
            .g
            .chunks(BLOCK * hidden)
            .map(|g| (g, packed.next_block(), low[at(Target::Down)].next()))
            .collect();
        work.into_par_iter().for_each(|(g, mut packed, low)| {
            packed.pack(g, g.len() / hidden, hidden);
            Factor::multiply(&factor, g, low);
        });
        let low = &scratch.low[at(Target::Down)];
        let dropout = shape.dropout(self.index, Input::Inner);
        backward(&[(&mlp.down, left, low)], dropout, &mut scratch.dup);
    }

    /// From there through gate and up to the gradient of the normed stream, in `dx`.
    fn enter_mlp_back(&self, mlp: &DenseMlp, shape: &Shape, tape: &Tape, scratch: &mut Scratch) {
        let (hidden, inner) = (mlp.gate.input, mlp.gate.out);
        let factors = [&mlp.gate, &mlp.up].map(Projection::factor_b);
        let format = mlp.gate.weight.format();
        let [left_gate, left_up, _] = &mut scratch.left;
        let mut packed_gate = left_gate.shape(format, shape.rows, inner).blocks(BLOCK);
        let mut packed_up = left_up.shape(format, shape.rows, inner).blocks(BLOCK);
        let mut gate = blocks(&tape.gate, BLOCK * inner);
        let mut up = blocks(&tape.up, BLOCK * inner);
        let mut dgate = blocks_mut(&mut scratch.dgate, BLOCK * inner);
        let mut dup = blocks_mut(&mut scratch.dup, BLOCK * inner);
        let mut activated = blocks_mut(&mut scratch.activated, BLOCK * inner);
        let mut normed = blocks_mut(&mut scratch.normed_mid, BLOCK * hidden);
        let mut low = low_blocks(&mut scratch.low, shape.rows, BLOCK);
        let work: Vec<_> = tape
            .mid
            .chunks(BLOCK * hidden)
            .map(|mid| {
                let low = [Target::Gate, Target::Up].map(|target| low[at(target)].next());
                let values = (gate.next(), up.next(), activated.next(), dgate.next(), dup.next());
                (mid, normed.next(), values, packed_gate.next_block(), packed_up.next_block(), low)
            })
            .collect();
        let mlp_dropout = shape.dropout(self.index, Input::Mlp);
        let inner_dropout = shape.dropout(self.index, Input::Inner);
        work.into_par_iter().enumerate().for_each(
            |(block, (mid, normed, values, mut packed_gate, mut packed_up, low))| {
                let (gate, up, activated, dgate, dup) = values;
                let rows = mid.len() / hidden;
                gated::forward(self.config.activation, gate, up, activated);
                let dinner = dup.to_vec();
                gated::backward(self.config.activation, gate, up, &dinner, dgate, dup);
                mlp.gate.stretch_back(dgate);
                mlp.up.stretch_back(dup);
                self.enter(mid, self.mlp_norm, normed);
                if let Some(dropout) = mlp_dropout {
                    dropout.block(block, hidden, normed);
                }
                if let Some(dropout) = inner_dropout {
                    dropout.block(block, inner, activated);
                }
                packed_gate.pack(dgate, rows, inner);
                packed_up.pack(dup, rows, inner);
                let sides = [&*dgate, &*dup].into_iter().zip(low);
                for (factor, (g, low)) in factors.iter().zip(sides) {
                    Factor::multiply(factor, g, low);
                }
            },
        );
        let low = |target: Target| &scratch.low[at(target)][..];
        let sides =
            [(&mlp.gate, &*left_gate, low(Target::Gate)), (&mlp.up, &*left_up, low(Target::Up))];
        backward(&sides, mlp_dropout, &mut scratch.dx);
    }

    /// The gradients of the stream before the MLP, and of what attention adds to it.
    fn enter_stream_back(&self, tape: &Tape, scratch: &mut Scratch) {
        let size = BLOCK * self.o.out;
        let g = if self.finishes { &scratch.dblock } else { &scratch.g };
        let rows = scratch.dmid.par_chunks_mut(size).zip(g.par_chunks(size));
        let inputs = tape.mid.par_chunks(size).zip(scratch.dx.par_chunks(size));
        rows.zip(inputs).for_each(|((dmid, g), (mid, dnormed))| {
            dmid.copy_from_slice(g);
            self.enter_back(mid, self.mlp_norm, dnormed, dmid);
        });
        if self.finishes {
            self.finish_back(&tape.attn_out, self.attn_out_norm, &scratch.dmid, &mut scratch.dout);
        }
    }

    /// The gradient of attention's output before its projection.
    fn leave_attention_back(&self, shape: &Shape, scratch: &mut Scratch) {
        let hidden = self.o.out;
        let factor = self.o.factor_b();
        let format = self.o.weight.format();
        let [left, ..] = &mut scratch.left;
        let mut packed = left.shape(format, shape.rows, hidden).blocks(BLOCK);
        let mut low = low_blocks(&mut scratch.low, shape.rows, BLOCK);
        self.o.stretch_back(&mut scratch.dout);
        let dout = if self.finishes { &scratch.dout } else { &scratch.dmid };
        let work: Vec<_> = dout
            .chunks(BLOCK * hidden)
            .map(|dout| (dout, packed.next_block(), low[at(Target::O)].next()))
            .collect();
        work.into_par_iter().for_each(|(dout, mut packed, low)| {
            packed.pack(dout, dout.len() / hidden, hidden);
            Factor::multiply(&factor, dout, low);
        });
        let low = &scratch.low[at(Target::O)];
        let dropout = shape.dropout(self.index, Input::Mixed);
        backward(&[(&self.o, left, low)], dropout, &mut scratch.dmixed);
    }

    fn attend_back(&self, shape: &Shape, tape: &Tape, scratch: &mut Scratch) {
        let size = self.config.head_dim;
        let group = self.config.num_heads / self.config.num_kv_heads;
        let (q_size, kv_size) = (self.q.out, self.k.out);
        let work = shape.heads(self.config.num_heads);
        let sides = self.sides(shape, tape);
        let found: Vec<Gradients> = work
            .par_iter()
            .zip(&tape.totals)
            .map(|((piece, head), totals)| {
                let start = piece.rows.start * q_size + head * size;
                let out = Mat::rows(&tape.mixed[start..], q_size);
                let g = Mat::rows(&scratch.dmixed[start..], q_size);
                self.head(&sides, piece, *head).backward(out, totals, g)
            })
            .collect();
        scratch.dk.fill(0.0);
        scratch.dv.fill(0.0);
        // Heads are added in their order, so the sum over a group is one sum.
        for ((piece, head), found) in work.iter().zip(&found) {
            let (head, pair) = (*head, *head / group);
            for (row, values) in piece.rows.clone().zip(found.q.chunks_exact(size)) {
                let q = row * q_size + head * size;
                scratch.dq[q..q + size].copy_from_slice(values);
            }
            let pulls = found.k.chunks_exact(size).zip(found.v.chunks_exact(size));
            for (row, (k, v)) in piece.sees.clone().zip(pulls) {
                let kv = shape.shared.row(row) * kv_size + pair * size;
                softmax::add(&mut scratch.dk[kv..kv + size], k);
                softmax::add(&mut scratch.dv[kv..kv + size], v);
            }
        }
    }

    /// From attention to the gradient of the block's input, in `dx`.
    fn project_back(&self, shape: &Shape, tape: &Tape, scratch: &mut Scratch, wants_input: bool) {
        self.undo_rope(shape, tape, scratch);
        self.q.stretch_back(&mut scratch.dq);
        self.k.stretch_back(&mut scratch.dk);
        self.v.stretch_back(&mut scratch.dv);
        let hidden = self.q.input;
        let sides = [&self.q, &self.k, &self.v];
        let factors = sides.map(Projection::factor_b);
        let format = self.q.weight.format();
        let (rows, [left_q, left_k, left_v]) = (shape.rows, &mut scratch.left);
        let mut packed_q = left_q.shape(format, rows, self.q.out).blocks(BLOCK);
        let mut packed_k = left_k.shape(format, rows, self.k.out).blocks(BLOCK);
        let mut packed_v = left_v.shape(format, rows, self.v.out).blocks(BLOCK);
        let mut dq = blocks(&scratch.dq, BLOCK * self.q.out);
        let mut dk = blocks(&scratch.dk, BLOCK * self.k.out);
        let mut dv = blocks(&scratch.dv, BLOCK * self.v.out);
        let mut normed = blocks_mut(&mut scratch.normed_x, BLOCK * hidden);
        let mut low = low_blocks(&mut scratch.low, shape.rows, BLOCK);
        let work: Vec<_> = tape
            .x
            .chunks(BLOCK * hidden)
            .map(|x| {
                let low = [Target::Q, Target::K, Target::V].map(|target| low[at(target)].next());
                let g = [dq.next(), dk.next(), dv.next()];
                let packed = [packed_q.next_block(), packed_k.next_block(), packed_v.next_block()];
                (x, normed.next(), g, low, packed)
            })
            .collect();
        let dropout = shape.dropout(self.index, Input::Attention);
        work.into_par_iter().enumerate().for_each(|(block, (x, normed, g, low, packed))| {
            self.enter(x, self.attn_norm, normed);
            if let Some(dropout) = dropout {
                dropout.block(block, hidden, normed);
            }
            let rows = x.len() / hidden;
            for (((g, low), mut packed), factor) in g.iter().zip(low).zip(packed).zip(&factors) {
                packed.pack(g, rows, g.len() / rows);
                Factor::multiply(factor, g, low);
            }
        });
        if !wants_input {
            return;
        }
        let low = |target: Target| &scratch.low[at(target)][..];
        let [left_q, left_k, left_v] = &scratch.left;
        let sides = [
            (&self.q, left_q, low(Target::Q)),
            (&self.k, left_k, low(Target::K)),
            (&self.v, left_v, low(Target::V)),
        ];
        backward(&sides, dropout, &mut scratch.dx);
        let size = BLOCK * hidden;
        scratch
            .dx
            .par_chunks_mut(size)
            .zip(scratch.dmid.par_chunks(size).zip(tape.x.par_chunks(size)))
            .for_each(|(dx, (dmid, x))| {
                let dnormed = dx.to_vec();
                dx.copy_from_slice(dmid);
                self.enter_back(x, self.attn_norm, &dnormed, dx);
            });
    }

    /// The gradients of queries and keys before rotation and norm, in place.
    fn undo_rope(&self, shape: &Shape, tape: &Tape, scratch: &mut Scratch) {
        let angles = shape.rotations.of(self.config, self.index);
        let (half, cos, sin) = angles.map_or((0, &[][..], &[][..]), Angles::tables);
        let size = self.config.head_dim;
        let (q_size, kv_size) = (self.q.out, self.k.out);
        let mut dk = blocks_mut(&mut scratch.dk, BLOCK * kv_size);
        let mut q_raw = blocks(&tape.q_raw, BLOCK * q_size);
        let mut k_raw = blocks(&tape.k_raw, BLOCK * kv_size);
        let mut cos = blocks(cos, BLOCK * half);
        let mut sin = blocks(sin, BLOCK * half);
        let work: Vec<_> = scratch
            .dq
            .chunks_mut(BLOCK * q_size)
            .map(|dq| (dq, dk.next(), q_raw.next(), k_raw.next(), cos.next(), sin.next()))
            .collect();
        let (heads, kv_heads) = (self.config.num_heads, self.config.num_kv_heads);
        work.into_par_iter().for_each(|(dq, dk, q_raw, k_raw, cos, sin)| {
            for (g, raw, weight, heads) in
                [(dq, q_raw, self.q_norm, heads), (dk, k_raw, self.k_norm, kv_heads)]
            {
                if half > 0 {
                    rotate::backward(g, heads, size, cos, sin, half);
                }
                if let Some(weight) = weight {
                    let unrotated = g.to_vec();
                    g.fill(0.0);
                    norm::backward_add(raw, weight, self.eps, &unrotated, g);
                }
            }
        });
    }

    /// dA [rank, input] = dlow^T x, dB [out, rank] = dy^T low, and dm [out].
    fn adapter_gradients(
        &self,
        shape: &Shape,
        tape: &Tape,
        scratch: &Scratch,
        mut gradients: FactorGradients,
    ) {
        let (x, mid) = (&scratch.normed_x, &scratch.normed_mid);
        let dout = if self.finishes { &scratch.dout } else { &scratch.dmid };
        // The others' inputs are computed again, and dropped as they were.
        let mut mixed = Cow::Borrowed(&tape.mixed[..]);
        if let Some(dropout) = shape.dropout(self.index, Input::Mixed) {
            dropout.rows(self.o.input, mixed.to_mut());
        }
        let mut sources: Vec<Source> = vec![
            (&self.q, x, &scratch.dq, &tape.q_raw),
            (&self.k, x, &scratch.dk, &tape.k_raw),
            (&self.v, x, &scratch.dv, &tape.v),
            (&self.o, &mixed, dout, &tape.attn_out),
        ];
        if let LayerMlp::Dense(mlp) = &self.mlp {
            sources.extend([
                (&mlp.gate, &mid[..], &scratch.dgate[..], &tape.gate[..]),
                (&mlp.up, mid, &scratch.dup, &tape.up),
                (&mlp.down, &scratch.activated, &scratch.g, &tape.mlp_out),
            ]);
        }
        for ((projection, _, g, y), [.., into]) in sources.iter().zip(&mut gradients) {
            projection.magnitude_gradient(y, g, into);
        }
        let mut work = Vec::new();
        for (index, (projection, x, g, _)) in sources.iter().enumerate() {
            let Some(adapter) = projection.low else {
                continue;
            };
            let sides = [
                (&scratch.low[index][..], *x, projection.input),
                (&tape.low[index][..], *g, projection.out),
            ];
            for (side, (low, wide, width)) in sides.into_iter().enumerate() {
                for first in (0..width).step_by(STRIPE) {
                    let columns = first..width.min(first + STRIPE);
                    work.push((index, side, low, adapter.rank, wide, width, columns));
                }
            }
        }
        let found: Vec<Vec<f32>> = work
            .par_iter()
            .map(|(_, _, low, rank, wide, width, columns)| {
                sum_rows((low, *rank), (wide, *width), columns.clone())
            })
            .collect();
        for ((index, side, _, rank, _, width, columns), found) in work.iter().zip(found) {
            let [da, db, _] = &mut gradients[*index];
            for (i, found) in found.chunks_exact(columns.len()).enumerate() {
                if *side == 0 {
                    let start = i * width + columns.start;
                    da[start..start + found.len()].copy_from_slice(found);
                } else {
                    for (j, value) in columns.clone().zip(found) {
                        db[j * rank + i] = *value;
                    }
                }
            }
        }
    }
}
