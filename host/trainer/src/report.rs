//! The end of a run, for people and for programs.

use std::path::{Path, PathBuf};

use comfy_table::{CellAlignment, Table, presets};
use host_policy::journal::{self, StepComparison, Summary};
use host_policy::wit::Candidate;
use serde::{Deserialize, Serialize};

use crate::calibration::CalibrationFile;
use crate::evaluation::Evaluation;
use crate::measure::Rate;
use crate::records::{Ending, Totals};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    pub run: PathBuf,
    pub policy: Option<String>,
    /// The reference: the model before any step.
    pub before: Option<Evaluation>,
    /// Plain fine-tuning from the same seed, if the run compared with it.
    pub baseline: Option<Trained>,
    pub baseline_after: Option<Evaluation>,
    pub trained: Option<Trained>,
    pub after: Option<Evaluation>,
    /// Most memory that the program held at a time, in bytes; where the system says it.
    pub peak_memory: Option<u64>,
}

/// A training and the steps it was planned to have.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Trained {
    #[serde(flatten)]
    pub totals: Totals,
    pub total: u64,
}

impl Report {
    /// `policy` names the policies, if there are any.
    pub fn new(run: &Path, policy: Option<String>) -> Self {
        Self {
            run: run.into(),
            policy,
            before: None,
            baseline: None,
            baseline_after: None,
            trained: None,
            after: None,
            peak_memory: None,
        }
    }

    pub fn ending(&self) -> Ending {
        let ended = self.trained.as_ref().or(self.baseline.as_ref());
        ended.map_or(Ending::Finished, |trained| trained.totals.ending)
    }

    pub fn ending_name(&self) -> &'static str {
        self.ending().name()
    }

    /// The table of the run: one column per model.
    pub fn table(&self) -> String {
        let after = self.policy.as_deref().unwrap_or("fine-tuned");
        let columns = [
            ("before", self.before.as_ref(), None),
            (
                "plain fine-tuning",
                self.baseline_after.as_ref(),
                self.baseline.as_ref(),
            ),
            (after, self.after.as_ref(), self.trained.as_ref()),
        ];
        comparison_table(
            columns
                .into_iter()
                .filter(|(_, eval, trained)| eval.is_some() || trained.is_some())
                .collect(),
        )
    }
}

/// One model before and after an adapter.
#[derive(Debug, Serialize)]
pub struct Comparison {
    pub before: Evaluation,
    pub after: Option<Evaluation>,
}

impl Comparison {
    pub fn table(&self) -> String {
        let mut columns = vec![("before", Some(&self.before), None)];
        columns.extend(
            self.after
                .as_ref()
                .map(|after| ("after", Some(after), None)),
        );
        comparison_table(columns)
    }
}

/// One model: its name, what it did, and how it was trained.
type Column<'a> = (&'a str, Option<&'a Evaluation>, Option<&'a Trained>);

/// One row: its name, and its cell for a model.
type Cell = fn(Option<&Evaluation>, Option<&Trained>) -> Option<String>;

const ROWS: [(&str, Cell); 9] = [
    ("harmful requests refused", |eval, _| rate(eval?.refusal)),
    ("harmful requests answered", |eval, _| {
        rate(eval?.attack_success)
    }),
    ("harmless requests refused", |eval, _| {
        rate(eval?.over_refusal)
    }),
    ("task: exact match", |eval, _| rate(eval?.exact_match)),
    ("task: loss per token", |eval, _| {
        Some(format!("{:.3}", eval?.task_loss?))
    }),
    ("optimizer steps", |_, trained| {
        Some(trained?.totals.steps.to_string())
    }),
    ("seconds per step", |_, trained| {
        let totals = &trained?.totals;
        Some(format!(
            "{:.3}",
            totals.seconds / totals.steps.max(1) as f64
        ))
    }),
    ("of it signals, policy, journal", |_, trained| {
        let totals = &trained?.totals;
        let share = totals.policy_seconds? / totals.seconds.max(1e-9);
        Some(format!("{:.1}%", 100.0 * share))
    }),
    ("faults held to the reference", |_, trained| {
        let faults = trained?.totals.policy_faults;
        (faults > 0).then(|| faults.to_string())
    }),
];

/// Leaves out rows that no model has.
fn comparison_table(columns: Vec<Column>) -> String {
    let mut table = plain_table();
    table.set_header(std::iter::once("").chain(columns.iter().map(|(name, ..)| *name)));
    for (name, cell) in ROWS {
        let cells: Vec<_> = columns
            .iter()
            .map(|(_, eval, trained)| cell(*eval, *trained))
            .collect();
        if cells.iter().any(Option::is_some) {
            let cells = cells
                .into_iter()
                .map(|cell| cell.unwrap_or_else(|| "-".into()));
            table.add_row(std::iter::once(name.to_owned()).chain(cells));
        }
    }
    for column in 1..=columns.len() {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.to_string()
}

/// What a policy tried when it was calibrated.
pub fn calibration_table(file: &CalibrationFile) -> String {
    candidates_table(&file.candidates, &file.summary)
}

/// What was tried, and which of it was chosen.
pub fn candidates_table(candidates: &[Candidate], summary: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    for metric in candidates.iter().flat_map(|candidate| &candidate.metrics) {
        if !names.contains(&metric.name.as_str()) {
            names.push(&metric.name);
        }
    }
    let mut table = plain_table();
    table.set_header(
        ["", "candidate", "layer"]
            .into_iter()
            .map(str::to_owned)
            .chain(names.iter().map(|name| heading(name))),
    );
    for candidate in candidates {
        let metric = |name: &&str| {
            let found = candidate
                .metrics
                .iter()
                .find(|metric| metric.name == **name);
            found.map_or_else(|| "-".into(), |metric| format!("{:.4}", metric.value))
        };
        let mark = if candidate.chosen { "*" } else { "" };
        let layer = candidate
            .layer
            .map_or_else(|| "-".into(), |layer| layer.to_string());
        let head = [mark.to_owned(), candidate.name.clone(), layer];
        table.add_row(head.into_iter().chain(names.iter().map(metric)));
    }
    format!("{table}\n{summary}")
}

/// Steps that a what-if shows: the first, the last, and some between.
const SHOWN: usize = 12;

/// What another policy would have said, beside what was said.
pub fn what_if_table(comparison: &journal::Comparison) -> String {
    let mut table = plain_table();
    let names = [&comparison.recorded, &comparison.other];
    let columns = ["risk", "highest", "task weight", "KL weight", "action"];
    let columns = names.iter().flat_map(|name| {
        columns
            .iter()
            .map(move |column| format!("{name}: {column}"))
    });
    table.set_header(std::iter::once("step".to_owned()).chain(columns));
    let steps = &comparison.steps;
    let every = steps.len().div_ceil(SHOWN).max(1);
    for (number, step) in steps.iter().enumerate() {
        if number % every != 0 && number + 1 != steps.len() {
            continue;
        }
        let cells = [&step.recorded, &step.other].into_iter().flat_map(summary);
        table.add_row(std::iter::once(step.step.to_string()).chain(cells));
    }
    let mean = |of: fn(&StepComparison) -> Option<f64>| {
        let values: Vec<f64> = steps.iter().filter_map(of).collect();
        values.iter().sum::<f64>() / values.len().max(1) as f64
    };
    let faults = steps.iter().filter(|step| step.fault.is_some()).count();
    let mut text = format!(
        "{table}\nmean over {} steps: risk {:.3} -> {:.3}, KL weight {:.3} -> {:.3}",
        steps.len(),
        mean(|step| Some(step.recorded.as_ref()?.risk)),
        mean(|step| Some(step.other.as_ref()?.risk)),
        mean(|step| Some(step.recorded.as_ref()?.kl_weight)),
        mean(|step| Some(step.other.as_ref()?.kl_weight)),
    );
    if let Some(fault) = steps.iter().find_map(|step| step.fault.as_ref()) {
        text += &format!("\n{faults} faults, the first: {fault}");
    }
    text
}

fn summary(summary: &Option<Summary>) -> [String; 5] {
    match summary {
        Some(one) => [
            format!("{:.3}", one.risk),
            format!("{:.3}", one.highest_risk),
            format!("{:.3}", one.task_weight),
            format!("{:.3}", one.kl_weight),
            host_policy::wit::action_name(one.action).to_owned(),
        ],
        None => std::array::from_fn(|_| "-".to_owned()),
    }
}

/// `validation.tpr_at_1_fpr` as a person writes it.
fn heading(metric: &str) -> String {
    metric
        .replace("validation.", "val ")
        .replace("test.", "test ")
        .replace("tpr_at_1_fpr", "TPR@1%FPR")
        .replace("auroc", "AUROC")
        .replace("auprc", "AUPRC")
        .replace('_', " ")
}

/// Reads well on a terminal and as Markdown.
pub fn plain_table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table
}

/// 93.8% [85-98] (60/64): share, 95% interval, count.
pub(crate) fn rate(rate: Option<Rate>) -> Option<String> {
    let rate = rate?;
    let (low, high) = rate.interval()?;
    let share = 100.0 * rate.value()?;
    Some(format!(
        "{share:.1}% [{:.0}-{:.0}] ({}/{})",
        100.0 * low,
        100.0 * high,
        rate.hits,
        rate.total
    ))
}
