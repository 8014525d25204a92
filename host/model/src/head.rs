//! The loss head: hidden rows to losses, in chunks of rows.

pub(crate) mod fused;
pub(crate) mod plain;

use crate::config::LogitFinish;

/// The matrix [vocabulary, hidden] that hidden rows are multiplied with, and what makes logits of
/// the products.
pub(crate) struct LossHead<'a, M> {
    pub matrix: &'a M,
    pub finish: LogitFinish,
}
