//! The loss head in hand-written kernels.

use candle_core::{CpuStorage, CustomOp1, Device, Layout, Shape, Tensor};
use rayon::prelude::*;

use super::LossHead;
use crate::config::{Config, LogitFinish};
use crate::error::Result;
use crate::matrix::Matrix;
use crate::pass::{HeadLoss, HeadRows, MicroBatchShape, TokenSubset};
use crate::slices::{MatrixValues, Values};
use host_kernels::packed_lhs::{Format, PackedLhs};
use host_kernels::pool::on_pool;
use host_kernels::product::{self, Product, Summand};
use host_kernels::right::Weight;
use host_kernels::view::Accumulate;
use host_kernels::{skinny, softmax};

/// Logits held at most, in floats (64 MiB); the KL holds the reference's as well.
const HELD: usize = 16 << 20;
/// Up to here, streaming the head once per eight rows beats packing it.
const FEW: usize = 16;
/// Rows of a piece of work.
const BLOCK: usize = 16;
/// Entries of the vocabulary whose slopes are packed at a time.
const STRETCH: usize = 2048;

/// Rows whose logits are held together.
fn rows_held(vocabulary: usize) -> usize {
    (HELD / vocabulary / BLOCK).max(1) * BLOCK
}

pub(crate) fn logits(head: &LossHead<Matrix>, hidden: &Tensor) -> Result<Tensor> {
    let finish = Finish::new(head.finish);
    let (vocabulary, size) = head.matrix.dims2()?;
    let hidden = hidden.contiguous()?;
    let (head, hidden) = (MatrixValues::of(head.matrix)?, Values::of(&hidden)?);
    let (head, hidden): (Weight, &[f32]) = (head.weight(), &hidden);
    let rows = hidden.len() / size;
    let mut logits = vec![0f32; rows * vocabulary];
    if rows > FEW {
        project(head, &[hidden], size, &mut [&mut logits]);
    } else {
        let shard = vocabulary.div_ceil(rayon::current_num_threads() * 4);
        let starts: Vec<usize> = (0..vocabulary).step_by(shard).collect();
        let parts: Vec<Vec<f32>> = starts
            .into_par_iter()
            .map(|start| {
                let head = head.lines(start..vocabulary.min(start + shard), size);
                let width = head.len() / size;
                let mut part = vec![0f32; rows * width];
                skinny::matmul(hidden, size, head, &mut part, width);
                part
            })
            .collect();
        for (row, line) in logits.chunks_exact_mut(vocabulary).enumerate() {
            for (line, part) in line.chunks_mut(shard).zip(&parts) {
                let width = line.len();
                line.copy_from_slice(&part[row * width..(row + 1) * width]);
            }
        }
    }
    logits.par_chunks_exact_mut(vocabulary).for_each(|line| finish.apply(line));
    Ok(Tensor::from_vec(logits, (rows, vocabulary), &Device::Cpu)?)
}

/// [`LogitFinish`] on rows of products.
#[derive(Clone, Copy)]
struct Finish {
    scale: f32,
    cap: Option<f32>,
}

impl Finish {
    fn new(finish: LogitFinish) -> Self {
        let LogitFinish { divisor, cap } = finish;
        Self { scale: (1.0 / divisor) as f32, cap: cap.map(|cap| cap as f32) }
    }

    fn apply(self, line: &mut [f32]) {
        match self.cap {
            Some(cap) => softmax::soft_cap(line, self.scale, cap),
            None if self.scale != 1.0 => softmax::scale(line, self.scale),
            None => {}
        }
    }

    /// What the slopes of the line's logits need besides them.
    fn kept(self, line: &[f32]) -> Vec<f32> {
        if self.cap.is_some() { line.to_vec() } else { Vec::new() }
    }

    /// Turns slopes by logits into slopes by products.
    fn back(self, slopes: &mut [f32], kept: &[f32]) {
        match self.cap {
            Some(cap) => softmax::soft_cap_back(slopes, kept, self.scale, cap),
            None if self.scale != 1.0 => softmax::scale(slopes, self.scale),
            None => {}
        }
    }
}

/// logits [rows, vocabulary] = hidden [rows, size] head^T, for each of `hidden`.
fn project(head: Weight, hidden: &[&[f32]], size: usize, logits: &mut [&mut [f32]]) {
    let vocabulary = head.len() / size;
    let pack = |hidden: &&[f32]| {
        let mut left = PackedLhs::default();
        left.pack(head.format(), hidden, (size, size));
        left
    };
    let left: Vec<PackedLhs> = hidden.iter().map(pack).collect();
    let sides = left.iter().zip(logits);
    let mut products: Vec<Product> = sides
        .map(|(left, logits)| Product {
            into: Accumulate::Set,
            c: logits,
            cols: vocabulary,
            bias: None,
            summands: vec![Summand::Packed(left, head.transposed(size))],
        })
        .collect();
    product::run(&mut products);
}

pub(crate) fn label_log_probs(
    head: &LossHead<Matrix>,
    hidden: &Tensor,
    labels: &[u32],
) -> Result<Vec<f32>> {
    let finish = Finish::new(head.finish);
    let (vocabulary, size) = head.matrix.dims2()?;
    let hidden = hidden.contiguous()?;
    let (head, hidden) = (MatrixValues::of(head.matrix)?, Values::of(&hidden)?);
    let (head, hidden): (Weight, &[f32]) = (head.weight(), &hidden);
    let held = rows_held(vocabulary);
    let mut found = Vec::with_capacity(labels.len());
    let mut logits = vec![0f32; held.min(labels.len()) * vocabulary];
    for (hidden, labels) in hidden.chunks(held * size).zip(labels.chunks(held)) {
        let logits = &mut logits[..labels.len() * vocabulary];
        project(head, &[hidden], size, &mut [logits]);
        let lines = logits.par_chunks_exact_mut(vocabulary).zip(labels);
        found.par_extend(lines.map(|(line, label)| {
            finish.apply(line);
            line[*label as usize] - softmax::log_sum_exp(line)
        }));
    }
    Ok(found)
}

pub(crate) fn loss(head: &LossHead<Matrix>, rows: &HeadRows) -> Result<HeadLoss> {
    let n = rows.labels.len();
    let finish = Finish::new(head.finish);
    let (vocabulary, size) = head.matrix.dims2()?;
    let hidden = rows.hidden.contiguous()?;
    let reference = rows.reference.map(Tensor::contiguous).transpose()?;
    let reference = reference.as_ref().map(Values::of).transpose()?;
    let mut gradient = vec![0f32; n * size];
    let mut found = vec![[0f32; 2]; n];
    {
        let (head, hidden) = (MatrixValues::of(head.matrix)?, Values::of(&hidden)?);
        let hidden: &[f32] = &hidden;
        let reference: &[f32] = reference.as_deref().unwrap_or_default();
        let held = rows_held(vocabulary);
        let mut logits = Logits::new(held.min(n), vocabulary, !reference.is_empty());
        let parts = gradient.chunks_mut(held * size).zip(found.chunks_mut(held));
        for (index, (gradient, found)) in parts.enumerate() {
            let start = index * held;
            let span = start..start + found.len();
            let values = start * size..span.end * size;
            let part = Part {
                head: head.weight(),
                finish,
                size,
                vocabulary,
                hidden: &hidden[values.clone()],
                reference: reference.get(values),
                labels: &rows.labels[span.clone()],
                task_weights: &rows.task_weights[span.clone()],
                kl_weights: &rows.kl_weights[span],
                subset: rows.subset,
            };
            on_pool(|| part.run(&mut logits, gradient, found));
        }
    }
    let weights = rows.task_weights.iter().zip(rows.kl_weights);
    let loss: f64 = found
        .iter()
        .zip(weights)
        .map(|([task, kl], (wa, wb))| {
            f64::from(*task) * f64::from(*wa) + f64::from(*kl) * f64::from(*wb)
        })
        .sum();
    let operation = Operation {
        loss: loss as f32,
        gradient: Tensor::from_vec(gradient, (n, size), &Device::Cpu)?,
    };
    Ok(HeadLoss {
        loss: rows.hidden.apply_op1(operation)?,
        task: found.iter().map(|[task, _]| *task).collect(),
        kl: found.iter().map(|[_, kl]| *kl).collect(),
    })
}

/// Room for the logits of a part, used again by every part.
struct Logits {
    current: Vec<f32>,
    /// Empty without a reference.
    reference: Vec<f32>,
    slopes: PackedLhs,
}

impl Logits {
    fn new(rows: usize, vocabulary: usize, reference: bool) -> Self {
        let room = |wanted: bool| vec![0f32; if wanted { rows * vocabulary } else { 0 }];
        Self { current: room(true), reference: room(reference), slopes: PackedLhs::default() }
    }
}

/// Values that the loss of a micro-batch holds: logits of the rows at work with their packed
/// slopes, logits of the reference beside them, its hidden rows, and the gradient.
pub(crate) fn values(work: &MicroBatchShape, config: &Config, format: Format) -> usize {
    let rows = work.answer_tokens;
    let at_work = rows_held(config.vocab_size).min(rows);
    let stretch = STRETCH.min(config.vocab_size);
    let slopes = PackedLhs::values(format, at_work, stretch);
    let sides = 1 + usize::from(work.has_kl);
    // Capped logits are kept beside their slopes, a line per thread.
    let threads = rayon::current_num_threads().min(at_work);
    let capped = if config.logits.cap.is_some() { threads * config.vocab_size } else { 0 };
    slopes + capped + sides * (at_work * config.vocab_size + rows * config.hidden_size)
}

/// Some rows of the loss.
struct Part<'a> {
    head: Weight<'a>,
    finish: Finish,
    size: usize,
    vocabulary: usize,
    hidden: &'a [f32],
    reference: Option<&'a [f32]>,
    labels: &'a [u32],
    task_weights: &'a [f32],
    kl_weights: &'a [f32],
    subset: Option<&'a TokenSubset>,
}

impl Part<'_> {
    /// Writes the gradient of the hidden rows and [CE, KL] per row.
    fn run(&self, logits: &mut Logits, gradient: &mut [f32], found: &mut [[f32; 2]]) {
        let (v, count) = (self.vocabulary, self.labels.len() * self.vocabulary);
        let current = &mut logits.current[..count];
        let reference: &[f32] = if let Some(hidden) = self.reference {
            let reference = &mut logits.reference[..count];
            let both = [self.hidden, hidden];
            project(self.head, &both, self.size, &mut [&mut *current, &mut *reference]);
            reference.par_chunks_exact_mut(v).for_each(|line| self.finish.apply(line));
            reference
        } else {
            project(self.head, &[self.hidden], self.size, &mut [&mut *current]);
            &[]
        };
        let lines = current.par_chunks_exact_mut(v).zip(found).enumerate();
        lines.for_each(|(row, (line, found))| {
            let label = self.labels[row] as usize;
            let (wa, wb) = (self.task_weights[row], self.kl_weights[row]);
            self.finish.apply(line);
            let kept = self.finish.kept(line);
            let total = softmax::log_sum_exp(line);
            found[0] = total - line[label];
            let reference = reference.get(row * v..(row + 1) * v);
            if let (Some(reference), Some(subset)) = (reference, self.subset) {
                let (kl, pulls) = subset.divergence(line, reference);
                found[1] = kl;
                softmax::slopes(line, total, wa);
                for (id, pull) in subset.ids().iter().zip(pulls) {
                    line[*id as usize] += wb * pull;
                }
            } else if let Some(reference) = reference {
                let other = softmax::log_sum_exp(reference);
                found[1] = softmax::divergence(line, total, reference, other, wa, wb);
            } else {
                softmax::slopes(line, total, wa);
            }
            line[label] -= wa;
            self.finish.back(line, &kept);
        });
        let mut into = Accumulate::Set;
        for first in (0..v).step_by(STRETCH) {
            let depth = STRETCH.min(v - first);
            logits.slopes.pack(self.head.format(), &current[first..], (depth, v));
            product::run(&mut [Product {
                into,
                c: gradient,
                cols: self.size,
                bias: None,
                summands: vec![Summand::Packed(&logits.slopes, self.head.right(self.size, first))],
            }]);
            into = Accumulate::Add;
        }
    }
}

/// The scalar loss; its gradient was made together with its value.
struct Operation {
    loss: f32,
    gradient: Tensor,
}

impl CustomOp1 for Operation {
    fn name(&self) -> &'static str {
        "head-loss"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(vec![self.loss]), Shape::from(())))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, g: &Tensor) -> candle_core::Result<Option<Tensor>> {
        Ok(Some(self.gradient.broadcast_mul(g)?))
    }
}
