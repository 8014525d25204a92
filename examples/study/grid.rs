//! The runs: every policy under every attack, learning rate and seed.

use std::path::PathBuf;

use host_audit::journal::Mode;
use host_trainer::config::{JudgeConfig, PolicyConfig, RunConfig};
use host_trainer::data::DataSource;
use host_trainer::report::Report;

use crate::arm::Choice;
use crate::calibration::Calibrations;
use crate::cell::Cell;
use crate::material::{Files, Material, write_lines};
use crate::needs::Needs;
use crate::program::Program;
use crate::reference::Reference;
use crate::scenario::Scenario;
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
    /// The second judge of the evaluations.
    pub judge: Option<&'a JudgeConfig>,
}

/// A run that is over.
pub struct Run {
    pub cell: Cell,
    pub folder: PathBuf,
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
        let runs = self.settings.runs();
        std::fs::create_dir_all(&runs)?;
        cell.save(&runs)?;
        let folder = runs.join(cell.slug());
        let folder = self.program.train(&folder, || self.config(cell))?;
        let report = serde_json::from_slice(&std::fs::read(folder.join("report.json"))?)?;
        Ok(Run { cell: cell.clone(), folder, report })
    }

    fn config(&self, cell: &Cell) -> anyhow::Result<RunConfig> {
        let files = self.files;
        let data =
            files.folder.join(format!("train-{}-s{}.jsonl", cell.scenario.slug(), cell.seed));
        let rows = cell.scenario.rows(self.material, self.settings.size.rows, cell.seed);
        write_lines(&data, &rows)?;
        let mut config = self.settings.base(self.reference.model.as_deref(), cell.seed);
        config.data.train = vec![DataSource::whole(data)];
        config.train.learning_rate = cell.learning_rate;
        config.journal.mode = Mode::Light;
        for choice in &cell.arm.policies {
            self.provide(&mut config, choice)?;
        }
        let harmful = match cell.scenario {
            Scenario::Identity => &files.harmful_identity,
            _ => &files.harmful,
        };
        self.settings.ask(&mut config, harmful, files, self.judge);
        config.eval.before = false;
        Ok(config)
    }

    /// The policy and what it asks for. Alignment data are trained on by every run that has them, so only those that ask get
    /// them.
    fn provide(&self, config: &mut RunConfig, choice: &Choice) -> anyhow::Result<()> {
        let (files, needs) = (self.files, Needs::of(self.program, choice)?);
        let mut settings = choice.settings.clone();
        if needs.judge() {
            let judge = JudgeConfig::Scores(files.scores.clone());
            config.judges.insert(KNOWING.to_owned(), judge);
            // There may be a second judge, of the evaluations.
            let name = settings.entry("judge");
            name.or_insert(KNOWING.into());
        }
        if needs.alignment() {
            config.data.alignment = match &self.reference.alignment {
                Some(rows) => vec![DataSource::whole(rows)],
                None => vec![DataSource::whole("demo:alignment.jsonl")],
            };
            // An epoch would go through these rows as well: no longer than the other runs.
            let (size, batch) = (&self.settings.size, config.train.batch);
            let samples = size.rows as f64 * size.epochs;
            config.train.max_steps = Some((samples / batch as f64).ceil() as u64);
        }
        if needs.base() {
            config.model.base = self.settings.model.clone();
        }
        if needs.steering() {
            config.calibration.data = vec![DataSource::whole(&files.labelled)];
            // Away from the harmful ones: a vector that takes refusals away.
            config.steering.positive = vec![DataSource::whole(&files.harmless)];
            config.steering.negative = vec![DataSource::whole(&files.canary)];
        }
        config.policies.push(PolicyConfig {
            path: choice.policy.clone(),
            settings,
            calibration: self.calibrations.file(choice),
            ..PolicyConfig::default()
        });
        Ok(())
    }
}
