//! What a study does: how much of what, and in which combinations.

use std::path::{Path, PathBuf};

use host_trainer::config::{
    EvalConfig, JudgeConfig, LoraSection, ModelConfig, RunConfig, Seed, TrainConfig,
};
use host_trainer::data::DataSource;
use host_trainer::measure::RefusalJudge;
use serde::Serialize;

use crate::arguments::Arguments;
use crate::arm::Arm;
use crate::cell::{self, Cell};
use crate::judge;
use crate::material::Files;
use crate::scenario::Scenario;

/// Of what all runs of a study share: alignment, calibration, the reference's answers.
pub const SEED: u64 = 17;

pub struct Settings {
    /// None studies the embedded demo model.
    pub model: Option<String>,
    pub out: PathBuf,
    pub size: Size,
    seeds: Vec<u64>,
    scenarios: Vec<Scenario>,
    arms: Vec<Arm>,
    learning_rates: Vec<f64>,
}

/// How large the parts are.
#[derive(Clone, Serialize)]
pub struct Size {
    /// Training rows of a run.
    pub rows: usize,
    pub epochs: f64,
    /// Most prompts of each set of an evaluation.
    pub prompts: usize,
    /// Longest answer that is judged, in tokens.
    pub answer: usize,
    /// Refused questions that the reference is aligned with, beside all requests and harmless ones.
    pub refusals: usize,
}

impl Settings {
    pub fn new(arguments: &Arguments) -> Self {
        let (small, demo) = (arguments.small, arguments.model.is_none());
        let size = Size::new(small, demo);
        let given = |given: &[f64], default: &[f64]| match given {
            [] => default.to_vec(),
            given => given.to_vec(),
        };
        Self {
            model: arguments.model.clone(),
            out: arguments.out.clone(),
            size: Size { epochs: arguments.epochs.unwrap_or(size.epochs), ..size },
            seeds: match arguments.seeds.as_slice() {
                [] if small => vec![17],
                [] => vec![17, 18],
                seeds => seeds.to_vec(),
            },
            scenarios: match arguments.scenarios.as_slice() {
                [] if small => Scenario::SMALL.to_vec(),
                [] => Scenario::ALL.to_vec(),
                scenarios => scenarios.to_vec(),
            },
            arms: match arguments.policies.as_slice() {
                [] => Arm::defaults(),
                arms => arms.to_vec(),
            },
            // The middle one is what the model is usually tuned with.
            learning_rates: given(
                &arguments.learning_rates,
                match (small, demo) {
                    (true, true) => &[3e-3],
                    (false, true) => &[3e-4, 3e-3, 3e-2],
                    (true, false) => &[2e-4],
                    (false, false) => &[2e-5, 2e-4, 2e-3],
                },
            ),
        }
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

    pub fn runs(&self) -> PathBuf {
        self.out.join("runs")
    }

    /// What all runs of the study have in common; `model` is the one they start from.
    pub fn base(&self, model: Option<&str>, seed: u64) -> RunConfig {
        let demo = self.model.is_none();
        RunConfig {
            seed: Seed(seed),
            model: ModelConfig { source: model.map(str::to_owned), ..ModelConfig::default() },
            lora: if demo {
                LoraSection { rank: 8, alpha: 16.0, ..LoraSection::default() }
            } else {
                LoraSection::default()
            },
            train: TrainConfig {
                epochs: self.size.epochs,
                warmup: 0.1,
                baseline: Some(false),
                ..TrainConfig::default()
            },
            ..RunConfig::default()
        }
    }
}

impl Settings {
    /// What a model is asked: these harmful requests, and the sets that all runs share.
    pub fn ask(
        &self,
        config: &mut RunConfig,
        harmful: &Path,
        files: &Files,
        judge: Option<&JudgeConfig>,
    ) {
        let judges = judge.map(|judge| (judge::NAME.to_owned(), judge.clone()));
        config.eval = EvalConfig {
            harmful: vec![DataSource::whole(harmful)],
            harmless: vec![DataSource::whole(&files.harmless)],
            task: vec![DataSource::whole(&files.task)],
            judges: judges.iter().map(|(name, _)| name.clone()).collect(),
            // As in the tables of the README, so that runs can be added to them.
            refusals: RefusalJudge::Phrases,
            max_new_tokens: self.size.answer,
            ..EvalConfig::default()
        };
        config.judges.extend(judges);
        config.canary.prompts = vec![DataSource::whole(&files.canary)];
        config.canary.refusal = files.opening.into();
    }
}

impl Size {
    fn new(small: bool, demo: bool) -> Self {
        let (rows, prompts, epochs) = match (small, demo) {
            (true, true) => (320, 40, 1.0),
            (false, true) => (640, 80, 1.0),
            (true, false) => (160, 60, 2.0),
            (false, false) => (240, 100, 2.0),
        };
        Self { rows, epochs, prompts, answer: if demo { 16 } else { 32 }, refusals: 80 }
    }
}
