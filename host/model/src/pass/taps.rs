//! Reading mean hidden states on the way through a forward pass.

use std::ops::Range;

use crate::config::Config;
use crate::error::{Error, Result};

/// Row ranges of a packed batch whose mean hidden state is wanted.
/// Layer 0 is the embeddings, layer i the residual stream after block i,
/// before the final norm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TapRows {
    /// 0 to the number of blocks.
    pub layer: usize,
    /// Ranges of rows, each with a mean of its own.
    pub rows: Vec<Range<usize>>,
}

pub(crate) fn validate(taps: &[TapRows], config: &Config, rows: usize) -> Result<()> {
    for tap in taps {
        if tap.layer > config.num_layers {
            return Err(Error::batch(
                format!("layer {} is tapped", tap.layer),
                format!("choose 0 to {}", config.num_layers),
            ));
        }
        if let Some(range) = tap.rows.iter().find(|r| r.is_empty() || r.end > rows) {
            return Err(Error::batch(
                format!("rows {range:?} are tapped in a batch of {rows}"),
                "choose a non-empty range inside the batch",
            ));
        }
    }
    Ok(())
}
