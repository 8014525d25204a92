//! Signals as a journal holds them: the long lists taken out, sample by sample.
//!
//! The reference's activations of a sample are the same in every epoch, so they are
//! stored once however often the sample comes.

use serde::{Deserialize, Serialize};

use super::{SIGNALS, Signals, activations::ActivationRows, tokens::TokenRows};

/// Keeps long lists, and gives each a name by its content.
pub trait ListsWriter {
    /// Keeps a list and returns its digest.
    fn put(&mut self, values: &[f32]) -> String;
}

/// Finds long lists by their digest.
pub trait Lists {
    /// A list that was kept.
    ///
    /// # Errors
    /// If it is not there, or not what it was.
    fn list(&self, digest: &str) -> Result<Vec<f32>, String>;
}

/// The signals of one step, as a record of a journal has them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recorded {
    /// All but activations and token log-probabilities, which are empty here.
    pub signals: Signals,
    pub(super) activations: Vec<ActivationRows>,
    pub(super) tokens: Option<TokenRows>,
}

impl Recorded {
    /// Puts the long lists into `lists`, and copies the rest.
    pub fn new(signals: &Signals, lists: &mut dyn ListsWriter) -> Self {
        let mut recorded = Self { signals: signals.unmeasured(), ..Self::default() };
        for signal in SIGNALS {
            signal.record(signals, &mut recorded, lists);
        }
        recorded
    }

    /// The signals as the policy got them.
    ///
    /// # Errors
    /// A list that is not there, or that is not what it was.
    pub fn restore(&self, lists: &dyn Lists) -> Result<Signals, String> {
        let mut signals = self.signals.unmeasured();
        for signal in SIGNALS {
            signal.restore(self, &mut signals, lists)?;
        }
        Ok(signals)
    }

    /// Digests of all lists that [`Recorded::restore`] reads.
    pub fn digests(&self) -> impl Iterator<Item = &str> {
        SIGNALS.iter().flat_map(|signal| signal.digests(self))
    }
}

/// Lists one after the other.
pub(super) fn join(digests: &[String], lists: &dyn Lists) -> Result<Vec<f32>, String> {
    let mut values = Vec::new();
    for digest in digests {
        values.extend(lists.list(digest)?);
    }
    Ok(values)
}
