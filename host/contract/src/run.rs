//! What a run has, on which it depends what it can measure and steer for a policy.

/// Parts of a run that not every run has.
#[derive(Debug, Clone, Copy)]
pub struct RunCapabilities<'a> {
    /// Held-out harmful prompts.
    pub canary: bool,
    /// Rows of the task.
    pub task: bool,
    /// Rows of alignment data.
    pub alignment: bool,
    /// The model before its alignment, to compare the weights with.
    pub base: bool,
    /// The adapter adds a matrix of low rank to a weight and does nothing else to it.
    pub additive: bool,
    /// Harmful and harmless safety anchors.
    pub anchors: [bool; 2],
    /// Names of the judges that are configured.
    pub judges: &'a [String],
}

/// A need that the run can't meet, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmet {
    /// In words, such as `canary margins`.
    pub need: String,
    /// What to configure.
    pub remedy: String,
}

impl Unmet {
    pub(crate) fn new(need: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { need: need.into(), remedy: remedy.into() }
    }
}

impl RunCapabilities<'_> {
    /// Whether the canary is there, for a need that is measured by it.
    pub(crate) fn canary(&self, need: &str) -> Option<Unmet> {
        let remedy = "name a file of held-out harmful prompts in canary.prompts";
        (!self.canary).then(|| Unmet::new(need, remedy))
    }

    /// Whether there are rows of both kinds, for a need that compares or mixes them.
    pub(crate) fn both_origins(&self, need: &str) -> Option<Unmet> {
        if !self.alignment {
            let remedy = "add alignment data: --alignment FILE, or a file of data.train with \
                          origin = \"alignment\"";
            return Some(Unmet::new(need, remedy));
        }
        let remedy = "add a file of data.train with origin = \"task\"";
        (!self.task).then(|| Unmet::new(need, remedy))
    }
}
