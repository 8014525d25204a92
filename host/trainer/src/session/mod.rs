//! A whole fine-tune, from its configuration to its report: [`recipe`] on the root,
//! [`follow`] on the others.

mod anchors;
pub mod calibration;
pub mod capabilities;
pub mod card;
pub mod compared;
pub mod dry_run;
pub mod evidence;
pub mod follow;
pub mod load_policies;
pub mod manifest;
pub mod prepare;
pub mod recipe;
mod recomputed;
pub mod stages;
pub mod steering;
mod tracking;
pub mod training;
