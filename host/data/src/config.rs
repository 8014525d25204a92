//! `[data]`: what a run trains on.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::notices::{BadRows, OnBadRow};
use crate::origin::Origin;
use crate::overlong::Overlong;
use crate::source::{DataSource, OneOrMany, one_or_many};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// Training files or data sets of the Hub (org/name[@revision][:split]), as a path or as
    /// { path, share, limit }.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<DataSource>")]
    pub train: Vec<DataSource>,
    /// More of them, all with the origin `alignment`.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<DataSource>")]
    pub alignment: Vec<DataSource>,
    /// Takes a part of the task rows out of training, drawn by the seed, to measure the loss on
    /// them during training: below 1 a share of the rows, else their number. Rows with the same
    /// prompt stay together.
    pub validation: Option<f64>,
    /// Rows longer than this many tokens are treated as `overlong` says.
    pub max_tokens: usize,
    /// drop, error, or answer (cut the end of the answer).
    pub overlong: Overlong,
    /// What becomes of a row that can't be used, in these and all other data files: error, or
    /// skip (leave it out and count it).
    pub on_bad_row: OnBadRow,
    /// With skip: largest share of a file's rows that may be left out, rounded up.
    pub bad_row_limit: f64,
    /// Memory for training rows as tokens (and as text, which judges read), in MiB. The others are kept in a
    /// temporary file (in TMPDIR, else /var/tmp) and read from there when a step needs them.
    pub memory_mib: u64,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            train: Vec::new(),
            alignment: Vec::new(),
            validation: None,
            max_tokens: 1024,
            overlong: Overlong::default(),
            on_bad_row: OnBadRow::default(),
            bad_row_limit: 0.01,
            memory_mib: 1024,
        }
    }
}

impl DataConfig {
    /// How rows that can't be used are treated.
    pub fn bad_rows(&self) -> BadRows {
        BadRows { on_bad_row: self.on_bad_row, limit: self.bad_row_limit }
    }

    /// Bytes of training rows that stay in memory.
    pub(super) fn memory(&self) -> u64 {
        self.memory_mib.saturating_mul(1 << 20)
    }

    /// All files to train on.
    pub fn sources(&self) -> Vec<DataSource> {
        let alignment = self
            .alignment
            .iter()
            .map(|source| DataSource { origin: Origin::Alignment, ..source.clone() });
        self.train.iter().cloned().chain(alignment).collect()
    }
}
