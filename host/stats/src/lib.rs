//! Statistics of scores, rates and means, and the streams of randomness they draw from.

mod mean;
pub mod random;
mod ranking;
mod wilson;

pub use mean::Mean;
pub use ranking::{auprc, auroc, tpr_at_fpr};
pub use wilson::{Rate, wilson_95};
