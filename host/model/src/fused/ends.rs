//! Rows where attention or MLP begins, and what their sum begins with.

use host_kernels::{norm, softmax};

/// The norm before attention or MLP, if the block has it.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    pub weight: Option<&'a [f32]>,
    pub eps: f32,
}

impl Entry<'_> {
    /// y = norm(x) of rows, or x.
    pub fn forward(self, x: &[f32], y: &mut [f32]) {
        match self.weight {
            Some(weight) => norm::forward(x, weight, self.eps, y),
            None => y.copy_from_slice(x),
        }
    }

    /// dx += the gradient of x, from that of y.
    pub fn backward_add(self, x: &[f32], g: &[f32], dx: &mut [f32]) {
        match self.weight {
            Some(weight) => norm::backward_add(x, weight, self.eps, g, dx),
            None => softmax::add(dx, g),
        }
    }
}

/// What the sum of a branch starts from: zeros where it is finished before it joins the stream, else the stream.
pub(super) fn start(is_finished: bool, stream: &[f32], sum: &mut [f32]) {
    if is_finished {
        sum.fill(0.0);
    } else {
        sum.copy_from_slice(stream);
    }
}
