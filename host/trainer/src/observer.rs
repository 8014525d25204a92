//! How a run tells a person what it is doing. The cli draws it; tests ignore it.

use crate::records::StepRecord;

pub trait Observer {
    /// A stage begins, such as "calibrating probe on 400 prompts". `length` counts
    /// the `advance` calls to come, if known.
    fn stage(&mut self, what: &str, length: Option<u64>);

    /// Some of the stage's length is done.
    fn advance(&mut self, by: u64);

    /// An optimizer step is done.
    fn step(&mut self, record: &StepRecord);

    /// Something worth knowing that is no error.
    fn notice(&mut self, text: &str);

    /// Lines to keep on the screen, such as the first rendered example.
    fn show(&mut self, title: &str, text: &str);
}

/// For callers that don't watch.
pub struct Silent;

impl Observer for Silent {
    fn stage(&mut self, _: &str, _: Option<u64>) {}
    fn advance(&mut self, _: u64) {}
    fn step(&mut self, _: &StepRecord) {}
    fn notice(&mut self, _: &str) {}
    fn show(&mut self, _: &str, _: &str) {}
}
