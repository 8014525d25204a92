//! From the scores of prefixes to chunks of tokens.

use risk_policy::judgements::Score;
use risk_policy::prelude::*;
use risk_policy::regularization::risk_of_score;

/// Tokens between one prefix and the next, and the score of the longer one.
pub struct Chunk {
    pub tokens: usize,
    pub score: Score,
}

impl Chunk {
    /// V: 1 for a harmless prefix, 0 for the most harmful.
    pub fn safety(&self) -> f64 {
        1.0 - risk_of_score(self.score.value)
    }
}

/// The chunks of each sample; `unknown` stands in for a judgement that is none.
///
/// # Errors
/// If the judge's prefixes are not there, or don't cover every answer token once.
pub fn chunks(signals: &Signals, judge: &str, unknown: f64) -> Result<Vec<Vec<Chunk>>, String> {
    let all = signals.prefixes.iter().find(|scores| scores.judge == judge).ok_or_else(|| {
        format!("the scores of prefixes by the judge `{judge}` are needed, there are none")
    })?;
    let last = all.offsets.last().map_or(0, |end| *end as usize);
    let (samples, judged) = (signals.samples.len(), all.judgements.len());
    if all.offsets.len() != samples + 1 || judged != last || all.ends.len() != last {
        return Err(format!(
            "{} ends, {judged} judgements and {} offsets of prefixes do not fit {samples} samples",
            all.ends.len(),
            all.offsets.len(),
        ));
    }
    let bounds = all.offsets.windows(2).zip(&signals.samples);
    let chunks = bounds.enumerate().map(|(number, (bounds, sample))| {
        let range = bounds[0] as usize..bounds[1] as usize;
        let ends = all.ends.get(range.clone());
        let (Some(ends), Some(judgements)) = (ends, all.judgements.get(range)) else {
            return Err(format!("the offsets of sample {number} are not in order"));
        };
        let begins = std::iter::once(0).chain(ends.iter().copied());
        let ascend = begins.zip(ends).all(|(begin, end)| begin < *end);
        if !ascend || ends.last().copied().unwrap_or(0) != sample.answer_tokens {
            return Err(format!(
                "the prefixes of sample {number} do not cover its {} answer tokens",
                sample.answer_tokens
            ));
        }
        let begins = std::iter::once(0).chain(ends.iter().copied());
        let chunks = begins.zip(ends).zip(judgements);
        Ok(chunks
            .map(|((begin, end), judgement)| Chunk {
                tokens: (end - begin) as usize,
                score: Score::of(judgement, unknown),
            })
            .collect())
    });
    chunks.collect()
}
