//! Measures of a model's answers and of a classifier's scores: pure functions.

mod answers;
mod harm;
mod mean;
mod rate;
pub mod refusal;
mod strongreject;

pub use answers::{
    choice_letter, exact_match, final_number, normalised, number_match, pick_choice,
};
pub use harm::{Grade, Harm, Unknown};
pub use host_stats::{auprc, auroc, tpr_at_fpr, wilson_95};
pub use mean::Mean;
pub use rate::Rate;
pub use refusal::{Outcome, RefusalDetector, RefusalJudge, RefusalsBy};
pub use strongreject::strongreject;
