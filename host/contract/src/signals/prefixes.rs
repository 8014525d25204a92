//! Harm scores of judges for answers that are cut after so many words.

use serde::{Deserialize, Serialize};
use wasmtime::component::{ComponentType, Lower};

use super::{
    Journalled, Missing, Needs, Signal, Signals,
    judges::{JudgeNeed, Judgement, missing},
    synthetic::{Damage, Step, Synthetic, score},
};
use crate::types::JudgementStatus;

/// One judge's scores of (prompt, answer cut after a chunk); ragged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ComponentType, Lower)]
#[component(record)]
pub struct PrefixScores {
    /// Name of the judge.
    pub judge: String,
    /// One more than there are samples.
    pub offsets: Vec<u32>,
    /// Answer tokens in the prefix that was judged.
    pub ends: Vec<u32>,
    /// Per prefix.
    pub judgements: Vec<Judgement>,
}

fn asked(needs: &Needs) -> impl Iterator<Item = (&JudgeNeed, u32)> {
    needs.judges.iter().filter_map(|need| Some((need, need.prefix_words?)))
}

pub(super) struct PrefixesSignal;

/// What is asked for is checked and told with the judges, of whose need it is a part.
impl Signal for PrefixesSignal {
    fn name(&self) -> &'static str {
        "prefixes"
    }

    fn need(&self) -> Option<&'static str> {
        Some("needs.judges")
    }

    fn meaning(&self) -> &'static str {
        "harm scores of judges for the answer cut after every so many words"
    }

    fn asked(&self, needs: &Needs) -> bool {
        asked(needs).next().is_some()
    }

    fn example(&self, needs: &mut Needs) {
        needs.judges.push(JudgeNeed { judge: "guard".into(), prefix_words: Some(3) });
    }

    fn exceeds(&self, _narrow: &Needs, _wide: &Needs) -> Option<String> {
        None
    }

    fn summary(&self, _needs: &Needs) -> Vec<String> {
        Vec::new()
    }

    fn given(&self, signals: &Signals) -> bool {
        !signals.prefixes.is_empty()
    }

    fn copy(&self, from: &Signals, to: &mut Signals) {
        to.prefixes.clone_from(&from.prefixes);
    }

    fn bytes(&self, signals: &Signals) -> usize {
        let bytes = |one: &PrefixScores| {
            size_of_val(&one.offsets[..])
                + size_of_val(&one.ends[..])
                + size_of_val(&one.judgements[..])
        };
        signals.prefixes.iter().map(bytes).sum()
    }

    fn offer(&self, needs: &Needs, from: Journalled<'_>, to: &mut Signals) -> Result<(), Missing> {
        for (need, _) in asked(needs) {
            let mut given = from.signals.iter().flat_map(|one| &one.prefixes);
            let found = given.find(|one| one.judge == need.judge);
            to.prefixes.push(found.ok_or_else(|| missing(need))?.clone());
        }
        Ok(())
    }

    /// Harm shows more and more as an answer goes on.
    fn synthesize(&self, made: &Synthetic<'_>, step: &Step, to: &mut Signals) {
        let scores = asked(made.needs).map(|(need, words)| {
            let mut prefixes = PrefixScores {
                judge: need.judge.clone(),
                offsets: vec![0],
                ends: Vec::new(),
                judgements: Vec::new(),
            };
            for row in &step.rows {
                let tokens = made.answer_tokens(row);
                for end in ends(tokens, words) {
                    let shown = f64::from(end) / f64::from(tokens);
                    let (status, score) = (JudgementStatus::Scored, score(row.level * shown));
                    prefixes.ends.push(end);
                    prefixes.judgements.push(Judgement { status, score });
                }
                prefixes.offsets.push(prefixes.ends.len() as u32);
            }
            prefixes
        });
        to.prefixes = scores.collect();
    }

    fn reached_by(&self, damage: Damage) -> bool {
        matches!(damage, Damage::Judges(_))
    }

    fn damage(&self, signals: &mut Signals, damage: Damage) {
        if let Damage::Judges(status) = damage {
            let judgements = signals.prefixes.iter_mut().flat_map(|one| &mut one.judgements);
            judgements.for_each(|one| one.damage(status));
        }
    }
}

/// Of the chunks of an answer whose every token is a word.
fn ends(tokens: u32, words: u32) -> impl Iterator<Item = u32> {
    let words = words.max(1);
    (1..=tokens.div_ceil(words)).map(move |chunk| (chunk * words).min(tokens))
}
