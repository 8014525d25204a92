//! `[data]`: what a run trains on.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{DataSource, OneOrMany, Origin, Overlong, one_or_many};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// Training files, as a path or as { path, share, limit }.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<DataSource>")]
    pub train: Vec<DataSource>,
    /// More of them, all with the origin `alignment`.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<DataSource>")]
    pub alignment: Vec<DataSource>,
    /// Rows longer than this many tokens are treated as `overlong` says.
    pub max_tokens: usize,
    /// drop, error, or answer (cut the end of the answer).
    pub overlong: Overlong,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            train: Vec::new(),
            alignment: Vec::new(),
            max_tokens: 1024,
            overlong: Overlong::default(),
        }
    }
}

impl DataConfig {
    /// All files to train on.
    pub fn sources(&self) -> Vec<DataSource> {
        let alignment = self
            .alignment
            .iter()
            .map(|source| DataSource { origin: Origin::Alignment, ..source.clone() });
        self.train.iter().cloned().chain(alignment).collect()
    }
}
