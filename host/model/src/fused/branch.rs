//! The ends of attention and MLP: norms before and after them, and their way into the residual
//! stream.

use host_kernels::softmax;
use rayon::prelude::*;

use super::ends::{Entry, start};
use super::layer::Layer;
use super::shape::BLOCK;
use super::tape::fit;

impl Layer<'_> {
    /// The norm of that weight.
    pub(super) fn entry<'w>(&self, weight: Option<&'w [f32]>) -> Entry<'w> {
        Entry { weight, eps: self.eps }
    }

    /// y = norm(x) of rows, or x where the block has no norm.
    pub(super) fn enter(&self, x: &[f32], weight: Option<&[f32]>, y: &mut [f32]) {
        self.entry(weight).forward(x, y);
    }

    /// dx += the gradient of `enter`'s x, from that of its y.
    pub(super) fn enter_back(&self, x: &[f32], weight: Option<&[f32]>, g: &[f32], dx: &mut [f32]) {
        self.entry(weight).backward_add(x, g, dx);
    }

    /// What a product that may be finished afterwards starts from: the stream, or zeros.
    pub(super) fn start(&self, stream: &[f32], sum: &mut [f32]) {
        start(self.finishes, stream, sum);
    }

    /// Where branches are finished: keeps what `sum` holds in `kept` and makes it
    /// stream + scale * norm(kept).
    pub(super) fn finish(
        &self,
        stream: &[f32],
        weight: Option<&[f32]>,
        kept: &mut Vec<f32>,
        sum: &mut [f32],
    ) {
        if !self.finishes {
            return;
        }
        fit(kept, sum.len());
        let size = BLOCK * self.o.out;
        let rows = sum.par_chunks_mut(size).zip(kept.par_chunks_mut(size));
        rows.zip(stream.par_chunks(size)).for_each(|((sum, kept), stream)| {
            kept.copy_from_slice(sum);
            self.enter(kept, weight, sum);
            softmax::scale(sum, self.config.scales.residual as f32);
            softmax::add(sum, stream);
        });
    }

    /// The gradient of what was kept, from that of the stream behind it.
    pub(super) fn finish_back(
        &self,
        kept: &[f32],
        weight: Option<&[f32]>,
        g: &[f32],
        dkept: &mut Vec<f32>,
    ) {
        fit(dkept, g.len());
        let size = BLOCK * self.o.out;
        let rows = dkept.par_chunks_mut(size).zip(kept.par_chunks(size));
        rows.zip(g.par_chunks(size)).for_each(|((dkept, kept), g)| {
            dkept.fill(0.0);
            self.enter_back(kept, weight, g, dkept);
            softmax::scale(dkept, self.config.scales.residual as f32);
        });
    }

    /// stream += scale * norm(branch)
    pub(super) fn join(&self, branch: Vec<f32>, weight: Option<&[f32]>, stream: &mut [f32]) {
        if !self.config.finishes_branches() {
            return softmax::add(stream, &branch);
        }
        let mut finished = vec![0f32; branch.len()];
        self.enter(&branch, weight, &mut finished);
        softmax::add_scaled(stream, &finished, self.config.scales.residual as f32);
    }
}
