//! From a run's state to a checkpoint, and back.

use std::path::PathBuf;

use super::State;
use crate::error::{Error, Result};
use crate::parameters::optimizer::AdamW;
use crate::policies::PolicySet;
use crate::records::RunRecorder;
use crate::records::checkpoint::{FORMAT, Progress, Saved, Tensors};
use crate::records::{Ending, Totals};

impl State<'_> {
    /// Writes a checkpoint, to be gone on from at the step after this one.
    pub fn save(&self, totals: &Totals, books: &mut RunRecorder) -> Result<PathBuf> {
        let before = self.actuators.before.as_ref();
        let progress = Progress {
            format: FORMAT,
            step: totals.steps,
            updates: self.optimizer.updates,
            updates_before: before.map(|(_, optimizer)| optimizer.updates),
            averaged: self.actuators.shadow().is_some(),
            switched: self.actuators.switch.is_some(),
            mix: self.streams.as_ref().map(|streams| streams.mix),
            extra: self.extra.as_ref().map(|stream| stream.extra),
            gradient_conflict: self.conflict,
            policies: self.policy_set.as_ref().map_or(Vec::new(), PolicySet::states),
            previous: self.previous,
            not_finite: self.not_finite,
            totals: totals.clone(),
            records: books.records.mark()?,
        };
        let mut tensors: Tensors = vec![
            ("parameters", &self.parameters),
            ("first", &self.optimizer.first),
            ("second", &self.optimizer.second),
        ];
        if let Some(average) = self.actuators.shadow() {
            tensors.push(("average", average));
        }
        if let Some(switch) = &self.actuators.switch {
            tensors.push(("switch", switch));
        }
        if let Some((parameters, optimizer)) = before {
            tensors.push(("before.parameters", parameters));
            tensors.push(("before.first", &optimizer.first));
            tensors.push(("before.second", &optimizer.second));
        }
        books.checkpoints.write(&progress, &tensors)
    }

    /// Becomes what was saved.
    pub fn restore(&mut self, mut saved: Saved) -> Result<Totals> {
        let progress = saved.progress.clone();
        let wrong = |problem| Error::Resume {
            path: format!("the checkpoint of step {}", progress.step).into(),
            problem,
        };
        let size = self.layout.len();
        let mut take = |name: &str| saved.take(name, size).map_err(wrong);
        let adamw = self.spec.config.adamw();
        let with =
            |first, second, updates| AdamW::new(adamw, 0).with_moments(first, second, updates);
        self.parameters = take("parameters")?;
        self.optimizer = with(take("first")?, take("second")?, progress.updates);
        if let Some(updates) = progress.updates_before {
            let parameters = take("before.parameters")?;
            let moments = with(take("before.first")?, take("before.second")?, updates);
            self.actuators.before = Some((parameters, moments));
        }
        if progress.averaged {
            self.actuators.average = Some(take("average")?);
        }
        if progress.switched {
            self.actuators.switch = Some(take("switch")?);
        }
        if let (Some(streams), Some(mix)) = (&mut self.streams, progress.mix) {
            streams.mix = mix;
        }
        if let (Some(stream), Some(extra)) = (&mut self.extra, progress.extra) {
            stream.extra = extra;
        }
        self.conflict = progress.gradient_conflict;
        if let Some(policy_set) = &mut self.policy_set {
            policy_set.restore(&progress.policies).map_err(wrong)?;
        }
        if let Some(in_force) = progress.totals.steering {
            self.put_in_force(in_force)?;
        }
        self.previous = progress.previous;
        self.not_finite = progress.not_finite;
        self.layout.write(&self.parameters)?;
        let mut totals = progress.totals;
        // What was interrupted goes on; what a policy stopped does not.
        if totals.ending == Ending::Interrupted {
            totals.ending = Ending::Finished;
        }
        Ok(totals)
    }
}
