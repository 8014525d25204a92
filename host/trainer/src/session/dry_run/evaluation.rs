//! What evaluations between the steps take: one is done, and timed.

use std::sync::atomic::AtomicBool;
use std::time::Instant;

use host_eval::canary::Canary;
use host_eval::evaluation::Examination;
use host_model::Model;
use host_model::lora::Lora;
use serde::Serialize;

use super::process;
use crate::config::{Keep, RunConfig};
use crate::error::Result;
use crate::parameters::Layout;

/// Of one training.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct EvaluationEstimate {
    /// The one of the reference included; patience may end the training before the last.
    pub count: u64,
    /// Of one.
    pub seconds: f64,
    /// What one adds to memory at most, where the system says it.
    pub bytes: Option<u64>,
    /// What the best adapter takes, if it is kept.
    #[serde(skip)]
    pub best: u64,
}

impl EvaluationEstimate {
    /// If there are any.
    pub fn measure(
        examination: Option<&Examination>,
        config: &RunConfig,
        steps: u64,
        (model, canary): (&Model, Option<&Canary>),
        adapter: &Lora,
    ) -> Result<Option<Self>> {
        let (Some(examination), Some(every)) = (examination, config.eval.during.every) else {
            return Ok(None);
        };
        let (before, clock) = (process::resident(), Instant::now());
        examination.examine(model, canary, Some(adapter), &AtomicBool::new(false))?;
        let seconds = clock.elapsed().as_secs_f64();
        let added = |before: process::Resident, after: process::Resident| {
            after.peak.saturating_sub(before.now)
        };
        let keeps_best = config.train.keep == Keep::Best;
        Ok(Some(Self {
            count: 1 + steps.div_ceil(every),
            seconds,
            bytes: before.zip(process::resident()).map(|(before, after)| added(before, after)),
            best: if keeps_best {
                (Layout::new(adapter).len() * size_of::<f32>()) as u64
            } else {
                0
            },
        }))
    }
}
