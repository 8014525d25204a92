//! The loss head in hand-written kernels.

use candle_core::{CpuStorage, CustomOp1, Device, Layout, Shape, Tensor};
use rayon::prelude::*;

use crate::config::Config;
use crate::decoder::{HeadLoss, HeadRows, StepWork};
use crate::error::Result;
use crate::fused::Values;
use crate::ops::matmul::{Into, Mat, matmul};
use crate::ops::{skinny, softmax};

/// Logits held per thread at most, in floats (32 MiB).
const HELD: usize = 8 << 20;
/// Up to here, streaming the head once per eight rows beats packing it.
const FEW: usize = 16;

/// Rows per piece of work.
fn row_block(rows: usize, vocabulary: usize) -> usize {
    let most = (HELD / vocabulary).clamp(8, 192);
    let rounds = rows.div_ceil(rayon::current_num_threads() * most).max(1);
    rows.div_ceil(rayon::current_num_threads() * rounds)
        .next_multiple_of(8)
        .min(most)
}

pub(crate) fn logits(head: &Tensor, hidden: &Tensor) -> Result<Tensor> {
    let (vocabulary, size) = head.dims2()?;
    let hidden = hidden.contiguous()?;
    let (head, hidden) = (Values::of(head)?, Values::of(&hidden)?);
    let (head, hidden): (&[f32], &[f32]) = (&head, &hidden);
    let rows = hidden.len() / size;
    let mut logits = vec![0f32; rows * vocabulary];
    if rows > FEW {
        let block = row_block(rows, vocabulary);
        logits
            .par_chunks_mut(block * vocabulary)
            .zip(hidden.par_chunks(block * size))
            .for_each(|(logits, hidden)| project(head, hidden, size, logits, vocabulary));
    } else {
        let share = vocabulary.div_ceil(rayon::current_num_threads() * 4);
        let parts: Vec<Vec<f32>> = head
            .par_chunks(share * size)
            .map(|head| {
                let width = head.len() / size;
                let mut part = vec![0f32; rows * width];
                skinny::matmul(hidden, size, head, &mut part, width);
                part
            })
            .collect();
        for (row, line) in logits.chunks_exact_mut(vocabulary).enumerate() {
            for (line, part) in line.chunks_mut(share).zip(&parts) {
                let width = line.len();
                line.copy_from_slice(&part[row * width..(row + 1) * width]);
            }
        }
    }
    Ok(Tensor::from_vec(logits, (rows, vocabulary), &Device::Cpu)?)
}

/// logits [rows, vocabulary] = hidden [rows, size] head^T
fn project(head: &[f32], hidden: &[f32], size: usize, logits: &mut [f32], vocabulary: usize) {
    let shape = (hidden.len() / size, vocabulary, size);
    let (hidden, head) = (Mat::rows(hidden, size), Mat::rows(head, size).t());
    matmul(Into::Set, logits, vocabulary, shape, hidden, head);
}

pub(crate) fn label_log_probs(head: &Tensor, hidden: &Tensor, labels: &[u32]) -> Result<Vec<f32>> {
    let (vocabulary, size) = head.dims2()?;
    let hidden = hidden.contiguous()?;
    let (head, hidden) = (Values::of(head)?, Values::of(&hidden)?);
    let (head, hidden): (&[f32], &[f32]) = (&head, &hidden);
    let block = row_block(labels.len(), vocabulary);
    let parts: Vec<Vec<f32>> = hidden
        .par_chunks(block * size)
        .zip(labels.par_chunks(block))
        .map(|(hidden, labels)| {
            let mut logits = vec![0f32; labels.len() * vocabulary];
            project(head, hidden, size, &mut logits, vocabulary);
            let lines = logits.chunks_exact(vocabulary).zip(labels);
            lines
                .map(|(line, label)| line[*label as usize] - softmax::log_sum_exp(line))
                .collect()
        })
        .collect();
    Ok(parts.concat())
}

pub(crate) fn loss(head: &Tensor, rows: &HeadRows) -> Result<HeadLoss> {
    let n = rows.labels.len();
    let (vocabulary, size) = head.dims2()?;
    let hidden = rows.hidden.contiguous()?;
    let reference = rows.reference.map(Tensor::contiguous).transpose()?;
    let reference = reference.as_ref().map(Values::of).transpose()?;
    let mut gradient = vec![0f32; n * size];
    let mut found = vec![[0f32; 2]; n];
    {
        let (head, hidden) = (Values::of(head)?, Values::of(&hidden)?);
        let (head, hidden): (&[f32], &[f32]) = (&head, &hidden);
        let reference: &[f32] = reference.as_deref().unwrap_or_default();
        let block = row_block(n, vocabulary);
        gradient
            .par_chunks_mut(block * size)
            .zip(found.par_chunks_mut(block))
            .enumerate()
            .for_each(|(index, (gradient, found))| {
                let start = index * block;
                let span = start..start + found.len();
                let values = start * size..span.end * size;
                Block {
                    head,
                    size,
                    vocabulary,
                    hidden: &hidden[values.clone()],
                    reference: reference.get(values),
                    labels: &rows.labels[span.clone()],
                    task_weights: &rows.task_weights[span.clone()],
                    kl_weights: &rows.kl_weights[span],
                }
                .run(gradient, found);
            });
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

/// Values that the loss of a micro-batch holds: logits of the rows at work, those of the
/// reference beside them, its hidden rows, and the gradient.
pub(crate) fn values(work: &StepWork, config: &Config) -> usize {
    let rows = work.answer_tokens;
    let block = row_block(rows, config.vocab_size);
    let at_work = rows.min(rayon::current_num_threads() * block);
    let sides = 1 + usize::from(work.held);
    sides * (at_work * config.vocab_size + rows * config.hidden_size)
}

/// Some rows of the loss.
struct Block<'a> {
    head: &'a [f32],
    size: usize,
    vocabulary: usize,
    hidden: &'a [f32],
    reference: Option<&'a [f32]>,
    labels: &'a [u32],
    task_weights: &'a [f32],
    kl_weights: &'a [f32],
}

impl Block<'_> {
    /// Writes the gradient of the hidden rows and [CE, KL] per row.
    fn run(&self, gradient: &mut [f32], found: &mut [[f32; 2]]) {
        let (v, rows) = (self.vocabulary, self.labels.len());
        let mut logits = vec![0f32; rows * v];
        project(self.head, self.hidden, self.size, &mut logits, v);
        let reference = self.reference.map(|hidden| {
            let mut logits = vec![0f32; rows * v];
            project(self.head, hidden, self.size, &mut logits, v);
            logits
        });
        for (row, (line, found)) in logits.chunks_exact_mut(v).zip(found).enumerate() {
            let label = self.labels[row] as usize;
            let (wa, wb) = (self.task_weights[row], self.kl_weights[row]);
            let total = softmax::log_sum_exp(line);
            found[0] = total - line[label];
            if let Some(reference) = &reference {
                let reference = &reference[row * v..(row + 1) * v];
                let other = softmax::log_sum_exp(reference);
                found[1] = softmax::divergence(line, total, reference, other, wa, wb);
            } else {
                softmax::slopes(line, total, wa);
            }
            line[label] -= wa;
        }
        drop(reference);
        let shape = (rows, self.size, v);
        let (slopes, head) = (Mat::rows(&logits, v), Mat::rows(self.head, self.size));
        matmul(Into::Set, gradient, self.size, shape, slopes, head);
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
