//! How long work tells a person what it is doing. The cli draws it; tests ignore it.

/// Receives what a stage of work has to say while it goes on.
pub trait Progress {
    /// A stage begins, such as "calibrating probe on 400 prompts". `length` counts
    /// the `advance` calls to come, if known.
    fn stage(&mut self, what: &str, length: Option<u64>);

    /// Some of the stage's length is done.
    fn advance(&mut self, by: u64);

    /// Something worth knowing that is no error.
    fn notice(&mut self, text: &str);

    /// Lines to keep on the screen, such as the first rendered example.
    fn show(&mut self, title: &str, text: &str);

    /// Characters that a line of [`Progress::show`] has room for, if that is limited.
    fn width(&self) -> Option<usize> {
        None
    }

    /// Whether the person wants it to stop: work that has nothing to save yet ends then.
    fn is_stopping(&self) -> bool {
        false
    }
}

/// For callers that don't watch.
pub struct Silent;

impl Progress for Silent {
    fn stage(&mut self, _: &str, _: Option<u64>) {}
    fn advance(&mut self, _: u64) {}
    fn notice(&mut self, _: &str) {}
    fn show(&mut self, _: &str, _: &str) {}
}
