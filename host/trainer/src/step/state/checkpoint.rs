//! From a run's state to a checkpoint, and back.

use std::path::PathBuf;

use host_eval::selection::Selection;

use super::State;
use crate::error::{Error, Result};
use crate::policies::PolicySet;
use crate::records::RunRecorder;
use crate::records::checkpoint::{FORMAT, Progress, Saved, Tensors};
use crate::records::{Ending, Totals};
use crate::step::evaluations::Best;

impl State<'_> {
    /// Writes a checkpoint, to be gone on from at the step after this one.
    pub fn save(&self, totals: &Totals, recorder: &mut RunRecorder) -> Result<PathBuf> {
        let mut progress = Progress {
            format: FORMAT,
            step: totals.steps,
            updates: self.optimizer.updates,
            updates_before: None,
            averaged: false,
            switched: false,
            mix: self.streams.as_ref().map(|streams| streams.mix),
            extra: self.extra.as_ref().map(|stream| stream.extra),
            gradient_conflict: self.conflict,
            anchors: self.anchors.as_ref().map(|anchors| (anchors.visits, anchors.seen.clone())),
            policies: self.policy_set.as_ref().map_or(Vec::new(), PolicySet::states),
            previous: self.previous,
            not_finite: self.not_finite,
            totals: totals.clone(),
            best_steering: self.best.as_ref().and_then(|best| best.steering),
            loss_trend: self.loss_trend.clone(),
            records: recorder.records.mark()?,
        };
        let mut tensors: Tensors = vec![
            ("parameters", &self.parameters),
            ("first", &self.optimizer.first),
            ("second", &self.optimizer.second),
        ];
        for actuator in &self.actuators {
            actuator.mark(&mut progress);
            tensors.extend(actuator.kept());
        }
        let direction = self.direction.iter().filter(|direction| !direction.is_empty());
        tensors.extend(direction.map(|direction| ("direction", &direction[..])));
        tensors.extend(self.best.iter().map(|best| ("best", &best.parameters[..])));
        recorder.checkpoints.write(&progress, &tensors)
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
        self.parameters = take("parameters")?;
        let (first, second) = (take("first")?, take("second")?);
        self.optimizer = self.optimizer.resumed(first, second, progress.updates);
        for actuator in &mut self.actuators {
            actuator.restore(&mut saved, size, &self.optimizer).map_err(wrong)?;
        }
        if self.direction.is_some() && saved.tensors.contains_key("direction") {
            self.direction = Some(saved.take("direction", size).map_err(wrong)?);
        }
        if saved.tensors.contains_key("best") {
            let parameters = saved.take("best", size).map_err(wrong)?;
            self.best = Some(Best { parameters, steering: progress.best_steering });
        }
        if let (Some(anchors), Some((visits, seen))) = (&mut self.anchors, progress.anchors.clone())
        {
            (anchors.visits, anchors.seen) = (visits, seen);
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
        self.loss_trend = progress.loss_trend;
        self.evaluated = progress.totals.evaluations.as_ref().and_then(Selection::reached);
        self.layout.write(&self.parameters)?;
        let mut totals = progress.totals;
        // What was interrupted goes on; what a policy stopped does not.
        if totals.ending == Ending::Interrupted {
            totals.ending = Ending::Finished;
        }
        Ok(totals)
    }
}
