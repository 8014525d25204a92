//! The fine-tune itself: what a step measures, what policies steer, and the run around it.
//!
//! From the ground up: [`config`] and [`ranks`]; [`parameters`] of the adapter; [`policies`]
//! at work; [`actuators`] and [`signals`], which act and measure for them; [`records`] of a
//! run; [`step`], the training loop; [`session`], a whole fine-tune from its configuration
//! to its report. A room uses those before it.

pub mod actuators;
pub mod config;
pub mod error;
pub mod parameters;
pub mod policies;
pub mod program;
pub mod ranks;
pub mod records;
pub mod session;
pub mod signals;
pub mod step;

pub use config::RunConfig;
pub use error::{Error, Result};

// What the program and the study use, under short names.
pub use actuators::objective;
pub use parameters::{distance as drift, optimizer};
pub use records::{observer, run_dir};
pub use session::{
    calibration, card, compared, dry_run, evidence, follow, load_policies, manifest, prepare,
    recipe, steering,
};
pub use signals::{reference, sensors, taps};
pub use step::micro_batch;

pub use host_data as data;
pub use host_data::demo;
pub use host_eval::{canary, compare, evaluation, measure, report, selection};
pub use host_judges as judges;
