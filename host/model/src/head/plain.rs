//! The loss head in candle operations, for any device and type.

use candle_core::{D, DType, Tensor};
use candle_nn::ops::log_softmax;

use super::LossHead;
use crate::config::LogitFinish;
use crate::error::Result;
use crate::operation::{unary, wide, wide_type};
use crate::pass::{HeadLoss, HeadRows, TokenSubset};

/// Rows per chunk: bounds the memory at this many rows of the vocabulary.
const CHUNK: usize = 256;

/// In at least single precision, whatever the type of the head.
pub(crate) fn logits(head: &LossHead<Tensor>, hidden: &Tensor) -> Result<Tensor> {
    let matrix = head.matrix;
    let hidden = hidden.detach().to_dtype(matrix.dtype())?.contiguous()?;
    let products = wide(&hidden.matmul(&matrix.t()?)?)?;
    let LogitFinish { divisor, cap } = head.finish;
    match cap {
        Some(cap) => Ok(((products / (divisor * cap))?.tanh()? * cap)?),
        None if divisor != 1.0 => Ok((products / divisor)?),
        None => Ok(products),
    }
}

/// Turns slopes by logits into slopes by products.
fn finish_back(finish: LogitFinish, slopes: Tensor, logits: &Tensor) -> Result<Tensor> {
    let LogitFinish { divisor, cap } = finish;
    match cap {
        Some(cap) => {
            let kept = ((logits / cap)?.sqr()?.affine(-1.0, 1.0)? / divisor)?;
            Ok((slopes * kept)?)
        }
        None if divisor != 1.0 => Ok((slopes / divisor)?),
        None => Ok(slopes),
    }
}

fn chunks(rows: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..rows).step_by(CHUNK).map(move |start| (start, CHUNK.min(rows - start)))
}

/// Chunks of single precision, in one transfer to the host.
fn read(chunks: &[Tensor]) -> Result<Vec<f32>> {
    Ok(Tensor::cat(chunks, 0)?.to_dtype(DType::F32)?.to_vec1()?)
}

pub(crate) fn label_log_probs(
    head: &LossHead<Tensor>,
    hidden: &Tensor,
    labels: &[u32],
) -> Result<Vec<f32>> {
    let labels = Tensor::new(labels, head.matrix.device())?;
    let found = chunks(labels.elem_count()).map(|(start, count)| {
        let logits = logits(head, &hidden.narrow(0, start, count)?)?;
        let labels = labels.narrow(0, start, count)?.unsqueeze(1)?;
        let picked = log_softmax(&logits, D::Minus1)?.gather(&labels, 1)?;
        Ok(picked.squeeze(1)?)
    });
    read(&found.collect::<Result<Vec<_>>>()?)
}

pub(crate) fn loss(head: &LossHead<Tensor>, rows: &HeadRows<'_>) -> Result<HeadLoss> {
    let n = rows.labels.len();
    let inputs = Inputs::new(head, rows)?;
    let (mut task, mut kl, mut gradient) = (Vec::new(), Vec::new(), Vec::new());
    for (start, count) in chunks(n) {
        let chunk = inputs.chunk(start, count)?;
        task.push(chunk.task);
        kl.push(chunk.kl);
        gradient.push(chunk.gradient);
    }
    let (task, kl) = (read(&task)?, read(&kl)?);
    let terms = task.iter().zip(rows.task_weights);
    let divergences = kl.iter().zip(rows.kl_weights);
    let value: f64 =
        terms.chain(divergences).map(|(loss, weight)| f64::from(*loss) * f64::from(*weight)).sum();
    let gradient = Tensor::cat(&gradient, 0)?.to_dtype(rows.hidden.dtype())?;
    let value = Tensor::new(value, head.matrix.device())?.to_dtype(inputs.weights.dtype())?;
    // The gradient is made together with the value: backward needs no logits.
    let loss = unary(rows.hidden, value, move |_, _, g| {
        gradient.broadcast_mul(&g.to_dtype(gradient.dtype())?)
    })?;
    Ok(HeadLoss { loss, task, kl })
}

/// What the loss is made of, on the device.
struct Inputs<'a> {
    head: LossHead<'a, Tensor>,
    hidden: Tensor,
    reference: Option<Tensor>,
    /// [n, 1]
    labels: Tensor,
    /// [n, 2]: of task and KL, in the type of the logits.
    weights: Tensor,
    /// Tokens that the KL is over, if not all, and their ids.
    subset: Option<(&'a TokenSubset, Tensor)>,
}

struct Chunk {
    /// [count]
    task: Tensor,
    /// [count]
    kl: Tensor,
    /// [count, hidden]
    gradient: Tensor,
}

impl<'a> Inputs<'a> {
    fn new(head: &LossHead<'a, Tensor>, rows: &HeadRows<'a>) -> Result<Self> {
        let device = head.matrix.device();
        let pairs = rows.task_weights.iter().zip(rows.kl_weights);
        let weights: Vec<f32> = pairs.flat_map(|(task, kl)| [*task, *kl]).collect();
        let dtype = wide_type(head.matrix.dtype());
        let n = rows.labels.len();
        let with_ids = |subset: &'a TokenSubset| -> Result<_> {
            Ok((subset, Tensor::new(subset.ids(), device)?))
        };
        let subset = rows.subset.map(with_ids).transpose()?;
        Ok(Self {
            subset,
            head: LossHead { ..*head },
            hidden: rows.hidden.detach(),
            reference: rows.reference.map(Tensor::detach),
            labels: Tensor::new(rows.labels, device)?.unsqueeze(1)?,
            weights: Tensor::from_vec(weights, (n, 2), device)?.to_dtype(dtype)?,
        })
    }

    /// T^2 KL over the tokens of the subset [count, 1], and its slopes [count, tokens].
    fn over_subset(
        subset: &TokenSubset,
        ids: &Tensor,
        current: &Tensor,
        reference: &Tensor,
    ) -> Result<(Tensor, Tensor)> {
        let temperature = f64::from(subset.temperature());
        // Log-probabilities differ from logits by a constant of the row.
        let of = |all: &Tensor| -> Result<Tensor> {
            let scaled = (all.index_select(ids, 1)? / temperature)?;
            Ok(log_softmax(&scaled, D::Minus1)?)
        };
        let (current, reference) = (of(current)?, of(reference)?);
        let probabilities = reference.exp()?;
        let slopes = ((current.exp()? - &probabilities)? * temperature)?;
        let kl = (probabilities * (reference - current)?)?.sum_keepdim(1)?;
        Ok(((kl * (temperature * temperature))?, slopes))
    }

    fn chunk(&self, start: usize, count: usize) -> Result<Chunk> {
        let logits = |hidden: &Tensor| logits(&self.head, &hidden.narrow(0, start, count)?);
        let weights = self.weights.narrow(0, start, count)?;
        let (task_weights, kl_weights) = (weights.narrow(1, 0, 1)?, weights.narrow(1, 1, 1)?);
        let task_weights = task_weights.contiguous()?;
        let labels = self.labels.narrow(0, start, count)?;
        let finished = logits(&self.hidden)?;
        let current = log_softmax(&finished, D::Minus1)?;
        let task = current.gather(&labels, 1)?.neg()?;
        let mut total_weights = task_weights.clone();
        let mut kl = task.zeros_like()?;
        let (mut pulled, mut pulled_some) = (None, None);
        if let (Some(reference), Some((subset, ids))) = (&self.reference, &self.subset) {
            let reference = log_softmax(&logits(reference)?, D::Minus1)?;
            let (divergence, slopes) = Self::over_subset(subset, ids, &current, &reference)?;
            kl = divergence;
            pulled_some = Some((ids, slopes.broadcast_mul(&kl_weights)?));
        } else if let Some(reference) = &self.reference {
            let reference = log_softmax(&logits(reference)?, D::Minus1)?;
            let probabilities = reference.exp()?;
            let gap = (reference - &current)?;
            kl = (&probabilities * gap)?.sum_keepdim(1)?;
            total_weights = (total_weights + &kl_weights)?;
            pulled = Some(probabilities.broadcast_mul(&kl_weights)?);
        }
        let mut slopes = current.exp()?.broadcast_mul(&total_weights)?;
        slopes = slopes.scatter_add(&labels, &task_weights.neg()?, 1)?;
        if let Some(pulled) = pulled {
            slopes = (slopes - pulled)?;
        }
        if let Some((ids, pulls)) = pulled_some {
            slopes = slopes.index_add(ids, &pulls.contiguous()?, 1)?;
        }
        let matrix = self.head.matrix;
        let slopes = finish_back(self.head.finish, slopes, &finished)?;
        let gradient = slopes.to_dtype(matrix.dtype())?.matmul(matrix)?;
        Ok(Chunk { task: task.squeeze(1)?, kl: kl.squeeze(1)?, gradient })
    }
}
