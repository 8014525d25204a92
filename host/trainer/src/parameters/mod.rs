//! The adapter's parameters as one flat vector, in name order.
//!
//! Optimizer, moving average, anchor and gradient all work on this layout, so that
//! their state is a plain `Vec<f32>` on the host: serialisable, the same on every
//! device, and independent of hash-map order.

pub mod distance;
pub mod lengths;
pub mod optimizer;
pub mod schedule;

use std::collections::HashMap;
use std::ops::Range;

use candle_core::{Tensor, Var, backprop::GradStore};
use host_model::lora::Lora;
use rayon::prelude::*;

use crate::error::{Error, Result};

/// Threads share the work on a vector in parts of so many values: the bits are the same for any
/// number of threads.
const PART: usize = 1 << 14;

/// Where each adapter tensor lies in the flat vector.
pub struct Layout {
    entries: Vec<Entry>,
    pairs: Vec<Pair>,
    /// The second half of every rank isn't trained.
    half_held: bool,
    len: usize,
}

struct Entry {
    name: String,
    var: Var,
    start: usize,
    len: usize,
}

/// Where the two factors of one adapted matrix lie: A [rank, in], B [out, rank].
#[derive(Clone)]
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
        let entries: Vec<Entry> = adapter
            .named()
            .map(|(name, var)| {
                let len = var.elem_count();
                let entry = Entry { name: name.to_owned(), var: var.clone(), start, len };
                start += len;
                entry
            })
            .collect();
        let places: HashMap<_, _> = entries
            .iter()
            .map(|entry| (entry.var.as_tensor().id(), entry.start..entry.start + entry.len))
            .collect();
        let place = |var: &Var| places.get(&var.as_tensor().id()).cloned().unwrap_or_default();
        let pairs = adapter.pairs().map(|(_, _, pair)| {
            let (a, b) = (place(&pair.a), place(&pair.b));
            Pair { a, b, rank: pair.rank, scaling: pair.scaling }
        });
        let pairs = pairs.collect();
        Self { entries, pairs, half_held: adapter.half_is_held(), len: start }
    }

    /// Number of parameters.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// One per adapted matrix.
    pub fn pairs(&self) -> impl Iterator<Item = &Pair> {
        self.pairs.iter()
    }

    /// Every run of values that isn't trained.
    fn held(&self) -> impl Iterator<Item = Range<usize>> {
        let pairs = self.pairs.iter().filter(|_| self.half_held);
        pairs.flat_map(|Pair { a, b, rank, .. }| {
            let of_a = a.start + a.len() / 2..a.end;
            let rows = b.clone().step_by(*rank);
            let rank = *rank;
            std::iter::once(of_a).chain(rows.map(move |row| row + rank / 2..row + rank))
        })
    }

    /// Takes the gradient from what isn't trained.
    pub fn hold_gradient(&self, gradient: &mut [f32]) {
        self.held().for_each(|range| gradient[range].fill(0.0));
    }

    /// Makes what isn't trained what it was.
    pub fn hold(&self, before: &[f32], parameters: &mut [f32]) {
        self.held().for_each(|at| parameters[at.clone()].copy_from_slice(&before[at]));
    }

    /// What isn't trained, to [hold](Layout::hold) it: nothing if all is.
    pub fn held_values(&self, parameters: &[f32]) -> Vec<f32> {
        if self.half_held { parameters.to_vec() } else { Vec::new() }
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
        let mut values = vec![0.0; self.len];
        add_tensors(&mut values, self.entries.iter().map(|entry| entry.var.as_tensor()))?;
        Ok(values)
    }

    pub fn write(&self, values: &[f32]) -> Result<()> {
        let Some(first) = self.entries.first() else {
            return Ok(());
        };
        let device = first.var.device();
        if device.is_cpu() {
            return self.entries.par_iter().try_for_each(|entry| {
                let part = &values[entry.start..entry.start + entry.len];
                entry.var.set(&Tensor::from_slice(part, entry.var.shape(), device)?)?;
                Ok(())
            });
        }
        // One transfer.
        let whole = Tensor::from_slice(values, values.len(), device)?;
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
        add_tensors(sum, parts.into_iter())?;
        self.hold_gradient(sum);
        Ok(())
    }

    /// The first tensor whose gradient holds a value that is not finite.
    pub fn first_not_finite(&self, gradient: &[f32]) -> Option<&str> {
        let bad = gradient.par_iter().position_first(|value| !value.is_finite())?;
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
    let square = |value: &f32| f64::from(*value) * f64::from(*value);
    let parts = values.par_chunks(PART).map(|part| part.iter().map(square).sum::<f64>());
    parts.collect::<Vec<f64>>().iter().sum::<f64>().sqrt()
}

/// Adds one vector to another.
pub fn add(sum: &mut [f32], other: &[f32]) {
    let parts = sum.par_chunks_mut(PART).zip(other.par_chunks(PART));
    parts.for_each(|(sum, other)| {
        sum.iter_mut().zip(other).for_each(|(sum, value)| *sum += value);
    });
}

/// Adds the values of tensors, one after the other, to a vector. Elsewhere than on the CPU they are
/// joined on their device, so that a step waits for one transfer and not for one per tensor.
fn add_tensors<'t>(sum: &mut [f32], tensors: impl Iterator<Item = &'t Tensor>) -> Result<()> {
    let parts = tensors
        .map(|tensor| tensor.detach().flatten_all())
        .collect::<candle_core::Result<Vec<_>>>()?;
    let Some(first) = parts.first() else {
        return Ok(());
    };
    if !first.device().is_cpu() {
        add(sum, &Tensor::cat(&parts, 0)?.to_vec1()?);
        return Ok(());
    }
    let mut rest = sum;
    let mut places = Vec::with_capacity(parts.len());
    for part in &parts {
        let (place, others) = rest.split_at_mut(part.elem_count());
        places.push((place, part));
        rest = others;
    }
    places.into_par_iter().try_for_each(|(place, part)| {
        let values: Vec<f32> = part.to_vec1()?;
        place.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
        Ok(())
    })
}
