//! The table of models: one column each, one row per metric that any of them has.

use std::collections::BTreeSet;

use host_files::Page;

use super::{Table, Totals, Trained};
use crate::evaluation::Evaluation;
use crate::measure::{Mean, Rate, RefusalsBy};

/// One model: its name, what it did, and how it was trained.
pub(super) type Column<'a> = (&'a str, Option<&'a Evaluation>, Option<&'a Trained>);

/// The table as text. `escape` is what the format asks for of every text, `width` as
/// [`Table::page`] has it.
pub(super) fn table(
    columns: &[Column],
    escape: impl Fn(&str) -> String,
    width: Option<usize>,
) -> Page {
    let (rows, notes) = rows(columns);
    let mut rows = rows.iter().map(|row| row.iter().map(|cell| escape(cell)).collect::<Vec<_>>());
    let mut table = Table::plain();
    table.header(rows.next().unwrap_or_default());
    rows.for_each(|row| table.row(row));
    table.align_right(1);
    let mut page = table.page(width);
    page.lines(notes.iter().map(|line| escape(line)));
    page
}

/// Rows of cells, the first row the names of the models, and what has to be said below them. Leaves
/// out rows that no model has.
pub(super) fn rows(columns: &[Column]) -> (Vec<Vec<String>>, Vec<String>) {
    let evaluations = columns.iter().filter_map(|(_, eval, _)| *eval);
    let judges: BTreeSet<&str> =
        evaluations.flat_map(|eval| eval.judges.keys()).map(String::as_str).collect();
    let evaluations = columns.iter().filter_map(|(_, eval, _)| *eval);
    let further: BTreeSet<&str> =
        evaluations.flat_map(|eval| eval.further.keys()).map(String::as_str).collect();
    let cells: Vec<Vec<Cell>> = columns
        .iter()
        .map(|(_, eval, trained)| {
            let measured = eval.map(|eval| measured(eval, &judges, &further));
            let measured = measured.unwrap_or_default();
            measured.into_iter().chain(training(*trained)).collect()
        })
        .collect();
    // A model that was not evaluated has fewer, and none that others lack.
    let names = cells.iter().max_by_key(|cells| cells.len());
    let names = names.into_iter().flatten().map(|(name, _)| name);
    let names_of = columns.iter().map(|(name, ..)| (*name).to_owned());
    let mut rows = vec![std::iter::once(String::new()).chain(names_of).collect::<Vec<_>>()];
    for name in names {
        let row: Vec<Option<&str>> = cells.iter().map(|cells| cell(cells, name)).collect();
        if row.iter().any(Option::is_some) {
            let row = row.into_iter().map(|cell| cell.unwrap_or("-").to_owned());
            rows.push(std::iter::once(name.clone()).chain(row).collect());
        }
    }
    let evaluations = columns.iter().filter_map(|(name, eval, _)| Some((name, (*eval)?)));
    let notes = footnotes(evaluations.clone().filter_map(|(_, eval)| eval.refusals_by.as_ref()));
    let unread =
        evaluations.filter_map(|(name, eval)| Some(format!("{name}: {}.", eval.told_unread()?)));
    (rows, notes.into_iter().chain(unread).collect())
}

/// What found the refusals of a table, each once, with its error rates.
pub fn footnotes<'a>(found_by: impl IntoIterator<Item = &'a RefusalsBy>) -> Vec<String> {
    let distinct: BTreeSet<&RefusalsBy> = found_by.into_iter().collect();
    distinct.into_iter().map(ToString::to_string).collect()
}

/// A row's name and what it says of one model.
type Cell = (String, Option<String>);

fn cell<'a>(cells: &'a [Cell], name: &str) -> Option<&'a str> {
    let (_, text) = cells.iter().find(|(other, _)| other == name)?;
    text.as_deref()
}

fn measured(eval: &Evaluation, judges: &BTreeSet<&str>, further: &BTreeSet<&str>) -> Vec<Cell> {
    let some = |count: usize| (count > 0).then(|| count.to_string());
    let mut cells = vec![
        ("harmful requests refused".into(), rate(eval.refusal)),
        ("harmful requests answered".into(), rate(eval.attack_success)),
        ("of these refused in part".into(), rate(eval.partial_refusal)),
    ];
    for name in judges {
        let harm = eval.judges.get(*name);
        let row = |what: &str| format!("judge {name}: {what}");
        let unknown = harm.map(crate::measure::Harm::unknown).filter(|count| *count > 0);
        cells.extend([
            (row("harm 5 of 5"), rate(harm.and_then(|harm| harm.attack_success))),
            (row("mean harm"), mean(harm.and_then(|harm| harm.score), 2)),
            (row("StrongREJECT"), mean(harm.and_then(|harm| harm.strongreject), 3)),
            (row("no judgement, counted as worst"), unknown.map(|count| count.to_string())),
        ]);
    }
    cells.extend([
        ("harmless requests refused".into(), rate(eval.over_refusal)),
        ("harmless requests refused in part".into(), rate(eval.partial_over_refusal)),
        ("no answer, counted as answered".into(), some(eval.empty_answers)),
        ("unknown language, counted as answered".into(), rate(eval.unread)),
        ("refusal margin".into(), mean(eval.refusal_margin, 2)),
        ("task: exact match".into(), rate(eval.exact_match)),
        ("task: number match".into(), rate(eval.number_match)),
        ("task: choices".into(), rate(eval.choice_accuracy)),
        ("task: loss per token".into(), mean(eval.task_loss, 3)),
        ("task: perplexity".into(), mean(eval.perplexity, 2)),
        ("KL to the reference".into(), mean(eval.kl, 3)),
    ]);
    for name in further {
        let found = eval.further.get(*name);
        let row = |what: &str| format!("{name}: {what}");
        cells.extend([
            (row("harmful requests answered"), rate(found.and_then(|found| found.attack_success))),
            (row("of these in part"), rate(found.and_then(|found| found.partial_refusal))),
            (row("harmless requests refused"), rate(found.and_then(|found| found.over_refusal))),
        ]);
        for judge in judges {
            let harm = found.and_then(|found| found.judges.get(*judge));
            let success = rate(harm.and_then(|harm| harm.attack_success));
            let score = mean(harm.and_then(|harm| harm.score), 2);
            cells.push((row(&format!("judge {judge}: harm 5 of 5")), success));
            cells.push((row(&format!("judge {judge}: mean harm")), score));
        }
    }
    cells
}

fn training(trained: Option<&Trained>) -> Vec<Cell> {
    let totals = trained.map(|trained| &trained.totals);
    let per_step = totals.map(|totals| {
        let seconds = totals.seconds / totals.steps.max(1) as f64;
        format!("{seconds:.3}")
    });
    let of_it = totals.and_then(|totals| {
        let share = totals.policy_seconds? / totals.seconds.max(1e-9);
        Some(format!("{:.1}%", 100.0 * share))
    });
    let faults = totals.map_or(0, |totals| totals.policy_faults);
    let skipped = totals.filter(|totals| totals.skipped > 0);
    let untaught = totals.filter(|totals| totals.untaught > 0);
    let mut cells = vec![
        ("optimizer steps".into(), totals.map(|totals| totals.steps.to_string())),
        ("adapter of step".into(), totals.and_then(kept)),
        ("seconds per step".into(), per_step),
        ("of it signals, policy, journal".into(), of_it),
        ("faults held to the reference".into(), (faults > 0).then(|| faults.to_string())),
        (
            "steps skipped".into(),
            skipped.map(|totals| format!("{} of {}", totals.skipped, totals.steps)),
        ),
        (
            "samples that taught nothing".into(),
            untaught.map(|totals| format!("{} of {}", totals.untaught, totals.samples)),
        ),
    ];
    for (name, tally) in totals.iter().flat_map(|totals| &totals.judges) {
        let unscored = tally.unscored();
        let text = (unscored > 0)
            .then(|| format!("{unscored} of {} ({})", tally.total(), tally.described()));
        cells.push((format!("judge {name}: no score in training"), text));
    }
    cells
}

/// The step whose adapter was kept, if there was a choice, and by which rule.
fn kept(totals: &Totals) -> Option<String> {
    let selection = totals.evaluations.as_ref()?;
    let kept = selection.kept.as_ref()?;
    let best = selection.best.as_ref().is_some_and(|best| best.step == kept.step);
    let what =
        if best { format!("best by {}", selection.choice.rule.name()) } else { "last".into() };
    Some(format!("{} ({what})", kept.step))
}

/// 93.8% [85-98] (60/64): share, 95% interval, count.
pub fn rate(rate: Option<Rate>) -> Option<String> {
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

/// 0.207 [0.198, 0.216]: mean, 95% interval.
fn mean(mean: Option<Mean>, decimals: usize) -> Option<String> {
    let Mean { mean, interval, .. } = mean?;
    Some(match interval {
        Some((low, high)) => {
            format!("{mean:.decimals$} [{low:.decimals$}, {high:.decimals$}]")
        }
        None => format!("{mean:.decimals$}"),
    })
}
