//! Passes on what a run says, and tells its trackers.

use std::time::SystemTime;

use host_eval::evaluation::Evaluation;
use host_eval::selection::EvaluationRecord;
use host_trackers::{Arm, Event};

use super::{Tracking, figures};
use crate::records::StepRecord;
use crate::records::observer::{NoticeKeeper, Observer, Progress};

/// An observer that trackers listen to.
pub struct Watched<'a, 'k> {
    to: &'a mut NoticeKeeper<'k>,
    tracking: &'a Tracking,
    /// The training that goes on.
    training: Option<Training>,
}

struct Training {
    arm: Arm,
    /// What the model was before it.
    before: Vec<(String, f64)>,
    /// Whether a step of it was seen.
    has_begun: bool,
}

impl<'a, 'k> Watched<'a, 'k> {
    /// Tells first which stages are over.
    pub fn new(to: &'a mut NoticeKeeper<'k>, tracking: &'a Tracking) -> Self {
        for (title, at) in to.stages() {
            tracking.tell(|| Event::Stage { title: title.clone(), at: *at });
        }
        Self { to, tracking, training: None }
    }

    /// The steps to come are of this training.
    pub fn train(&mut self, arm: Arm, before: Option<&Evaluation>) {
        let before = before.map(figures::of_evaluation).unwrap_or_default();
        self.training = Some(Training { arm, before, has_begun: false });
    }

    /// An evaluation of the model that a training has made, after so many steps.
    pub fn evaluated(&mut self, arm: Arm, step: u64, evaluation: &Evaluation) {
        let values = || figures::of_evaluation(evaluation);
        self.tracking.tell(|| scalars(arm, step, values()));
        self.news();
    }

    fn news(&mut self) {
        for line in self.tracking.trackers.news() {
            self.to.notice(&line);
        }
    }

    /// The training that goes on, which has begun at this step if nothing was told of it.
    fn begun(&mut self, step: u64) -> Option<Arm> {
        let tracking = self.tracking;
        let training = self.training.as_mut()?;
        let arm = training.arm;
        if !std::mem::replace(&mut training.has_begun, true) {
            tracking.tell(|| Event::Training { arm, step, at: SystemTime::now() });
            // Of a training that goes on it was told before.
            let before = std::mem::take(&mut training.before);
            if step == 0 && !before.is_empty() {
                tracking.tell(|| scalars(arm, 0, before));
            }
        }
        Some(arm)
    }

    fn tell(&mut self, record: &StepRecord) {
        let (tracking, step) = (self.tracking, record.step);
        let Some(arm) = self.begun(step) else { return };
        tracking.tell(|| scalars(arm, step, figures::of_step(record)));
        let words = [("action", record.action), ("not_applied", record.not_applied.as_deref())];
        for (name, text) in words {
            let Some(text) = text else { continue };
            tracking.tell(|| Event::Text {
                arm,
                step,
                at: SystemTime::now(),
                name: format!("train/{name}"),
                text: text.into(),
            });
        }
    }
}

fn scalars(arm: Arm, step: u64, values: Vec<(String, f64)>) -> Event {
    Event::Scalars { arm, step, at: SystemTime::now(), values }
}

impl Progress for Watched<'_, '_> {
    fn stage(&mut self, what: &str, length: Option<u64>) {
        self.to.stage(what, length);
        self.tracking.tell(|| Event::Stage { title: what.into(), at: SystemTime::now() });
    }

    fn advance(&mut self, by: u64) {
        self.to.advance(by);
    }

    fn notice(&mut self, text: &str) {
        self.to.notice(text);
    }

    fn show(&mut self, title: &str, text: &str) {
        self.to.show(title, text);
    }

    fn is_stopping(&self) -> bool {
        self.to.is_stopping()
    }
}

impl Observer for Watched<'_, '_> {
    fn step(&mut self, record: &StepRecord) {
        self.to.step(record);
        if !self.tracking.trackers.is_empty() {
            self.tell(record);
            self.news();
        }
    }

    fn evaluated(&mut self, record: &EvaluationRecord) {
        self.to.evaluated(record);
        if !self.tracking.trackers.is_empty() {
            if let Some(arm) = self.begun(record.step) {
                let values = || figures::of_evaluation_during(record);
                self.tracking.tell(|| scalars(arm, record.step, values()));
            }
            self.news();
        }
    }
}
