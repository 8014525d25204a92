//! Evaluations between steps, and the best adapter that they have found.
//!
//! The root evaluates, and the others wait for what it says. An evaluation is a function of the
//! parameters at a step: one that was cut off is done again where the run goes on, before the
//! next step.

use host_data::Failure;
use host_eval::evaluation::Examination;
use host_eval::report::SteeringState;
use host_eval::selection::Choice;
use serde::{Deserialize, Serialize};

use crate::config::{Keep, RunConfig};
use crate::error::{Error, Result};
use crate::records::{Ending, Totals};

/// When a training is evaluated, and what follows from it.
#[derive(Clone, Copy)]
pub struct Evaluations<'a> {
    /// Optimizer steps between two.
    pub every: u64,
    pub choice: Choice,
    /// Whether the best adapter is to be kept.
    pub keeps_best: bool,
    /// So many in a row without an improvement end the training.
    pub patience: Option<u64>,
    /// What is asked; the root alone has it.
    pub examination: Option<&'a Examination>,
}

impl<'a> Evaluations<'a> {
    /// As the configuration says, if it asks for any.
    ///
    /// # Errors
    /// As [`RunConfig::choice`].
    pub fn of(config: &RunConfig, examination: Option<&'a Examination>) -> Result<Option<Self>> {
        let (Some(every), Some(choice)) = (config.eval.during.every, config.choice()?) else {
            return Ok(None);
        };
        let (keeps_best, patience) = (config.train.keep == Keep::Best, config.train.patience);
        Ok(Some(Self { every, choice, keeps_best, patience, examination }))
    }
}

/// The adapter of the best evaluation so far.
#[derive(Debug, Clone)]
pub struct Best {
    pub parameters: Vec<f32>,
    pub steering: Option<SteeringState>,
}

/// What came of an evaluation, or that none was due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Evaluated {
    NotDue,
    Done,
    /// There was no improvement for too long.
    OutOfPatience,
    /// Somebody asked to stop before it was over; it is still due.
    Interrupted,
}

/// What an evaluation means for the training. One that was interrupted where there is no step
/// left to go on with ends the work on it.
pub fn conclude(evaluated: Evaluated, totals: &mut Totals, total: u64) -> Result<()> {
    let goes_on = totals.ending == Ending::Finished && totals.steps < total;
    match evaluated {
        Evaluated::OutOfPatience if goes_on => totals.ending = Ending::EarlyStop,
        Evaluated::Interrupted if goes_on && totals.steps > 0 => {
            totals.ending = Ending::Interrupted;
        }
        Evaluated::Interrupted => return Err(Error::Failure(Failure::Interrupted)),
        _ => {}
    }
    Ok(())
}
