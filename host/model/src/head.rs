//! The loss head: hidden rows to losses, in chunks of rows.

pub(crate) mod fused;
pub(crate) mod plain;
