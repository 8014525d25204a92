//! The tables of the study: a table per attack and learning rate, a row per policy over the seeds.

mod row;
mod tables;

use std::path::Path;

use host_eval::compare::{Outcomes, Paired};
use host_eval::evaluation::Evaluation;
use host_trainer::calibration::table;
use host_trainer::run_dir::write_atomically;
use serde::Serialize;
use serde_json::Value;

use crate::calibration::Calibrations;
use crate::grid::{Run, Runs};
use crate::material::Material;
use crate::reference::{Reference, judge_report, outcomes};
use crate::scenario::{Scenario, Variation};
use crate::settings::Settings;

pub use row::Row;

/// The arm that the others are paired with.
const PLAIN: &str = "sft";
/// From this share on, a model gives one answer to all questions.
const CONSTANT: f64 = 0.95;

pub struct Summary {
    pub groups: Vec<Group>,
    /// Samples of a run that are no alignment rows.
    task_samples: usize,
    /// Samples of a step.
    batch: usize,
    reference: Evaluation,
    reference_outcomes: Outcomes,
    seeds: Vec<u64>,
    notes: Vec<String>,
    judge: Option<String>,
    failed: Vec<(String, String)>,
    left: Vec<String>,
}

/// The runs that differ in their seed alone.
pub struct Group {
    pub scenario: Scenario,
    pub learning_rate: f64,
    pub arm: String,
    pub runs: Vec<Measured>,
}

/// One run.
pub struct Measured {
    pub seed: u64,
    pub evaluation: Evaluation,
    pub outcomes: Outcomes,
    pub seconds: f64,
    pub task_samples: usize,
}

/// Paired tests of a group and plain fine-tuning under the same attack, rate and seeds.
#[derive(Serialize)]
struct Against {
    seeds: Vec<u64>,
    metrics: Vec<Paired>,
}

impl Summary {
    pub fn of(
        runs: &Runs,
        reference: &Reference,
        material: &Material,
        settings: &Settings,
    ) -> anyhow::Result<Self> {
        let mut groups: Vec<Group> = Vec::new();
        for run in &runs.finished {
            let cell = &run.cell;
            let Some(measured) = measured(run, settings)? else { continue };
            let same = |group: &&mut Group| {
                group.scenario == cell.scenario
                    && group.learning_rate == cell.learning_rate
                    && group.arm == cell.arm.name
            };
            match groups.iter_mut().find(same) {
                Some(group) => group.runs.push(measured),
                None => groups.push(Group {
                    scenario: cell.scenario,
                    learning_rate: cell.learning_rate,
                    arm: cell.arm.name.clone(),
                    runs: vec![measured],
                }),
            }
        }
        let mut seeds: Vec<u64> =
            groups.iter().flat_map(|group| &group.runs).map(|run| run.seed).collect();
        seeds.sort_unstable();
        seeds.dedup();
        Ok(Self {
            groups,
            task_samples: settings.steps() as usize * settings.batch,
            batch: settings.batch,
            reference: reference.evaluation.clone(),
            reference_outcomes: reference.outcomes.clone(),
            seeds,
            notes: material.notes.clone(),
            judge: judge_report(&settings.out.join("reference")),
            failed: runs.failed.clone(),
            left: runs.left.clone(),
        })
    }

    /// summary.md, and with it what the calibrations found.
    pub fn write(&self, out: &Path, calibrations: &Calibrations) -> anyhow::Result<()> {
        let mut page = format!("{}\n", self.text(None));
        for (name, fitted) in calibrations.iter() {
            let (near, far) = (table(&fitted.near, None), table(&fitted.far, None));
            page += &format!("\n## Calibration of {name}\n\n");
            page += &format!("On prompts like those it was fitted on:\n\n{near}\n\n");
            page += &format!("On what the evaluations ask:\n\n{far}\n");
        }
        write_atomically(&out.join("summary.json"), &host_files::json::bytes(&self.json()?)?)?;
        Ok(write_atomically(&out.join("summary.md"), page.as_bytes())?)
    }

    /// For programs: a group per attack, learning rate and policy.
    pub fn json(&self) -> anyhow::Result<Value> {
        let group = |group: &Group| -> anyhow::Result<Value> {
            let mut json = serde_json::json!({
                "attack": group.scenario,
                "learning_rate": group.learning_rate,
                "policy": group.arm,
                "seeds": group.seeds(),
                "task_samples": group.runs.iter().map(|run| run.task_samples).collect::<Vec<_>>(),
                "measured": group.row(group.scenario.variation()),
                "against_sft": self.against(group),
            });
            if let (Some(_), Some(fields)) = (group.scenario.variation(), json.as_object_mut()) {
                fields.insert("asked_plainly".into(), serde_json::to_value(group.row(None))?);
            }
            Ok(json)
        };
        Ok(serde_json::json!({
            "reference": self.reference_row(None),
            "reference_evaluation": self.reference,
            "groups": self.groups.iter().map(group).collect::<anyhow::Result<Vec<_>>>()?,
            "notes": self.notes,
            "failed": self.failed,
            "unfinished": self.left,
        }))
    }

    pub fn reference_row(&self, variation: Option<Variation>) -> Row {
        let (outcomes, evaluation) = (&self.reference_outcomes, &self.reference);
        Row::of("the reference", &[outcomes], &[evaluation], variation, None)
    }

    fn against(&self, group: &Group) -> Option<Against> {
        let same = |other: &&Group| {
            other.arm == PLAIN
                && other.scenario == group.scenario
                && other.learning_rate == group.learning_rate
        };
        let plain = self.groups.iter().find(same).filter(|_| group.arm != PLAIN)?;
        let (mut seeds, mut pairs) = (Vec::new(), Vec::new());
        for run in &group.runs {
            if let Some(other) = plain.runs.iter().find(|other| other.seed == run.seed) {
                seeds.push(run.seed);
                pairs.push((&run.outcomes, &other.outcomes));
            }
        }
        let metrics = Paired::of(&pairs);
        (!metrics.is_empty()).then_some(Against { seeds, metrics })
    }
}

impl Group {
    pub fn row(&self, variation: Option<Variation>) -> Row {
        let outcomes: Vec<&Outcomes> = self.runs.iter().map(|run| &run.outcomes).collect();
        let evaluations: Vec<&Evaluation> = self.runs.iter().map(|run| &run.evaluation).collect();
        let seconds = self.runs.iter().map(|run| run.seconds).sum::<f64>();
        let seconds = Some(seconds / self.runs.len() as f64);
        Row::of(&self.arm, &outcomes, &evaluations, variation, seconds)
    }

    pub fn seeds(&self) -> Vec<u64> {
        self.runs.iter().map(|run| run.seed).collect()
    }
}

/// Nothing of a run that has no evaluation.
fn measured(run: &Run, settings: &Settings) -> anyhow::Result<Option<Measured>> {
    let (Some(after), Some(trained)) = (&run.report.after, &run.report.trained) else {
        return Ok(None);
    };
    let config = host_trainer::config::EvalConfig {
        refusals: settings.refusals,
        ..host_trainer::config::EvalConfig::default()
    };
    Ok(Some(Measured {
        seed: run.cell.seed,
        evaluation: after.clone(),
        outcomes: outcomes(&run.folder.join("generations.jsonl"), "after", &config)?,
        seconds: trained.totals.seconds,
        task_samples: run.task_samples,
    }))
}
