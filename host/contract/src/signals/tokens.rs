//! Log-probabilities of the answer tokens.

use serde::{Deserialize, Serialize};
use wasmtime::component::{ComponentType, Lower};

use super::{
    Journalled, Missing, Needs, Recorded, Signal, Signals,
    lists::{Lists, ListsWriter, join},
    synthetic::{Damage, Step, Stream, Synthetic},
};
use crate::types::named_flags;

named_flags!(TokenNeeds {
    "current" => CURRENT,
    "reference" => REFERENCE,
});

/// Log-probabilities of the answer tokens (the labels); ragged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ComponentType, Lower)]
#[component(record)]
pub struct TokenSignals {
    /// One more than there are samples.
    pub offsets: Vec<u32>,
    /// Under the model in training; empty unless asked for.
    pub current: Vec<f32>,
    /// Under the reference; empty unless asked for.
    pub reference: Vec<f32>,
}

/// Log-probabilities as a journal holds them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenRows {
    offsets: Vec<u32>,
    /// SHA-256 of the little-endian f32 of each sample; empty if not asked for.
    current: Vec<String>,
    reference: Vec<String>,
}

pub(super) struct TokensSignal;

impl Signal for TokensSignal {
    fn name(&self) -> &'static str {
        "tokens"
    }

    fn need(&self) -> Option<&'static str> {
        Some("needs.tokens")
    }

    fn meaning(&self) -> &'static str {
        "log-probabilities of the answer tokens under the model in training and the reference"
    }

    fn asked(&self, needs: &Needs) -> bool {
        needs.tokens != TokenNeeds::empty()
    }

    fn example(&self, needs: &mut Needs) {
        needs.tokens = TokenNeeds::all();
    }

    fn exceeds(&self, narrow: &Needs, wide: &Needs) -> Option<String> {
        (!wide.tokens.contains(narrow.tokens)).then(|| "needs.tokens".to_owned())
    }

    fn summary(&self, needs: &Needs) -> Vec<String> {
        let tokens = needs.tokens.names();
        if tokens.is_empty() {
            Vec::new()
        } else {
            vec![format!("log-probabilities of the answer tokens: {}", tokens.join(" and "))]
        }
    }

    fn given(&self, signals: &Signals) -> bool {
        signals.tokens.is_some()
    }

    fn copy(&self, from: &Signals, to: &mut Signals) {
        to.tokens.clone_from(&from.tokens);
    }

    fn bytes(&self, signals: &Signals) -> usize {
        let bytes = |t: &TokenSignals| 4 * (t.offsets.len() + t.current.len() + t.reference.len());
        signals.tokens.as_ref().map_or(0, bytes)
    }

    fn record(&self, from: &Signals, to: &mut Recorded, lists: &mut dyn ListsWriter) {
        to.tokens = from.tokens.as_ref().map(|tokens| {
            let mut split = |values: &[f32]| {
                if values.is_empty() {
                    Vec::new()
                } else {
                    tokens
                        .offsets
                        .windows(2)
                        .map(|ends| lists.put(&values[ends[0] as usize..ends[1] as usize]))
                        .collect()
                }
            };
            TokenRows {
                current: split(&tokens.current),
                reference: split(&tokens.reference),
                offsets: tokens.offsets.clone(),
            }
        });
    }

    fn restore(&self, from: &Recorded, to: &mut Signals, lists: &dyn Lists) -> Result<(), String> {
        if let Some(tokens) = &from.tokens {
            to.tokens = Some(TokenSignals {
                offsets: tokens.offsets.clone(),
                current: join(&tokens.current, lists)?,
                reference: join(&tokens.reference, lists)?,
            });
        }
        Ok(())
    }

    fn digests<'a>(&self, recorded: &'a Recorded) -> Vec<&'a str> {
        let tokens = recorded.tokens.iter();
        let rows = tokens.flat_map(|tokens| tokens.current.iter().chain(&tokens.reference));
        rows.map(String::as_str).collect()
    }

    fn offer(&self, needs: &Needs, from: Journalled<'_>, to: &mut Signals) -> Result<(), Missing> {
        if !self.asked(needs) {
            return Ok(());
        }
        let all = || from.signals.iter().filter_map(|one| one.tokens.as_ref());
        let find = |flag: TokenNeeds, what: &str, list: fn(&TokenSignals) -> &Vec<f32>| {
            if !needs.tokens.contains(flag) {
                return Ok(Vec::new());
            }
            let found = all().map(list).find(|values| !values.is_empty());
            let what = || format!("{what} token log-probabilities");
            found.cloned().ok_or_else(|| Missing { field: "needs.tokens", what: what() })
        };
        to.tokens = Some(TokenSignals {
            current: find(TokenNeeds::CURRENT, "current", |tokens| &tokens.current)?,
            reference: find(TokenNeeds::REFERENCE, "reference", |tokens| &tokens.reference)?,
            offsets: all().next().map(|tokens| tokens.offsets.clone()).unwrap_or_default(),
        });
        Ok(())
    }

    fn synthesize(&self, made: &Synthetic<'_>, step: &Step, to: &mut Signals) {
        let mut offsets = vec![0];
        let (mut current, mut reference) = (Vec::new(), Vec::new());
        for row in &step.rows {
            let mut stream = Stream::new(made.seed, "tokens", &[row.key]);
            for _ in 0..made.answer_tokens(row) {
                let known = -0.1 - 2.0 * stream.unit();
                // The model in training has moved away from where harm is.
                let moved = known - (0.05 + row.level) * stream.unit();
                reference.push(known as f32);
                current.push(moved as f32);
            }
            offsets.push(reference.len() as u32);
        }
        if !made.needs.tokens.contains(TokenNeeds::CURRENT) {
            current.clear();
        }
        if !made.needs.tokens.contains(TokenNeeds::REFERENCE) {
            reference.clear();
        }
        to.tokens = Some(TokenSignals { offsets, current, reference });
    }

    fn reached_by(&self, damage: Damage) -> bool {
        matches!(damage, Damage::Margins(_))
    }

    fn damage(&self, signals: &mut Signals, damage: Damage) {
        if let (Some(tokens), Damage::Margins(value)) = (&mut signals.tokens, damage) {
            tokens.current.fill(value);
            tokens.reference.fill(value);
        }
    }
}
