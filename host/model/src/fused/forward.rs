//! The forward pass of one block: rows in parallel, then heads, then rows.

use rayon::prelude::*;

use super::layer::Layer;
use super::shape::Shape;
use super::tape::{Tape, at, blocks, blocks_mut, low_blocks};
use crate::lora::Target;
use crate::ops::attention::Head;
use crate::ops::matmul::{Into, Mat};
use crate::ops::{gated, norm, rotate};

impl Layer<'_> {
    /// Takes the residual stream [rows, hidden]; gives it after the block and
    /// leaves in `tape` what the backward pass needs.
    pub fn forward(&self, shape: &Shape, x: Vec<f32>, tape: &mut Tape) -> Vec<f32> {
        self.project_rows(shape, &x, tape);
        self.attend(shape, tape);
        let mut out = vec![0f32; x.len()];
        self.finish_rows(shape, &x, tape, &mut out);
        tape.x = x;
        out
    }

    fn project_rows(&self, shape: &Shape, x: &[f32], tape: &mut Tape) {
        let (block, half) = (shape.block, shape.angles.half);
        let (q_size, kv_size) = (self.q.out, self.k.out);
        let mut q = blocks_mut(&mut tape.q, block * q_size);
        let mut k = blocks_mut(&mut tape.k, block * kv_size);
        let mut v = blocks_mut(&mut tape.v, block * kv_size);
        let mut q_raw = blocks_mut(&mut tape.q_raw, block * q_size);
        let mut k_raw = blocks_mut(&mut tape.k_raw, block * kv_size);
        let mut low = low_blocks(&mut tape.low, shape.rows, block);
        let mut cos = blocks(&shape.angles.cos, block * half);
        let mut sin = blocks(&shape.angles.sin, block * half);
        let work: Vec<Project> = x
            .chunks(block * self.q.input)
            .map(|x| Project {
                x,
                q: q(),
                k: k(),
                v: v(),
                q_raw: q_raw(),
                k_raw: k_raw(),
                low: [
                    low[at(Target::Q)](),
                    low[at(Target::K)](),
                    low[at(Target::V)](),
                ],
                cos: cos(),
                sin: sin(),
            })
            .collect();
        work.into_par_iter().for_each(|rows| self.project(rows));
    }

    fn project(&self, rows: Project) {
        let mut normed = vec![0f32; rows.x.len()];
        norm::forward(rows.x, self.attn_norm, self.eps, &mut normed);
        let [low_q, low_k, low_v] = rows.low;
        self.q.forward(Into::Set, &normed, rows.q, low_q);
        self.k.forward(Into::Set, &normed, rows.k, low_k);
        self.v.forward(Into::Set, &normed, rows.v, low_v);
        let sides = [
            (rows.q, rows.q_raw, self.q_norm, self.config.num_heads),
            (rows.k, rows.k_raw, self.k_norm, self.config.num_kv_heads),
        ];
        for (values, raw, weight, heads) in sides {
            if let Some(weight) = weight {
                raw.copy_from_slice(values);
                norm::forward(raw, weight, self.eps, values);
            }
            let half = self.config.rotary_dim() / 2;
            rotate::forward(
                values,
                heads,
                self.config.head_dim,
                rows.cos,
                rows.sin,
                half,
            );
        }
    }

    fn attend(&self, shape: &Shape, tape: &mut Tape) {
        let size = self.config.head_dim;
        let work = shape.heads(self.config.num_heads);
        let found: Vec<(Vec<f32>, Vec<f32>)> = work
            .par_iter()
            .map(|(rows, head)| self.head(tape, rows, *head).forward())
            .collect();
        tape.totals.clear();
        for ((rows, head), (out, totals)) in work.iter().zip(found) {
            let target = tape.mixed[rows.start * self.q.out..rows.end * self.q.out]
                .chunks_exact_mut(self.q.out);
            for (line, values) in target.zip(out.chunks_exact(size)) {
                line[head * size..(head + 1) * size].copy_from_slice(values);
            }
            tape.totals.push(totals);
        }
    }

    /// The views of one head over one sequence's rows.
    pub(super) fn head<'t>(
        &self,
        tape: &'t Tape,
        rows: &std::ops::Range<usize>,
        head: usize,
    ) -> Head<'t> {
        let size = self.config.head_dim;
        let group = self.config.num_heads / self.config.num_kv_heads;
        let view = |values: &'t [f32], cols: usize, head: usize| {
            Mat::rows(&values[..rows.end * cols], cols).from(rows.start, head * size)
        };
        Head {
            q: view(&tape.q, self.q.out, head),
            k: view(&tape.k, self.k.out, head / group),
            v: view(&tape.v, self.v.out, head / group),
            length: rows.len(),
            size,
            window: self.window,
        }
    }

    fn finish_rows(&self, shape: &Shape, x: &[f32], tape: &mut Tape, out: &mut [f32]) {
        let block = shape.block;
        let (hidden, inner) = (self.o.out, self.gate.out);
        let mut mixed = blocks(&tape.mixed, block * self.o.input);
        let mut mid = blocks_mut(&mut tape.mid, block * hidden);
        let mut gate = blocks_mut(&mut tape.gate, block * inner);
        let mut up = blocks_mut(&mut tape.up, block * inner);
        let mut low = low_blocks(&mut tape.low, shape.rows, block);
        let mut out = blocks_mut(out, block * hidden);
        let work: Vec<Finish> = x
            .chunks(block * hidden)
            .map(|x| Finish {
                x,
                mixed: mixed(),
                mid: mid(),
                gate: gate(),
                up: up(),
                out: out(),
                low: [
                    low[at(Target::O)](),
                    low[at(Target::Gate)](),
                    low[at(Target::Up)](),
                    low[at(Target::Down)](),
                ],
            })
            .collect();
        work.into_par_iter().for_each(|rows| self.finish(rows));
    }

    fn finish(&self, rows: Finish) {
        let [low_o, low_gate, low_up, low_down] = rows.low;
        rows.mid.copy_from_slice(rows.x);
        self.o.forward(Into::Add, rows.mixed, rows.mid, low_o);
        let mut normed = vec![0f32; rows.mid.len()];
        norm::forward(rows.mid, self.mlp_norm, self.eps, &mut normed);
        self.gate.forward(Into::Set, &normed, rows.gate, low_gate);
        self.up.forward(Into::Set, &normed, rows.up, low_up);
        let mut inner = vec![0f32; rows.gate.len()];
        gated::forward(rows.gate, rows.up, &mut inner);
        rows.out.copy_from_slice(rows.mid);
        self.down.forward(Into::Add, &inner, rows.out, low_down);
    }
}

/// A block of rows on the way to attention.
struct Project<'a> {
    x: &'a [f32],
    q: &'a mut [f32],
    k: &'a mut [f32],
    v: &'a mut [f32],
    q_raw: &'a mut [f32],
    k_raw: &'a mut [f32],
    low: [&'a mut [f32]; 3],
    cos: &'a [f32],
    sin: &'a [f32],
}

/// A block of rows after attention.
struct Finish<'a> {
    x: &'a [f32],
    mixed: &'a [f32],
    mid: &'a mut [f32],
    gate: &'a mut [f32],
    up: &'a mut [f32],
    out: &'a mut [f32],
    low: [&'a mut [f32]; 4],
}
