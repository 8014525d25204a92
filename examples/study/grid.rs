//! The runs: every policy under every attack, learning rate and seed.

use host_policy::journal::Mode;
use host_trainer::config::{JudgeConfig, PolicyConfig, RunConfig};
use host_trainer::data::DataSource;
use host_trainer::report::Report;

use crate::calibration::Calibrations;
use crate::material::{Files, Material, write_lines};
use crate::program::Program;
use crate::reference::{Reference, train};
use crate::scenario::Scenario;
use crate::settings::{Cell, Settings};

pub struct Grid<'a> {
    pub program: &'a Program,
    pub settings: &'a Settings,
    pub material: &'a Material,
    pub files: &'a Files,
    pub reference: &'a Reference,
    pub calibrations: &'a Calibrations,
}

/// A run that is over.
pub struct Run {
    pub cell: Cell,
    pub report: Report,
}

#[derive(Default)]
pub struct Runs {
    pub finished: Vec<Run>,
    pub failed: usize,
}

impl Grid<'_> {
    /// Runs the cells one after another; a run that fails is told and doesn't keep the others from running.
    pub fn run(&self, cells: &[Cell]) -> anyhow::Result<Runs> {
        let mut runs = Runs::default();
        for (number, cell) in cells.iter().enumerate() {
            eprintln!("== run {} of {}: {}", number + 1, cells.len(), cell.slug());
            match self.one(cell) {
                Ok(run) => runs.finished.push(run),
                Err(error) => {
                    eprintln!("failed: {error:#}");
                    runs.failed += 1;
                }
            }
        }
        Ok(runs)
    }

    fn one(&self, cell: &Cell) -> anyhow::Result<Run> {
        let folder = self.settings.out.join("runs").join(cell.slug());
        if let Some(parent) = folder.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let folder = train(self.program, self.config(cell)?, &folder)?;
        let report = serde_json::from_slice(&std::fs::read(folder.join("report.json"))?)?;
        Ok(Run {
            cell: cell.clone(),
            report,
        })
    }

    fn config(&self, cell: &Cell) -> anyhow::Result<RunConfig> {
        let files = self.files;
        let data = files.folder.join(format!(
            "train-{}-s{}.jsonl",
            cell.scenario.slug(),
            cell.seed
        ));
        let rows = cell
            .scenario
            .rows(self.material, self.settings.size.rows, cell.seed);
        write_lines(&data, &rows)?;
        let mut config = self
            .settings
            .base(self.reference.model.as_deref(), cell.seed);
        config.data.train = vec![DataSource::whole(data)];
        config.train.learning_rate = cell.learning_rate;
        config.policies = vec![PolicyConfig {
            path: cell.arm.policy.clone(),
            settings: cell.arm.settings.clone(),
            calibration: self.calibrations.file(&cell.arm),
            ..PolicyConfig::default()
        }];
        config.journal.mode = Mode::Light;
        config.canary.prompts = vec![DataSource::whole(&files.canary)];
        let judge = JudgeConfig::Scores(files.scores.clone());
        config.judges = [("mixed-in".to_owned(), judge)].into();
        let harmful = match cell.scenario {
            Scenario::Identity => &files.harmful_identity,
            _ => &files.harmful,
        };
        config.eval = self.settings.eval(harmful, files);
        config.eval.before = false;
        Ok(config)
    }
}

impl Cell {
    /// Its name as a folder.
    fn slug(&self) -> String {
        format!(
            "{}-{:e}-{}-s{}",
            self.scenario.slug(),
            self.learning_rate,
            self.arm.slug(),
            self.seed
        )
    }
}
