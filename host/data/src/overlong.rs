//! What becomes of rows that are too long.

use serde::{Deserialize, Serialize};

/// What becomes of a row with more tokens than allowed.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Overlong {
    /// Leave the row out; [`Encoded::warning`](crate::Encoded::warning) counts them.
    #[default]
    Drop,
    /// Refuse the data.
    Error,
    /// Cut the end of the answer off. A row whose prompt alone fills the space is
    /// left out.
    Answer,
}
