//! The adapter's parameters as one flat vector, in name order.
//!
//! Optimizer, moving average, anchor and gradient all work on this layout, so that
//! their state is a plain `Vec<f32>` on the host: serialisable, the same on every
//! device, and independent of hash-map order.

pub mod distance;
pub mod optimizer;
pub mod schedule;

use std::collections::HashMap;
use std::ops::Range;

use candle_core::{Tensor, Var, backprop::GradStore};
use host_model::lora::Lora;

use crate::error::{Error, Result};

/// Where each adapter tensor lies in the flat vector.
pub struct Layout {
    entries: Vec<Entry>,
    len: usize,
}

struct Entry {
    name: String,
    var: Var,
    start: usize,
    len: usize,
    /// What B A is multiplied by.
    scaling: f64,
}

/// Where the two factors of one adapted matrix lie: A [rank, in], B [out, rank].
pub struct Pair {
    pub a: Range<usize>,
    pub b: Range<usize>,
    pub rank: usize,
    /// What B A is multiplied by.
    pub scaling: f64,
}

impl Layout {
    pub fn new(adapter: &Lora) -> Self {
        let mut start = 0;
        let mut scalings = HashMap::new();
        for (_, _, pair) in adapter.pairs() {
            let ids = [&pair.a, &pair.b].map(|var| var.as_tensor().id());
            scalings.extend(ids.map(|id| (id, pair.scaling)));
        }
        let entries = adapter
            .named()
            .map(|(name, var)| {
                let len = var.elem_count();
                // Every tensor belongs to a pair.
                let scaling = scalings.get(&var.as_tensor().id()).copied().unwrap_or(0.0);
                let entry = Entry { name: name.to_owned(), var: var.clone(), start, len, scaling };
                start += len;
                entry
            })
            .collect();
        Self { entries, len: start }
    }

    /// Number of parameters.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// One per adapted matrix. In name order `lora_A` stands right before its `lora_B`.
    pub fn pairs(&self) -> impl Iterator<Item = Pair> {
        self.entries.chunks_exact(2).map(|pair| Pair {
            a: pair[0].start..pair[0].start + pair[0].len,
            b: pair[1].start..pair[1].start + pair[1].len,
            rank: pair[0].var.dims()[0],
            scaling: pair[0].scaling,
        })
    }

    /// Where the tensor of an adapter lies.
    pub fn range(&self, var: &Var) -> Option<Range<usize>> {
        let id = var.as_tensor().id();
        let entry = self.entries.iter().find(|entry| entry.var.as_tensor().id() == id)?;
        Some(entry.start..entry.start + entry.len)
    }

    /// Every tensor with the decoder block that it belongs to.
    pub fn layers(&self) -> impl Iterator<Item = (usize, Range<usize>)> {
        self.entries.iter().filter_map(|entry| {
            let (_, rest) = entry.name.split_once("layers.")?;
            let layer = rest.split('.').next()?.parse().ok()?;
            Some((layer, entry.start..entry.start + entry.len))
        })
    }

    pub fn read(&self) -> Result<Vec<f32>> {
        flat(self.entries.iter().map(|entry| entry.var.as_tensor()))
    }

    pub fn write(&self, values: &[f32]) -> Result<()> {
        let Some(first) = self.entries.first() else {
            return Ok(());
        };
        let whole = Tensor::from_slice(values, values.len(), first.var.device())?;
        for entry in &self.entries {
            let part = whole.narrow(0, entry.start, entry.len)?;
            entry.var.set(&part.reshape(entry.var.shape())?)?;
        }
        Ok(())
    }

    /// Adds the gradients of one micro-batch to `sum`. A tensor without a gradient
    /// is an error: somewhere the graph was cut.
    pub fn accumulate(&self, grads: &GradStore, sum: &mut [f32], step: u64) -> Result<()> {
        let mut parts = Vec::with_capacity(self.entries.len());
        for entry in &self.entries {
            let Some(grad) = grads.get(entry.var.as_tensor()) else {
                return Err(Error::Gradient {
                    step,
                    problem: format!("the loss does not reach {}", entry.name),
                });
            };
            parts.push(grad);
        }
        for (total, value) in sum.iter_mut().zip(flat(parts.into_iter())?) {
            *total += value;
        }
        Ok(())
    }

    /// The first tensor whose gradient holds a value that is not finite.
    pub fn first_not_finite(&self, gradient: &[f32]) -> Option<&str> {
        let bad = gradient.iter().position(|value| !value.is_finite())?;
        self.entries
            .iter()
            .find(|entry| bad < entry.start + entry.len)
            .map(|entry| entry.name.as_str())
    }

    /// At the first step every `lora_B` must get a gradient that is not all zero;
    /// `lora_A`'s is zero as long as B is.
    pub fn first_dead_b(&self, gradient: &[f32]) -> Option<&str> {
        self.entries
            .iter()
            .find(|entry| {
                entry.name.contains("lora_B")
                    && gradient[entry.start..entry.start + entry.len].iter().all(|v| *v == 0.0)
            })
            .map(|entry| entry.name.as_str())
    }
}

/// L2 norm, summed in f64 in a fixed order.
pub fn norm(values: &[f32]) -> f64 {
    values.iter().map(|value| f64::from(*value) * f64::from(*value)).sum::<f64>().sqrt()
}

/// Adds one vector to another.
pub fn add(sum: &mut [f32], other: &[f32]) {
    sum.iter_mut().zip(other).for_each(|(sum, value)| *sum += value);
}

/// All values one after the other: joined on their device, so that a step waits for one
/// transfer and not for one per tensor.
fn flat<'t>(tensors: impl Iterator<Item = &'t Tensor>) -> Result<Vec<f32>> {
    let parts = tensors
        .map(|tensor| tensor.detach().flatten_all())
        .collect::<candle_core::Result<Vec<_>>>()?;
    if parts.is_empty() { Ok(Vec::new()) } else { Ok(Tensor::cat(&parts, 0)?.to_vec1()?) }
}
