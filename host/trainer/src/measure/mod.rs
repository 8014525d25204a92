//! Measures of a model's answers and of a classifier's scores: pure functions.

mod answers;
mod harm;
mod mean;
mod ranking;
mod refusal;
mod strongreject;
mod wilson;

pub use answers::{
    choice_letter, exact_match, final_number, normalised, number_match, pick_choice,
};
pub use harm::{Grade, Harm, Unknown};
pub use mean::Mean;
pub use ranking::{auprc, auroc, tpr_at_fpr};
pub use refusal::{REFUSAL_WINDOW, attack_success, is_refusal, refusal_rate};
pub use strongreject::strongreject;
pub use wilson::{Rate, wilson_95};
