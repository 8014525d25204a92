//! The tables of the study: the runs of a policy under one attack and learning rate, over the seeds.

use std::fmt::Write;
use std::path::Path;

use comfy_table::{CellAlignment, Table, presets};
use host_trainer::evaluation::Evaluation;
use host_trainer::measure::{Mean, Rate};
use host_trainer::run_dir::write_atomically;

use crate::calibration::Calibrations;
use crate::grid::Run;
use crate::judge;
use crate::reference::Reference;
use crate::scenario::Scenario;

pub struct Summary {
    pub groups: Vec<Group>,
    reference: Vec<(&'static str, Evaluation)>,
}

/// The runs that differ in their seed alone.
pub struct Group {
    pub scenario: Scenario,
    pub learning_rate: f64,
    pub arm: String,
    pub measured: Vec<Measured>,
}

/// One run. Shares are in [0, 1].
#[derive(Clone, Copy)]
pub struct Measured {
    /// Harmful requests that are not refused, by phrases.
    pub attack_success: f64,
    /// Harmful requests whose answers the second judge grades 5 of 5.
    pub judged_success: f64,
    /// ln P(refusal opening) - ln P(compliance opening) of harmful requests that no run is asked.
    pub refusal_margin: f64,
    /// Harmless requests that are refused.
    pub over_refusal: f64,
    pub exact_match: f64,
    /// Nats per answer token of the task.
    pub task_loss: f64,
    /// Of the training.
    pub seconds: f64,
}

pub fn of(runs: &[Run], reference: &Reference) -> Summary {
    let mut groups: Vec<Group> = Vec::new();
    for run in runs {
        let cell = &run.cell;
        let Some(measured) = measured(run) else {
            continue;
        };
        let same = |group: &&mut Group| {
            group.scenario == cell.scenario
                && group.learning_rate == cell.learning_rate
                && group.arm == cell.arm.name
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.measured.push(measured),
            None => groups.push(Group {
                scenario: cell.scenario,
                learning_rate: cell.learning_rate,
                arm: cell.arm.name.clone(),
                measured: vec![measured],
            }),
        }
    }
    Summary { groups, reference: reference.evaluations.clone() }
}

fn measured(run: &Run) -> Option<Measured> {
    let (after, trained) = (run.report.after.as_ref()?, run.report.trained.as_ref()?);
    Some(Measured { seconds: trained.totals.seconds, ..evaluated(after) })
}

fn evaluated(evaluation: &Evaluation) -> Measured {
    let share = |rate: Option<Rate>| rate.and_then(Rate::value).unwrap_or(f64::NAN);
    let judged = evaluation.judges.get(judge::NAME);
    let mean = |mean: Option<Mean>| mean.map_or(f64::NAN, |mean| mean.mean);
    Measured {
        attack_success: share(evaluation.attack_success),
        judged_success: share(judged.and_then(|harm| harm.attack_success)),
        refusal_margin: mean(evaluation.refusal_margin),
        over_refusal: share(evaluation.over_refusal),
        exact_match: share(evaluation.exact_match),
        task_loss: mean(evaluation.task_loss),
        seconds: f64::NAN,
    }
}

/// A column of the table: its heading, the value, and whether it is a share.
type Column = (&'static str, fn(&Measured) -> f64, bool);

const COLUMNS: [Column; 7] = [
    ("attack success", |one| one.attack_success, true),
    ("by the judge", |one| one.judged_success, true),
    ("over-refusal", |one| one.over_refusal, true),
    ("refusal margin", |one| one.refusal_margin, false),
    ("exact match", |one| one.exact_match, true),
    ("task loss", |one| one.task_loss, false),
    ("seconds", |one| one.seconds, false),
];

impl Summary {
    /// The table as a terminal and Markdown show it.
    pub fn text(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        let head = ["attack", "learning rate", "policy"].into_iter();
        table.set_header(head.chain(COLUMNS.iter().map(|(name, ..)| *name)));
        for (attack, evaluation) in &self.reference {
            let head = [attack, "-", "the reference"].map(String::from);
            table.add_row(row(head, &[evaluated(evaluation)]));
        }
        for group in &self.groups {
            let head = [
                group.scenario.to_string(),
                format!("{:e}", group.learning_rate),
                group.arm.clone(),
            ];
            table.add_row(row(head, &group.measured));
        }
        for column in 3..3 + COLUMNS.len() {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table.to_string()
    }

    /// summary.md, and with it what the calibrations found.
    pub fn write(&self, out: &Path, calibrations: &Calibrations) -> anyhow::Result<()> {
        let mut page = format!("{}\n", self.text());
        for (name, fitted) in calibrations.iter() {
            let (near, far) = (fitted.near.table(), fitted.far.table());
            write!(page, "\n{name}, on prompts like those it was fitted on:\n\n{near}\n")?;
            write!(page, "\n{name}, on what the evaluations ask:\n\n{far}\n")?;
        }
        Ok(write_atomically(&out.join("summary.md"), page.as_bytes())?)
    }
}

fn row(head: [String; 3], measured: &[Measured]) -> Vec<String> {
    let cell = |(_, value, share): &Column| {
        let values: Vec<f64> = measured.iter().map(value).filter(|one| one.is_finite()).collect();
        if *share { spread(&values, 100.0, 1, "%") } else { spread(&values, 1.0, 3, "") }
    };
    head.into_iter().chain(COLUMNS.iter().map(cell)).collect()
}

/// The mean, and the lowest and highest if there are several.
fn spread(values: &[f64], scale: f64, digits: usize, unit: &str) -> String {
    let mean = scale * values.iter().sum::<f64>() / values.len() as f64;
    match values {
        [] => "-".into(),
        [_] => format!("{mean:.digits$}{unit}"),
        _ => {
            let low = scale * values.iter().copied().fold(f64::INFINITY, f64::min);
            let high = scale * values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            format!("{mean:.digits$}{unit} [{low:.digits$}-{high:.digits$}]")
        }
    }
}

impl Group {
    /// Mean, lowest and highest over the seeds.
    pub fn range(&self, of: fn(&Measured) -> f64) -> (f64, f64, f64) {
        let values = self.measured.iter().map(of);
        let (low, high) =
            values.clone().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), one| {
                (low.min(one), high.max(one))
            });
        (values.sum::<f64>() / self.measured.len() as f64, low, high)
    }
}
