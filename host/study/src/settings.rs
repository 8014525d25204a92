//! What a study does: how much of what, and in which combinations.

use std::collections::BTreeMap;
use std::path::PathBuf;

use host_eval::config::FurtherConfig;
use host_eval::measure::RefusalJudge;
use host_trainer::config::{
    EvalConfig, JudgeConfig, LoraSection, LossMean, ModelConfig, RunConfig, Seed, TrainConfig,
};
use host_trainer::data::DataSource;
use serde::Serialize;

use crate::arm::{Arm, Choice};
use crate::cell::{self, Cell};
use crate::common::Common;
use crate::files::Files;
use crate::options::Options;
use crate::scenario::{OOD, Scenario, Variation};

/// Of what all runs of a study share: alignment, calibration, the reference's answers.
pub const SEED: u64 = 17;

/// The second judge in configurations and reports.
pub const JUDGE: &str = "answers";
/// The policy that a probe-aware attacker knows.
pub const PROBE: &str = "probe";

pub struct Settings {
    /// None studies the embedded demo model.
    pub model: Option<String>,
    pub out: PathBuf,
    pub size: Size,
    pub jobs: usize,
    pub refusals: RefusalJudge,
    /// Keys of the configuration that the command line sets for all runs.
    pub common: Common,
    /// Samples of a step.
    pub batch: usize,
    seeds: Vec<u64>,
    scenarios: Vec<Scenario>,
    arms: Vec<Arm>,
    learning_rates: Vec<f64>,
}

/// How large the parts are.
#[derive(Clone, Serialize)]
pub struct Size {
    /// Training rows of a run, alignment rows beside them not counted.
    pub rows: usize,
    pub epochs: f64,
    /// What counts alike in the loss of a step, of every arm.
    pub loss: LossMean,
    /// Most prompts of each set of requests.
    pub prompts: usize,
    /// Most questions of the task.
    pub task_prompts: usize,
    /// Longest answer to a request, in tokens.
    pub answer: usize,
    /// Longest answer to a question of the task.
    pub task_answer: usize,
    /// Refused questions that the reference is aligned with, beside all requests and harmless ones.
    pub refusals: usize,
}

impl Settings {
    /// # Errors
    /// A key that all runs would share is the study's own, or is wrong.
    pub fn new(options: &Options) -> anyhow::Result<Self> {
        let demo = options.model.is_none();
        let common = Common::new(&options.common)?;
        let batch = common.over(&RunConfig::default())?.train.batch;
        let given = |given: &[f64], default: f64| match given {
            [] => vec![default],
            given => given.to_vec(),
        };
        Ok(Self {
            model: options.model.clone(),
            out: options.out.clone(),
            size: Size::new(options),
            jobs: options.jobs.max(1),
            refusals: options.refusals,
            common,
            batch,
            seeds: match options.seeds.as_slice() {
                [] => vec![17, 18, 19],
                seeds => seeds.to_vec(),
            },
            scenarios: match options.attacks.as_slice() {
                // So that the demo ends in about a minute.
                [] if demo => Scenario::USUAL[..2].to_vec(),
                [] => Scenario::USUAL.to_vec(),
                scenarios => scenarios.to_vec(),
            },
            arms: match options.arms.as_slice() {
                [] => Arm::defaults(&options.builtin),
                arms => arms.to_vec(),
            },
            // What the model is usually tuned with.
            learning_rates: given(&options.learning_rates, if demo { 3e-3 } else { 2e-4 }),
        })
    }

    /// What is asked for, and what an earlier command has finished in the same folder.
    pub fn cells(&self) -> anyhow::Result<Vec<Cell>> {
        let mut cells = Cell::finished(&self.runs())?;
        for &seed in &self.seeds {
            for &scenario in &self.scenarios {
                for &learning_rate in &self.learning_rates {
                    for arm in &self.arms {
                        let arm = arm.clone();
                        let cell = Cell { scenario, learning_rate, arm, seed };
                        if !cells.contains(&cell) {
                            cells.push(cell);
                        }
                    }
                }
            }
        }
        cell::sort(&mut cells, &self.arms);
        Ok(cells)
    }

    /// Every policy of some cells once, by its name with its settings, and what an attack knows.
    pub fn choices(cells: &[Cell]) -> Vec<Choice> {
        let mut all: BTreeMap<String, Choice> = BTreeMap::new();
        let known = cells.iter().filter(|cell| cell.scenario == Scenario::ProbeAware);
        let known: Vec<Choice> = known.take(1).flat_map(|_| PROBE.parse()).collect();
        for choice in cells.iter().flat_map(|cell| &cell.arm.policies).chain(&known) {
            all.entry(choice.name.clone()).or_insert_with(|| choice.clone());
        }
        all.into_values().collect()
    }

    pub fn runs(&self) -> PathBuf {
        self.out.join("runs")
    }

    /// Steps of a run without alignment rows.
    pub fn steps(&self) -> u64 {
        let samples = self.size.rows as f64 * self.size.epochs;
        (samples / self.batch as f64).ceil().max(1.0) as u64
    }

    /// What all runs of the study have in common; `model` is the one they start from.
    pub fn base(&self, model: Option<&str>, seed: u64) -> anyhow::Result<RunConfig> {
        let demo = self.model.is_none();
        self.common.over(&RunConfig {
            seed: Seed(seed),
            model: ModelConfig { source: model.map(str::to_owned), ..ModelConfig::default() },
            lora: if demo {
                LoraSection { rank: 8, alpha: 16.0, ..LoraSection::default() }
            } else {
                LoraSection::default()
            },
            train: TrainConfig {
                epochs: self.size.epochs,
                loss: self.size.loss,
                warmup: 0.1,
                baseline: Some(false),
                ..TrainConfig::default()
            },
            ..RunConfig::default()
        })
    }

    /// What a model is asked: the sets that all runs share, and the harmful requests in these
    /// variations as well.
    pub fn ask(
        &self,
        config: &mut RunConfig,
        files: &Files,
        variations: &[Variation],
        judge: Option<&JudgeConfig>,
    ) {
        let judges = judge.map(|judge| (JUDGE.to_owned(), judge.clone()));
        let source = |path: &PathBuf| vec![DataSource::whole(path)];
        config.eval = EvalConfig {
            harmful: source(&files.harmful),
            harmless: source(&files.harmless),
            task: source(&files.task),
            judges: judges.iter().map(|(name, _)| name.clone()).collect(),
            refusals: self.refusals,
            max_new_tokens: self.size.answer,
            max_task_tokens: Some(self.size.task_answer),
            batch: config.eval.batch,
            ..EvalConfig::default()
        };
        let further = &mut config.eval.further;
        let [harmful, harmless] = files.ood.each_ref().map(source);
        let set = FurtherConfig { harmful, harmless, ..FurtherConfig::default() };
        further.insert(OOD.to_owned(), set);
        for variation in variations {
            for (path, name) in files.varied(*variation) {
                let prefill = variation.prefill().to_owned();
                let set =
                    FurtherConfig { prefill, harmful: source(&path), ..FurtherConfig::default() };
                further.insert(name, set);
            }
        }
        config.judges.extend(judges);
        config.canary.prompts = source(&files.canary);
        config.canary.refusal = files.opening.into();
    }
}

impl Size {
    fn new(options: &Options) -> Self {
        let demo = options.model.is_none();
        let (rows, prompts, epochs, answer) =
            if demo { (320, 80, 1.0, 16) } else { (160, 100, 2.0, 32) };
        let answer = options.answer_tokens.unwrap_or(answer);
        let prompts = options.prompts.unwrap_or(prompts);
        Self {
            rows: options.rows.unwrap_or(rows),
            epochs: options.epochs.unwrap_or(epochs),
            loss: options.loss,
            prompts,
            task_prompts: options.task_prompts.unwrap_or(prompts),
            answer,
            task_answer: options.task.answer_tokens.unwrap_or(answer),
            refusals: 80,
        }
    }
}
