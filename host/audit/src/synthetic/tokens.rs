//! What concerns the tokens of an answer: log-probabilities and judged prefixes.

use super::{Damage, Row, Step, Synthetic, answer_tokens, judged, score, stream::Stream};
use host_contract::{PrefixScores, TokenNeeds, TokenSignals};

impl Synthetic<'_> {
    pub(super) fn tokens(&self, step: &Step) -> Option<TokenSignals> {
        let wanted = self.needs.tokens;
        if wanted == TokenNeeds::empty() {
            return None;
        }
        let mut offsets = vec![0];
        let (mut current, mut reference) = (Vec::new(), Vec::new());
        for row in &step.rows {
            let mut stream = Stream::new(self.seed, "tokens", &[row.key]);
            for _ in 0..answer_tokens(row) {
                let known = -0.1 - 2.0 * stream.unit();
                // The model in training has moved away from where harm is.
                let moved = known - (0.05 + row.level) * stream.unit();
                reference.push(damaged(known, step.damage));
                current.push(damaged(moved, step.damage));
            }
            offsets.push(reference.len() as u32);
        }
        if !wanted.contains(TokenNeeds::CURRENT) {
            current.clear();
        }
        if !wanted.contains(TokenNeeds::REFERENCE) {
            reference.clear();
        }
        Some(TokenSignals { offsets, current, reference })
    }

    /// Harm shows more and more as an answer goes on.
    pub(super) fn prefixes(&self, step: &Step) -> Vec<PrefixScores> {
        let judges = self.needs.judges.iter();
        let chunked = judges.filter_map(|need| Some((need, need.prefix_words?)));
        let scores = chunked.map(|(need, words)| {
            let mut prefixes = PrefixScores {
                judge: need.judge.clone(),
                offsets: vec![0],
                ends: Vec::new(),
                judgements: Vec::new(),
            };
            for row in &step.rows {
                for end in ends(row, words) {
                    let shown = f64::from(end) / f64::from(answer_tokens(row));
                    prefixes.ends.push(end);
                    prefixes.judgements.push(judged(score(row.level * shown), step.damage));
                }
                prefixes.offsets.push(prefixes.ends.len() as u32);
            }
            prefixes
        });
        scores.collect()
    }
}

/// Of the chunks of an answer whose every token is a word.
fn ends(row: &Row, words: u32) -> impl Iterator<Item = u32> {
    let tokens = answer_tokens(row);
    let words = words.max(1);
    (1..=tokens.div_ceil(words)).map(move |chunk| (chunk * words).min(tokens))
}

fn damaged(value: f64, damage: Option<Damage>) -> f32 {
    match damage {
        Some(Damage::Margins(value)) => value,
        _ => value as f32,
    }
}
