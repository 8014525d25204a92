//! The loss head in candle operations, for any device and type.

use candle_core::{D, DType, Tensor};
use candle_nn::ops::log_softmax;

use crate::decoder::{HeadLoss, HeadRows};
use crate::error::Result;

/// Rows per chunk: bounds the memory at this many rows of the vocabulary.
const CHUNK: usize = 256;

pub(crate) fn logits(head: &Tensor, hidden: &Tensor) -> Result<Tensor> {
    let hidden = hidden.detach().to_dtype(head.dtype())?.contiguous()?;
    let logits = hidden.matmul(&head.t()?)?;
    match logits.dtype() {
        DType::F16 | DType::BF16 => Ok(logits.to_dtype(DType::F32)?),
        _ => Ok(logits),
    }
}

fn chunks(rows: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..rows)
        .step_by(CHUNK)
        .map(move |start| (start, CHUNK.min(rows - start)))
}

pub(crate) fn label_log_probs(head: &Tensor, hidden: &Tensor, labels: &[u32]) -> Result<Vec<f32>> {
    let mut found = Vec::with_capacity(labels.len());
    for (start, count) in chunks(labels.len()) {
        let log_probs = log_softmax(&logits(head, &hidden.narrow(0, start, count)?)?, D::Minus1)?;
        let labels = Tensor::new(&labels[start..start + count], head.device())?;
        let picked = log_probs.gather(&labels.unsqueeze(1)?, 1)?.squeeze(1)?;
        found.extend(picked.to_dtype(DType::F32)?.to_vec1::<f32>()?);
    }
    Ok(found)
}

pub(crate) fn loss(head: &Tensor, rows: &HeadRows) -> Result<HeadLoss> {
    let n = rows.labels.len();
    let (mut task, mut kl) = (Vec::with_capacity(n), Vec::with_capacity(n));
    let mut gradients = Vec::new();
    for (start, count) in chunks(n) {
        let chunk = Chunk::new(head, rows, start, count)?;
        task.extend(chunk.task.to_dtype(DType::F32)?.to_vec1::<f32>()?);
        kl.extend(chunk.kl.to_dtype(DType::F32)?.to_vec1::<f32>()?);
        gradients.push(chunk.gradient);
    }
    let terms = task.iter().zip(rows.task_weights);
    let divergences = kl.iter().zip(rows.kl_weights);
    let value: f64 = terms
        .chain(divergences)
        .map(|(loss, weight)| f64::from(*loss) * f64::from(*weight))
        .sum();
    let gradient = Tensor::cat(&gradients, 0)?;
    // A linear function of the hidden rows whose slope is the gradient, moved
    // to the value of the loss: backward needs no logits.
    let slope = (rows.hidden.to_dtype(gradient.dtype())? * gradient)?.sum_all()?;
    let value = Tensor::new(value, head.device())?.to_dtype(slope.dtype())?;
    let loss = (&slope + (value - slope.detach())?)?;
    Ok(HeadLoss { loss, task, kl })
}

struct Chunk {
    /// [count]
    task: Tensor,
    /// [count]
    kl: Tensor,
    /// [count, hidden]
    gradient: Tensor,
}

impl Chunk {
    fn new(head: &Tensor, rows: &HeadRows, start: usize, count: usize) -> Result<Self> {
        let device = head.device();
        let log_probs = log_softmax(
            &logits(head, &rows.hidden.narrow(0, start, count)?)?,
            D::Minus1,
        )?;
        let dtype = log_probs.dtype();
        let column = |values: &[f32]| -> Result<Tensor> {
            let column = Tensor::new(&values[start..start + count], device)?;
            Ok(column.to_dtype(dtype)?.unsqueeze(1)?)
        };
        let labels = Tensor::new(&rows.labels[start..start + count], device)?.unsqueeze(1)?;
        let task_weights = column(rows.task_weights)?;
        let task = log_probs.gather(&labels, 1)?.neg()?;
        let mut total_weights = task_weights.clone();
        let mut kl = task.zeros_like()?;
        let mut pulled = None;
        if let Some(reference) = rows.reference {
            let kl_weights = column(rows.kl_weights)?;
            let reference = log_softmax(
                &logits(head, &reference.narrow(0, start, count)?)?,
                D::Minus1,
            )?;
            let probabilities = reference.exp()?;
            let gap = (reference - &log_probs)?;
            kl = (&probabilities * gap)?.sum_keepdim(1)?;
            total_weights = (total_weights + &kl_weights)?;
            pulled = Some(probabilities.broadcast_mul(&kl_weights)?);
        }
        let mut slopes = log_probs.exp()?.broadcast_mul(&total_weights)?;
        slopes = slopes.scatter_add(&labels, &task_weights.neg()?, 1)?;
        if let Some(pulled) = pulled {
            slopes = (slopes - pulled)?;
        }
        let gradient = slopes.to_dtype(head.dtype())?.matmul(head)?;
        Ok(Self {
            task: task.squeeze(1)?,
            kl: kl.squeeze(1)?,
            gradient,
        })
    }
}
