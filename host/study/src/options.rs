//! What a study is asked to do.

use std::path::PathBuf;

use host_eval::measure::RefusalJudge;
use host_trainer::config::LossMean;

use crate::arm::Arm;
use crate::scenario::Scenario;
use crate::task::Task;

/// The command line of a study; what is empty or absent has a default.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The model; none is the demo model of the program.
    pub model: Option<String>,
    /// Whether the model refuses by itself, so that no alignment step is made.
    pub aligned: bool,
    /// Folder with the data; none are the demo data.
    pub data: Option<PathBuf>,
    /// The useful task.
    pub task: Task,
    /// Folder of the sentence embedding model that becomes the second judge.
    pub judge: Option<PathBuf>,
    /// Where everything goes.
    pub out: PathBuf,
    /// Policies with their settings.
    pub arms: Vec<Arm>,
    /// What is mixed into the rows, or into the questions.
    pub attacks: Vec<Scenario>,
    /// Highest learning rates.
    pub learning_rates: Vec<f64>,
    /// Seeds of rows, order and adapter.
    pub seeds: Vec<u64>,
    /// Training rows of a run, without alignment rows.
    pub rows: Option<usize>,
    /// How often a run goes through its rows.
    pub epochs: Option<f64>,
    /// What counts alike in the loss of a step, of every arm.
    pub loss: LossMean,
    /// Most prompts of each set of requests.
    pub prompts: Option<usize>,
    /// Most questions of the task.
    pub task_prompts: Option<usize>,
    /// Longest answer to a request, in tokens.
    pub answer_tokens: Option<usize>,
    /// Keys of the configuration that all runs share, as key=value.
    pub common: Vec<String>,
    /// What tells refusals from answers.
    pub refusals: RefusalJudge,
    /// Runs at a time.
    pub jobs: usize,
    /// Names of the policies that come with the program.
    pub builtin: Vec<&'static str>,
    /// Characters that a line of the printed tables has room for, if that is limited.
    pub width: Option<usize>,
    /// Lists the runs and does none.
    pub dry_run: bool,
}
