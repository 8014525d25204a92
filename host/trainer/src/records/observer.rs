//! How a run tells a person what it is doing.

use std::time::SystemTime;

pub use host_data::{Progress, Silent};

use host_eval::selection::EvaluationRecord;

use crate::records::StepRecord;

/// Progress of a whole run.
pub trait Observer: Progress {
    /// An optimizer step is done.
    fn step(&mut self, record: &StepRecord);

    /// The model was evaluated between two steps.
    fn evaluated(&mut self, _: &EvaluationRecord) {}
}

impl Observer for Silent {
    fn step(&mut self, _: &StepRecord) {}
}

/// Passes everything on, and keeps what it was told that is worth knowing for the run's manifest.
pub struct NoticeKeeper<'a> {
    to: &'a mut dyn Observer,
    notices: Vec<String>,
    stages: Vec<(String, SystemTime)>,
}

impl<'a> NoticeKeeper<'a> {
    pub fn new(to: &'a mut dyn Observer) -> Self {
        Self { to, notices: Vec::new(), stages: Vec::new() }
    }

    /// Every notice so far, each once, in order.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// Every stage so far, and when it began.
    pub fn stages(&self) -> &[(String, SystemTime)] {
        &self.stages
    }
}

impl Progress for NoticeKeeper<'_> {
    fn stage(&mut self, what: &str, length: Option<u64>) {
        self.stages.push((what.to_owned(), SystemTime::now()));
        self.to.stage(what, length);
    }

    fn advance(&mut self, by: u64) {
        self.to.advance(by);
    }

    fn notice(&mut self, text: &str) {
        if !self.notices.iter().any(|known| known == text) {
            self.notices.push(text.to_owned());
        }
        self.to.notice(text);
    }

    fn show(&mut self, title: &str, text: &str) {
        self.to.show(title, text);
    }

    fn width(&self) -> Option<usize> {
        self.to.width()
    }

    fn is_stopping(&self) -> bool {
        self.to.is_stopping()
    }
}

impl Observer for NoticeKeeper<'_> {
    fn step(&mut self, record: &StepRecord) {
        self.to.step(record);
    }

    fn evaluated(&mut self, record: &EvaluationRecord) {
        self.to.evaluated(record);
    }
}
