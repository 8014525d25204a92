//! What policies tried, and what another one would have said.

use host_audit::journal::{self, StepComparison, Summary};
use host_contract::Candidate;
use host_files::Page;

use super::Table;

/// What was tried, and which of it was chosen.
/// `width`: as [`Table::page`] has it.
pub fn candidates_table(candidates: &[Candidate], summary: &str, width: Option<usize>) -> Page {
    let fits = |left_out: &&[&str]| {
        let natural = candidates_in(candidates, left_out, None);
        let longest = natural.as_str().lines().map(|line| line.chars().count()).max();
        width.is_none_or(|width| longest <= Some(width))
    };
    let left_out = (0..LEFT_OUT.len()).map(|more| &LEFT_OUT[..more]).find(fits);
    let left_out = left_out.unwrap_or(&LEFT_OUT);
    let mut page = candidates_in(candidates, left_out, width);
    if !left_out.is_empty() {
        page.line(format!("{} are in the file, and on a wider screen", left_out.join(" and ")));
    }
    page.line(summary);
    page
}

/// Metrics that a narrow screen has no room for, the first of them first.
const LEFT_OUT: [&str; 2] = ["log_loss", "auprc"];

fn candidates_in(candidates: &[Candidate], left_out: &[&str], width: Option<usize>) -> Page {
    let mut rows = some_rows(candidates, left_out).into_iter();
    let mut table = Table::plain();
    table.header(rows.next().unwrap_or_default());
    rows.for_each(|row| table.row(row));
    table.page(width)
}

/// What was tried as rows of cells, the first row the head.
pub fn candidates_rows(candidates: &[Candidate]) -> Vec<Vec<String>> {
    some_rows(candidates, &[])
}

fn some_rows(candidates: &[Candidate], left_out: &[&str]) -> Vec<Vec<String>> {
    let mut names: Vec<&str> = Vec::new();
    for metric in candidates.iter().flat_map(|candidate| &candidate.metrics) {
        let hidden = left_out.iter().any(|one| metric.name.ends_with(one));
        if !hidden && !names.contains(&metric.name.as_str()) {
            names.push(&metric.name);
        }
    }
    let head = ["", "candidate", "layer"].into_iter().map(str::to_owned);
    let mut rows = vec![head.chain(names.iter().map(|name| heading(name))).collect::<Vec<_>>()];
    for candidate in candidates {
        let metric = |name: &&str| {
            let found = candidate.metrics.iter().find(|metric| metric.name == **name);
            found.map_or_else(|| "-".into(), |metric| format!("{:.4}", metric.value))
        };
        let mark = if candidate.chosen { "*" } else { "" };
        let layer = candidate.layer.map_or_else(|| "-".into(), |layer| layer.to_string());
        let head = [mark.to_owned(), candidate.name.clone(), layer];
        rows.push(head.into_iter().chain(names.iter().map(metric)).collect());
    }
    rows
}

/// Steps that a what-if shows: the first, the last, and some between.
const SHOWN: usize = 12;

/// What another policy would have said, beside what was said.
/// `width`: as [`Table::page`] has it.
pub fn what_if_table(comparison: &journal::Comparison, width: Option<usize>) -> Page {
    let mut table = Table::plain();
    let names = [&comparison.recorded, &comparison.other];
    let columns = ["risk", "highest", "task weight", "KL weight", "action"];
    let columns =
        names.iter().flat_map(|name| columns.iter().map(move |column| format!("{name}: {column}")));
    table.header(std::iter::once("step".to_owned()).chain(columns));
    let steps = &comparison.steps;
    let every = steps.len().div_ceil(SHOWN).max(1);
    for (number, step) in steps.iter().enumerate() {
        if number % every != 0 && number + 1 != steps.len() {
            continue;
        }
        let cells = [&step.recorded, &step.other].into_iter().flat_map(summary);
        table.row(std::iter::once(step.step.to_string()).chain(cells));
    }
    let mean = |of: fn(&StepComparison) -> Option<f64>| {
        let values: Vec<f64> = steps.iter().filter_map(of).collect();
        values.iter().sum::<f64>() / values.len().max(1) as f64
    };
    let faults = steps.iter().filter(|step| step.fault.is_some()).count();
    let mut page = table.page(width);
    page.line(format!(
        "mean over {} steps: risk {:.3} -> {:.3}, KL weight {:.3} -> {:.3}",
        steps.len(),
        mean(|step| Some(step.recorded.as_ref()?.risk)),
        mean(|step| Some(step.other.as_ref()?.risk)),
        mean(|step| Some(step.recorded.as_ref()?.kl_weight)),
        mean(|step| Some(step.other.as_ref()?.kl_weight)),
    ));
    if let Some(fault) = steps.iter().find_map(|step| step.fault.as_ref()) {
        page.line(format!("{faults} faults, the first: {fault}"));
    }
    page
}

fn summary(summary: &Option<Summary>) -> [String; 5] {
    match summary {
        Some(one) => [
            format!("{:.3}", one.risk),
            format!("{:.3}", one.highest_risk),
            format!("{:.3}", one.task_weight),
            format!("{:.3}", one.kl_weight),
            one.action.name().to_owned(),
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
