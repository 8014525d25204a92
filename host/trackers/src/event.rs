//! What a run tells its trackers.

use std::path::PathBuf;
use std::time::SystemTime;

/// What is known of a run before its first step.
#[derive(Debug, Clone)]
pub struct About {
    /// The name under which trackers show it.
    pub name: String,
    /// The folder of the run.
    pub folder: PathBuf,
    /// Whether it was begun before, and goes on.
    pub resumed: bool,
    /// Its trainings.
    pub arms: Vec<Arm>,
    pub started: SystemTime,
    /// Keys of the configuration with their values.
    pub parameters: Vec<(String, String)>,
    /// Names and digests of model and policies, and the version of the program.
    pub tags: Vec<(String, String)>,
}

/// Which training of a run: the one under its policies, or the plain one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Arm {
    Plain,
    Policy,
}

impl Arm {
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Policy => "policy",
        }
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A training begins, or goes on: its next step is this one, and whatever was told of it
    /// or of later ones is void.
    Training { arm: Arm, step: u64, at: SystemTime },
    /// Numbers of a step by their names, such as `train/loss`.
    Scalars { arm: Arm, step: u64, at: SystemTime, values: Vec<(String, f64)> },
    /// A word of a step, such as the action that a policy took.
    Text { arm: Arm, step: u64, at: SystemTime, name: String, text: String },
    /// Another stage begins, and the one before is over.
    Stage { title: String, at: SystemTime },
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Ending {
    pub status: Status,
    pub at: SystemTime,
    /// The figures of its report, by names such as `after/refusal`.
    pub figures: Vec<(String, f64)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Finished,
    /// At a person's word.
    Interrupted,
    /// At the word of a policy.
    Stopped,
    Failed,
}

impl Status {
    /// As manifest.json has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Interrupted => "interrupted",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }
}
