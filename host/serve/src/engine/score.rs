//! Log-probabilities of tokens.

use candle_core::{IndexOp, Tensor};
use host_model::{Decoder, Overlay, Packed, Result};
use rayon::prelude::*;

use super::ask::Scored;

/// Rows of [rows, vocabulary] that are held at a time.
const ROWS: usize = 256;

/// The token `id` among logits [vocabulary], with the `top` likeliest ones.
pub fn scored(logits: &[f32], id: u32, top: usize) -> Scored {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|logit| f64::from(logit - highest).exp()).sum();
    let log_prob = |logit: f32| (f64::from(logit - highest) - sum.ln()) as f32;
    let likeliest = likeliest(logits, top);
    Scored {
        id,
        log_prob: logits.get(id as usize).map_or(f32::NEG_INFINITY, |logit| log_prob(*logit)),
        likeliest: likeliest.into_iter().map(|(id, logit)| (id, log_prob(logit))).collect(),
    }
}

/// The `count` largest logits, the largest first, the lower id of equals.
fn likeliest(logits: &[f32], count: usize) -> Vec<(u32, f32)> {
    let mut best: Vec<(u32, f32)> = Vec::with_capacity(count + 1);
    for (id, logit) in (0u32..).zip(logits.iter().copied()) {
        if best.len() == count && best.last().is_none_or(|(_, least)| logit <= *least) {
            continue;
        }
        let at = best.partition_point(|(_, other)| *other >= logit);
        best.insert(at, (id, logit));
        best.truncate(count);
    }
    best
}

/// A prompt whose tokens are scored.
pub struct Scoring<'a> {
    /// Its tokens.
    pub prompt: &'a [u32],
    /// How many likeliest tokens are told at each place.
    pub top: usize,
}

/// What was found of a prompt.
pub struct ScoredPrompt {
    /// Of its tokens; none for the first.
    pub scores: Vec<Option<Scored>>,
    /// Logits [vocabulary] of the next token; none without a token.
    pub next: Option<Tensor>,
}

/// Scores of prompts, which go through the model together.
///
/// # Errors
/// [`host_model::Error::Batch`] for prompts that the model can't take.
pub fn prompts(
    decoder: &Decoder,
    overlay: Overlay<'_>,
    asked: &[Scoring<'_>],
) -> Result<Vec<ScoredPrompt>> {
    let packed: Vec<&[u32]> = asked.iter().map(|one| one.prompt).collect();
    let hidden = decoder.infer(&Packed::from_sequences(&packed), overlay, &[])?.hidden;
    let mut begin = 0;
    let mut all = Vec::with_capacity(asked.len());
    for one in asked {
        let rows = hidden.narrow(0, begin, one.prompt.len())?;
        begin += one.prompt.len();
        all.push(prompt(decoder, &rows, one)?);
    }
    Ok(all)
}

fn prompt(decoder: &Decoder, hidden: &Tensor, asked: &Scoring<'_>) -> Result<ScoredPrompt> {
    let count = asked.prompt.len();
    let mut scores = vec![None];
    let mut last = None;
    for begin in (0..count).step_by(ROWS) {
        let rows = ROWS.min(count - begin);
        let logits = decoder.logits(&hidden.narrow(0, begin, rows)?.contiguous()?)?;
        let logits = logits.to_device(&candle_core::Device::Cpu)?;
        let told = logits.to_vec2::<f32>()?;
        let next = asked.prompt.get(begin + 1..).unwrap_or_default();
        let new: Vec<Option<Scored>> = told
            .par_iter()
            .zip(next.par_iter())
            .map(|(logits, id)| Some(scored(logits, *id, asked.top)))
            .collect();
        scores.extend(new);
        last = Some(logits.i(rows - 1)?);
    }
    Ok(ScoredPrompt { scores, next: last })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_add_up_and_the_likeliest_come_first() {
        let logits = [0.5, 3.0, -1.0, 3.0, f32::NEG_INFINITY];
        let all = scored(&logits, 2, 5);
        let sum: f64 = all.likeliest.iter().map(|(_, log_prob)| f64::from(*log_prob).exp()).sum();
        assert!((sum - 1.0).abs() < 1e-6, "{sum}");
        let ids: Vec<u32> = all.likeliest.iter().map(|(id, _)| *id).collect();
        assert_eq!(ids, [1, 3, 0, 2, 4]);
        assert_eq!(all.log_prob, all.likeliest[3].1);
        // The likeliest token has the very bits that it has among the likeliest.
        let best = scored(&logits, 1, 1);
        assert_eq!(best.likeliest, [(1, best.log_prob)]);
        assert_eq!(scored(&logits, 0, 0).likeliest, []);
    }
}
