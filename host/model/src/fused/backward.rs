//! The backward pass of one block: rows, heads, rows, then the adapter's own
//! gradients, each a product over all rows.

use rayon::prelude::*;

use super::adapter::Flat;
use super::layer::Layer;
use super::scratch::Scratch;
use super::shape::Shape;
use super::tape::{Tape, at, blocks, blocks_mut, low_blocks};
use crate::lora::Target;
use crate::ops::attention::Gradients;
use crate::ops::matmul::{Into, Mat};
use crate::ops::{gated, norm, rotate, softmax};

impl Layer<'_> {
    /// Turns `scratch.g` from the gradient of the block's output into that of
    /// its input (unless nothing below wants it) and writes the gradients of
    /// the layer's adapter, flat.
    pub fn backward(
        &self,
        shape: &Shape,
        tape: &Tape,
        scratch: &mut Scratch,
        flat: &Flat,
        gradients: &mut [f32],
        wants_input: bool,
    ) {
        self.finish_back(shape, tape, scratch);
        self.attend_back(shape, tape, scratch);
        self.project_back(shape, tape, scratch, wants_input);
        self.adapter_gradients(tape, scratch, flat, gradients);
        std::mem::swap(&mut scratch.g, &mut scratch.dx);
    }

    fn finish_back(&self, shape: &Shape, tape: &Tape, scratch: &mut Scratch) {
        let block = shape.block;
        let (hidden, inner) = (self.o.out, self.gate.out);
        let mut mid = blocks(&tape.mid, block * hidden);
        let mut gate = blocks(&tape.gate, block * inner);
        let mut up = blocks(&tape.up, block * inner);
        let mut normed = blocks_mut(&mut scratch.normed_mid, block * hidden);
        let mut activated = blocks_mut(&mut scratch.activated, block * inner);
        let mut dgate = blocks_mut(&mut scratch.dgate, block * inner);
        let mut dup = blocks_mut(&mut scratch.dup, block * inner);
        let mut dmid = blocks_mut(&mut scratch.dmid, block * hidden);
        let mut dmixed = blocks_mut(&mut scratch.dmixed, block * self.o.input);
        let mut low = low_blocks(&mut scratch.low, shape.rows, block);
        let work: Vec<FinishBack> = scratch
            .g
            .chunks(block * hidden)
            .map(|g| FinishBack {
                g,
                mid: mid(),
                gate: gate(),
                up: up(),
                normed: normed(),
                activated: activated(),
                dgate: dgate(),
                dup: dup(),
                dmid: dmid(),
                dmixed: dmixed(),
                low: [
                    low[at(Target::O)](),
                    low[at(Target::Gate)](),
                    low[at(Target::Up)](),
                    low[at(Target::Down)](),
                ],
            })
            .collect();
        work.into_par_iter()
            .for_each(|rows| self.finish_back_rows(rows));
    }

    fn finish_back_rows(&self, rows: FinishBack) {
        let [low_o, low_gate, low_up, low_down] = rows.low;
        let mut dinner = vec![0f32; rows.activated.len()];
        self.down
            .backward(rows.g, low_down, Some((Into::Set, &mut dinner)));
        gated::forward(rows.gate, rows.up, rows.activated);
        gated::backward(rows.gate, rows.up, &dinner, rows.dgate, rows.dup);
        norm::forward(rows.mid, self.mlp_norm, self.eps, rows.normed);
        let mut dnormed = vec![0f32; rows.mid.len()];
        self.gate
            .backward(rows.dgate, low_gate, Some((Into::Set, &mut dnormed)));
        self.up
            .backward(rows.dup, low_up, Some((Into::Add, &mut dnormed)));
        rows.dmid.copy_from_slice(rows.g);
        norm::backward_add(rows.mid, self.mlp_norm, self.eps, &dnormed, rows.dmid);
        self.o
            .backward(rows.dmid, low_o, Some((Into::Set, rows.dmixed)));
    }

    fn attend_back(&self, shape: &Shape, tape: &Tape, scratch: &mut Scratch) {
        let size = self.config.head_dim;
        let group = self.config.num_heads / self.config.num_kv_heads;
        let (q_size, kv_size) = (self.q.out, self.k.out);
        let work = shape.heads(self.config.num_heads);
        let found: Vec<Gradients> = work
            .par_iter()
            .zip(&tape.totals)
            .map(|((rows, head), totals)| {
                let start = rows.start * q_size + head * size;
                let out = Mat::rows(&tape.mixed[start..], q_size);
                let g = Mat::rows(&scratch.dmixed[start..], q_size);
                self.head(tape, rows, *head).backward(out, totals, g)
            })
            .collect();
        scratch.dk.fill(0.0);
        scratch.dv.fill(0.0);
        // Heads are added in their order, so the sum over a group is one sum.
        for ((rows, head), found) in work.iter().zip(&found) {
            let (head, pair) = (*head, *head / group);
            for (line, row) in rows.clone().enumerate() {
                let source = line * size..(line + 1) * size;
                let q = row * q_size + head * size;
                let kv = row * kv_size + pair * size;
                scratch.dq[q..q + size].copy_from_slice(&found.q[source.clone()]);
                softmax::add(&mut scratch.dk[kv..kv + size], &found.k[source.clone()]);
                softmax::add(&mut scratch.dv[kv..kv + size], &found.v[source]);
            }
        }
    }

    fn project_back(&self, shape: &Shape, tape: &Tape, scratch: &mut Scratch, wants_input: bool) {
        let (block, half) = (shape.block, shape.angles.half);
        let (hidden, q_size, kv_size) = (self.q.input, self.q.out, self.k.out);
        let mut q_raw = blocks(&tape.q_raw, block * q_size);
        let mut k_raw = blocks(&tape.k_raw, block * kv_size);
        let mut cos = blocks(&shape.angles.cos, block * half);
        let mut sin = blocks(&shape.angles.sin, block * half);
        let mut dq = blocks_mut(&mut scratch.dq, block * q_size);
        let mut dk = blocks_mut(&mut scratch.dk, block * kv_size);
        let mut dv = blocks_mut(&mut scratch.dv, block * kv_size);
        let mut normed = blocks_mut(&mut scratch.normed_x, block * hidden);
        let mut dmid = blocks(&scratch.dmid, block * hidden);
        let mut dx = blocks_mut(&mut scratch.dx, block * hidden);
        let mut low = low_blocks(&mut scratch.low, shape.rows, block);
        let work: Vec<ProjectBack> = tape
            .x
            .chunks(block * hidden)
            .map(|x| ProjectBack {
                x,
                q_raw: q_raw(),
                k_raw: k_raw(),
                cos: cos(),
                sin: sin(),
                dq: dq(),
                dk: dk(),
                dv: dv(),
                normed: normed(),
                dmid: dmid(),
                dx: dx(),
                low: [
                    low[at(Target::Q)](),
                    low[at(Target::K)](),
                    low[at(Target::V)](),
                ],
            })
            .collect();
        work.into_par_iter()
            .for_each(|rows| self.project_back_rows(rows, wants_input));
    }

    fn project_back_rows(&self, rows: ProjectBack, wants_input: bool) {
        let (size, half) = (self.config.head_dim, self.config.rotary_dim() / 2);
        let [low_q, low_k, low_v] = rows.low;
        let sides = [
            (
                &mut *rows.dq,
                rows.q_raw,
                self.q_norm,
                self.config.num_heads,
            ),
            (
                &mut *rows.dk,
                rows.k_raw,
                self.k_norm,
                self.config.num_kv_heads,
            ),
        ];
        for (g, raw, weight, heads) in sides {
            rotate::backward(g, heads, size, rows.cos, rows.sin, half);
            if let Some(weight) = weight {
                let turned = g.to_vec();
                g.fill(0.0);
                norm::backward_add(raw, weight, self.eps, &turned, g);
            }
        }
        norm::forward(rows.x, self.attn_norm, self.eps, rows.normed);
        if !wants_input {
            self.q.backward(rows.dq, low_q, None);
            self.k.backward(rows.dk, low_k, None);
            self.v.backward(rows.dv, low_v, None);
            return;
        }
        let mut dnormed = vec![0f32; rows.x.len()];
        self.q
            .backward(rows.dq, low_q, Some((Into::Set, &mut dnormed)));
        self.k
            .backward(rows.dk, low_k, Some((Into::Add, &mut dnormed)));
        self.v
            .backward(rows.dv, low_v, Some((Into::Add, &mut dnormed)));
        rows.dx.copy_from_slice(rows.dmid);
        norm::backward_add(rows.x, self.attn_norm, self.eps, &dnormed, rows.dx);
    }

    fn adapter_gradients(
        &self,
        tape: &Tape,
        scratch: &Scratch,
        flat: &Flat,
        gradients: &mut [f32],
    ) {
        let (x, mid) = (&scratch.normed_x, &scratch.normed_mid);
        let sources = [
            (&self.q, x, &scratch.dq),
            (&self.k, x, &scratch.dk),
            (&self.v, x, &scratch.dv),
            (&self.o, &tape.mixed, &scratch.dmid),
            (&self.gate, mid, &scratch.dgate),
            (&self.up, mid, &scratch.dup),
            (&self.down, &scratch.activated, &scratch.g),
        ];
        let work: Vec<_> = sources
            .into_iter()
            .zip(flat.split_mut(gradients))
            .enumerate()
            .collect();
        work.into_par_iter()
            .for_each(|(index, ((projection, x, g), (da, db)))| {
                rayon::join(
                    || projection.gradient_a(x, &scratch.low[index], da),
                    || projection.gradient_b(g, &tape.low[index], db),
                );
            });
    }
}

/// A block of rows from the block's output back to attention.
struct FinishBack<'a> {
    g: &'a [f32],
    mid: &'a [f32],
    gate: &'a [f32],
    up: &'a [f32],
    normed: &'a mut [f32],
    activated: &'a mut [f32],
    dgate: &'a mut [f32],
    dup: &'a mut [f32],
    dmid: &'a mut [f32],
    dmixed: &'a mut [f32],
    low: [&'a mut [f32]; 4],
}

/// A block of rows from attention back to the block's input.
struct ProjectBack<'a> {
    x: &'a [f32],
    q_raw: &'a [f32],
    k_raw: &'a [f32],
    cos: &'a [f32],
    sin: &'a [f32],
    dq: &'a mut [f32],
    dk: &'a mut [f32],
    dv: &'a mut [f32],
    normed: &'a mut [f32],
    dmid: &'a [f32],
    dx: &'a mut [f32],
    low: [&'a mut [f32]; 3],
}
