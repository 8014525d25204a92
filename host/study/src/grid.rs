//! The runs: every policy under every attack, learning rate and seed.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

use anyhow::Context;
use host_audit::journal::Mode;
use host_eval::report::Report;
use host_trainer::config::{JudgeConfig, PolicyConfig, RunConfig};
use host_trainer::data::DataSource;
use serde::Deserialize;

use crate::Tell;
use crate::arm::Choice;
use crate::calibration::Calibrations;
use crate::cell::Cell;
use crate::chat::write_lines;
use crate::files::Files;
use crate::material::Material;
use crate::needs::AllNeeds;
use crate::program::{Interrupted, Program, over};
use crate::reference::{Reference, alignment_share};
use crate::settings::Settings;

/// The judge that policies ask, which knows the rows that were mixed in.
const KNOWING: &str = "mixed-in";

pub struct Grid<'a> {
    pub program: &'a Program,
    pub settings: &'a Settings,
    pub material: &'a Material,
    pub files: &'a Files,
    pub reference: &'a Reference,
    pub calibrations: &'a Calibrations,
    pub needs: &'a AllNeeds,
    /// The second judge of the evaluations.
    pub judge: Option<&'a JudgeConfig>,
    pub tell: Tell<'a>,
}

/// A run that is over.
pub struct Run {
    pub cell: Cell,
    pub folder: PathBuf,
    pub report: Report,
    /// Samples that were no alignment rows.
    pub task_samples: usize,
}

#[derive(Default)]
pub struct Runs {
    /// In the order of the cells.
    pub finished: Vec<Run>,
    /// Names of the runs, and why they failed.
    pub failed: Vec<(String, String)>,
    /// Names of those that an interruption left.
    pub left: Vec<String>,
}

enum Ended {
    Finished(Box<Run>),
    Failed(String),
    Left,
}

/// A line of metrics.jsonl.
#[derive(Deserialize)]
struct Step {
    samples: usize,
    alignment_samples: usize,
}

impl Grid<'_> {
    /// Runs the cells, as many at a time as the study has jobs. A run that fails is told and doesn't keep the others
    /// from running.
    pub fn run(&self, cells: &[Cell]) -> anyhow::Result<Runs> {
        std::fs::create_dir_all(self.settings.runs())?;
        let queue = Mutex::new(cells.iter().enumerate());
        let ended = Mutex::new(Vec::new());
        let next = || queue.lock().ok()?.next();
        let work = || {
            while let Some((number, cell)) = next() {
                let one = self.ended(number, cells.len(), cell);
                if let Ok(mut ended) = ended.lock() {
                    ended.push((number, one));
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..self.settings.jobs.min(cells.len()) {
                scope.spawn(work);
            }
        });
        let mut ended = ended.into_inner().unwrap_or_default();
        ended.sort_by_key(|(number, _)| *number);
        let mut runs = Runs::default();
        for (number, one) in ended {
            match one {
                Ended::Finished(run) => runs.finished.push(*run),
                Ended::Failed(why) => runs.failed.push((cells[number].slug(), why)),
                Ended::Left => runs.left.push(cells[number].slug()),
            }
        }
        Ok(runs)
    }

    fn ended(&self, number: usize, count: usize, cell: &Cell) -> Ended {
        let (started, name) = (Instant::now(), cell.slug());
        let say = |what: &str| (self.tell)(&format!("{} of {count}: {name}: {what}", number + 1));
        match self.one(cell) {
            Ok((run, is_new)) => {
                if is_new {
                    say(&format!("{:.1} s", started.elapsed().as_secs_f64()));
                }
                Ended::Finished(Box::new(run))
            }
            Err(error) if error.is::<Interrupted>() => Ended::Left,
            Err(error) => {
                let why = format!("{error:#}");
                say(&format!("failed: {why}"));
                Ended::Failed(why)
            }
        }
    }

    /// The run, and whether it was not there before.
    fn one(&self, cell: &Cell) -> anyhow::Result<(Run, bool)> {
        let runs = self.settings.runs();
        let folder = runs.join(cell.slug());
        let is_new = over(&folder)?.is_none();
        cell.save(&runs)?;
        let folder = self.program.train(&folder, || self.config(cell))?;
        let report = over(&folder)?.context("the run has not ended")?;
        let task_samples = task_samples(&folder.join("metrics.jsonl"))?;
        Ok((Run { cell: cell.clone(), folder, report, task_samples }, is_new))
    }

    fn config(&self, cell: &Cell) -> anyhow::Result<RunConfig> {
        let files = self.files;
        let data =
            files.folder.join(format!("train-{}-s{}.jsonl", cell.scenario.slug(), cell.seed));
        let rows = self.material.rows(cell.scenario, self.settings.size.rows, cell.seed);
        write_lines(&data, &rows)?;
        let mut config = self.settings.base(self.reference.model.as_deref(), cell.seed)?;
        config.data.train = vec![DataSource::whole(data)];
        config.train.learning_rate = cell.learning_rate;
        // An epoch would go through alignment rows as well. All see as many rows of the task.
        let steps = self.needs.steps(
            &cell.arm.policies,
            self.settings.steps(),
            alignment_share(self.settings)?,
        );
        config.train.max_steps = Some(steps);
        config.journal.mode = Mode::Light;
        config.anchors = self.material.anchors.clone();
        for choice in &cell.arm.policies {
            self.provide(&mut config, choice);
        }
        let variations: Vec<_> = cell.scenario.variation().into_iter().collect();
        self.settings.ask(&mut config, files, &variations, self.judge);
        config.eval.before = false;
        Ok(config)
    }

    /// The policy and what it asks for. Alignment data are trained on by every run that has them, so only those that ask get
    /// them.
    fn provide(&self, config: &mut RunConfig, choice: &Choice) {
        let (files, asks) = (self.files, &self.needs.get(choice).asks);
        let mut settings = choice.settings.clone();
        if !asks.judges.is_empty() {
            let judge = JudgeConfig::Scores(files.scores.clone());
            config.judges.insert(KNOWING.to_owned(), judge);
            // There may be a second judge, of the evaluations.
            let name = settings.entry("judge");
            name.or_insert(KNOWING.into());
        }
        if asks.alignment() {
            config.data.alignment = vec![DataSource::whole(&self.reference.alignment)];
        }
        // A model that refuses by itself has none that is known: the run says so.
        if asks.base() && self.reference.model != self.settings.model {
            config.model.base = self.settings.model.clone();
        }
        if asks.steering.is_some() {
            config.calibration.data = vec![DataSource::whole(&files.labelled)];
            // Away from the harmful ones: a vector that takes refusals away.
            config.steering.positive = vec![DataSource::whole(&files.harmless)];
            config.steering.negative = vec![DataSource::whole(&files.canary)];
        }
        // What is usual among the rows of a run depends on the attack: it calibrates itself.
        let own = asks.calibration && asks.calibration_rows > 0;
        if own {
            config.calibration.data = vec![DataSource::whole(&files.labelled)];
        }
        config.policies.push(PolicyConfig {
            path: choice.path().into(),
            settings,
            calibration: self.calibrations.file(choice).filter(|_| !own),
            ..PolicyConfig::default()
        });
    }
}

fn task_samples(metrics: &Path) -> anyhow::Result<usize> {
    let text = std::fs::read_to_string(metrics)?;
    let of = |line: &str| -> anyhow::Result<usize> {
        let step: Step = serde_json::from_str(line)?;
        Ok(step.samples - step.alignment_samples)
    };
    text.lines().map(of).sum()
}
