//! A frozen linear layer with an optional low-rank adapter. The frozen weight
//! never gets a gradient.

use super::adapter::LowRank;
use crate::ops::matmul::{Into, Mat, matmul};
use crate::ops::softmax::{add, scale};

/// y = x W^T + b + scaling (x A^T) B^T on rows of x.
#[derive(Clone, Copy)]
pub(super) struct Projection<'a> {
    /// [out, input]
    pub weight: &'a [f32],
    pub bias: Option<&'a [f32]>,
    pub input: usize,
    pub out: usize,
    pub low: Option<LowRank<'a>>,
}

impl Projection<'_> {
    /// Sets or adds y [rows, out]; `low` [rows, rank] becomes scaling * x A^T,
    /// which the backward pass needs, and is empty without an adapter.
    pub fn forward(&self, into: Into, x: &[f32], y: &mut [f32], low: &mut [f32]) {
        let rows = x.len() / self.input;
        let weight = Mat::rows(self.weight, self.input).t();
        let shape = (rows, self.out, self.input);
        matmul(into, y, self.out, shape, Mat::rows(x, self.input), weight);
        if let Some(bias) = self.bias {
            y.chunks_exact_mut(self.out).for_each(|y| add(y, bias));
        }
        if let Some(adapter) = self.low {
            let rank = adapter.rank;
            let a = Mat::rows(adapter.a, self.input).t();
            let shape = (rows, rank, self.input);
            matmul(Into::Set, low, rank, shape, Mat::rows(x, self.input), a);
            scale(low, adapter.scaling);
            let b = Mat::rows(adapter.b, rank).t();
            let shape = (rows, self.out, rank);
            matmul(Into::Add, y, self.out, shape, Mat::rows(low, rank), b);
        }
    }

    /// From g = dy [rows, out]: `dlow` [rows, rank] = scaling * g B, and, if
    /// the input wants it, dx (+)= g W + dlow A.
    pub fn backward(&self, g: &[f32], dlow: &mut [f32], dx: Option<(Into, &mut [f32])>) {
        let rows = g.len() / self.out;
        let g = Mat::rows(g, self.out);
        if let Some(adapter) = self.low {
            let b = Mat::rows(adapter.b, adapter.rank);
            let shape = (rows, adapter.rank, self.out);
            matmul(Into::Set, dlow, adapter.rank, shape, g, b);
            scale(dlow, adapter.scaling);
        }
        let Some((into, dx)) = dx else {
            return;
        };
        let weight = Mat::rows(self.weight, self.input);
        matmul(
            into,
            dx,
            self.input,
            (rows, self.input, self.out),
            g,
            weight,
        );
        if let Some(adapter) = self.low {
            let a = Mat::rows(adapter.a, self.input);
            let shape = (rows, self.input, adapter.rank);
            let dlow = Mat::rows(dlow, adapter.rank);
            matmul(Into::Add, dx, self.input, shape, dlow, a);
        }
    }

    /// dA [rank, input] = dlow^T x over all rows of the batch.
    pub fn gradient_a(&self, x: &[f32], dlow: &[f32], da: &mut [f32]) {
        let Some(adapter) = self.low else {
            return;
        };
        let shape = (adapter.rank, self.input, x.len() / self.input);
        let dlow = Mat::rows(dlow, adapter.rank).t();
        let x = Mat::rows(x, self.input);
        matmul(Into::Set, da, self.input, shape, dlow, x);
    }

    /// dB [out, rank] = g^T low over all rows of the batch.
    pub fn gradient_b(&self, g: &[f32], low: &[f32], db: &mut [f32]) {
        let Some(adapter) = self.low else {
            return;
        };
        let rank = adapter.rank;
        // The transpose has long rows, which the register tile is made for.
        let mut turned = vec![0f32; rank * self.out];
        let shape = (rank, self.out, g.len() / self.out);
        let low = Mat::rows(low, rank).t();
        matmul(
            Into::Set,
            &mut turned,
            self.out,
            shape,
            low,
            Mat::rows(g, self.out),
        );
        for (j, line) in db.chunks_exact_mut(rank).enumerate() {
            for (i, value) in line.iter_mut().enumerate() {
                *value = turned[i * self.out + j];
            }
        }
    }
}
