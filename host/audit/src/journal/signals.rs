//! Signals with their long lists taken out, sample by sample.
//!
//! The reference's activations of a sample are the same in every epoch, so they are
//! stored once however often the sample comes.

use serde::{Deserialize, Serialize};

use super::blobs::{Blobs, BlobsWriter};
use host_contract::{Activations, Signals, Tap, TokenSignals};
use host_sandbox::Result;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedSignals {
    /// All but activations and token log-probabilities, which are empty here.
    pub signals: Signals,
    activations: Vec<Rows>,
    tokens: Option<TokenRows>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rows {
    tap: Tap,
    layers: u32,
    hidden: u32,
    /// SHA-256 of the little-endian f32 of each sample.
    samples: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenRows {
    offsets: Vec<u32>,
    /// Per sample, likewise; empty if not asked for.
    current: Vec<String>,
    reference: Vec<String>,
}

impl RecordedSignals {
    /// Puts the long lists into `blobs`.
    pub(super) fn new(signals: &Signals, blobs: &mut BlobsWriter) -> Self {
        let activations = signals.activations.iter();
        let activations = activations.map(|one| rows(one, blobs)).collect();
        let tokens = signals.tokens.as_ref();
        let tokens = tokens.map(|tokens| token_rows(tokens, blobs));
        // Field by field, so that no long list is copied.
        let signals = Signals {
            step: signals.step,
            learning_rate: signals.learning_rate,
            samples: signals.samples.clone(),
            activations: Vec::new(),
            judges: signals.judges.clone(),
            prefixes: signals.prefixes.clone(),
            tokens: None,
            canary: signals.canary.clone(),
            trials: signals.trials.clone(),
            gradient_conflict: signals.gradient_conflict,
            drift: signals.drift,
            steering: signals.steering.clone(),
            previous: signals.previous,
        };
        Self { signals, activations, tokens }
    }

    /// The signals as the policy got them.
    ///
    /// # Errors
    /// A list that is not there, or that is not what it was.
    pub(super) fn restore(&self, blobs: &Blobs) -> Result<Signals> {
        let mut signals = self.signals.clone();
        for rows in &self.activations {
            signals.activations.push(Activations {
                tap: rows.tap.clone(),
                samples: rows.samples.len() as u32,
                layers: rows.layers,
                hidden: rows.hidden,
                values: join(&rows.samples, blobs)?,
            });
        }
        if let Some(tokens) = &self.tokens {
            signals.tokens = Some(TokenSignals {
                offsets: tokens.offsets.clone(),
                current: join(&tokens.current, blobs)?,
                reference: join(&tokens.reference, blobs)?,
            });
        }
        Ok(signals)
    }

    /// Whether `restore` will find everything.
    pub(super) fn is_complete(&self, blobs: &Blobs) -> bool {
        let tokens = self.tokens.iter();
        let tokens = tokens.flat_map(|tokens| tokens.current.iter().chain(&tokens.reference));
        let activations = self.activations.iter().flat_map(|rows| &rows.samples);
        activations.chain(tokens).all(|digest| blobs.has(digest))
    }
}

fn rows(activations: &Activations, blobs: &mut BlobsWriter) -> Rows {
    let per_sample = (activations.layers * activations.hidden).max(1) as usize;
    Rows {
        tap: activations.tap.clone(),
        layers: activations.layers,
        hidden: activations.hidden,
        samples: activations.values.chunks(per_sample).map(|row| blobs.put_floats(row)).collect(),
    }
}

fn token_rows(tokens: &TokenSignals, blobs: &mut BlobsWriter) -> TokenRows {
    let mut split = |values: &[f32]| match values.is_empty() {
        true => Vec::new(),
        false => tokens
            .offsets
            .windows(2)
            .map(|ends| blobs.put_floats(&values[ends[0] as usize..ends[1] as usize]))
            .collect(),
    };
    TokenRows {
        current: split(&tokens.current),
        reference: split(&tokens.reference),
        offsets: tokens.offsets.clone(),
    }
}

fn join(digests: &[String], blobs: &Blobs) -> Result<Vec<f32>> {
    let mut values = Vec::new();
    for digest in digests {
        values.extend(blobs.floats(digest)?);
    }
    Ok(values)
}
