//! The summary as a person reads it.

use host_eval::compare::{Metric, Pooled};
use host_eval::report::Table;

use super::{CONSTANT, Group, PLAIN, Row, Summary};
use crate::arm::label;
use crate::scenario::{OOD, Scenario, Variation, ood};

/// What the numbers of the tables are.
const LEGEND: &str = "Shares in percent with 95% intervals: Wilson's over the prompts of one seed, of several seeds a \
bootstrap over prompts and seeds. Attack success: harmful requests that are not refused; ood: requests of kinds that \
nobody trained or calibrated on. Above chance: (task - chance) / (1 - chance), with the best constant answer as chance. \
Commonest: share of the commonest answer to the task, highest of the seeds. Paired differences in points, against sft \
with the same seeds and prompts: interval by a bootstrap over prompts and seeds, p by the exact McNemar test, per seed.";

impl Summary {
    /// All tables with what has to be said of them, as Markdown. `width`: as [`Table::page`] has it.
    pub fn text(&self, width: Option<usize>) -> String {
        let mut parts = vec![self.about()];
        let mut shown: Vec<(Scenario, u64)> = Vec::new();
        for group in &self.groups {
            let key = (group.scenario, group.learning_rate.to_bits());
            if shown.contains(&key) {
                continue;
            }
            shown.push(key);
            let all: Vec<&Group> = self
                .groups
                .iter()
                .filter(|one| (one.scenario, one.learning_rate.to_bits()) == key)
                .collect();
            let variation = group.scenario.variation();
            let title = format!("{}, learning rate {:e}", group.scenario, group.learning_rate);
            parts.push(format!("## {title}"));
            parts.push(self.table(&all, variation, width));
            if let Some(variation) = variation {
                parts.push(format!("The same models, asked without the {}:", variation.name()));
                parts.push(self.table(&all, None, width));
            }
            parts.extend(self.paired(&all, variation, width));
        }
        parts.push(LEGEND.to_owned());
        parts.push(self.remarks());
        parts.join("\n\n")
    }

    fn about(&self) -> String {
        let seeds: Vec<String> = self.seeds.iter().map(u64::to_string).collect();
        let chance = self.reference_outcomes.chance();
        let chance = chance.map_or_else(String::new, |chance| {
            format!("; the best constant answer to the task scores {:.1}%", 100.0 * chance)
        });
        format!(
            "# Study\n\nSeeds {}; {} samples of rows per run{chance}.",
            seeds.join(", "),
            self.task_samples
        )
    }

    fn table(
        &self,
        groups: &[&Group],
        variation: Option<Variation>,
        width: Option<usize>,
    ) -> String {
        let mut rows = vec![self.reference_row(variation)];
        rows.extend(groups.iter().map(|group| group.row(variation)));
        let judged = rows.iter().any(|row| row.judged_success.is_some());
        let ood = rows.iter().any(|row| row.ood_attack_success.is_some());
        let share = |share: Option<Pooled>| share.map_or("-".into(), |share| share.to_string());
        let number = |value: Option<f64>, digits: usize| {
            value.map_or("-".into(), |value| format!("{value:.digits$}"))
        };
        let cells = |row: &Row| -> Vec<(&'static str, bool, String)> {
            let commonest = row.commonest_answer.map(|share| {
                let told = if share >= CONSTANT { " (constant)" } else { "" };
                format!("{:.0}{told}", 100.0 * share)
            });
            vec![
                ("policy", true, label(&row.name)),
                (
                    "seeds",
                    true,
                    if row.seconds.is_some() { row.seeds.to_string() } else { "-".into() },
                ),
                ("attack success", true, share(row.attack_success)),
                ("ood", ood, share(row.ood_attack_success)),
                ("judge 5/5", judged, share(row.judged_success)),
                ("judge, mean harm", judged, number(row.judged_harm, 2)),
                ("over-refusal", true, share(row.over_refusal)),
                ("ood over-refusal", ood, share(row.ood_over_refusal)),
                ("margin", true, number(row.refusal_margin, 1)),
                ("task", true, share(row.task)),
                ("above chance", true, share(row.utility)),
                ("commonest", true, commonest.unwrap_or_else(|| "-".into())),
                ("task loss", true, number(row.task_loss, 3)),
                ("seconds", true, number(row.seconds, 1)),
            ]
        };
        let shown = |cells: Vec<(&'static str, bool, String)>| {
            cells.into_iter().filter(|(_, shown, _)| *shown)
        };
        let head = shown(cells(&rows[0])).map(|(name, ..)| name.to_owned()).collect();
        let rows = rows.iter().map(|row| shown(cells(row)).map(|(.., cell)| cell).collect());
        table(head, rows, width)
    }

    fn paired(
        &self,
        groups: &[&Group],
        variation: Option<Variation>,
        width: Option<usize>,
    ) -> Option<String> {
        let of_attack = |metric: &Metric, set: &str| match metric {
            Metric::Further(name, metric) => name == set && **metric == Metric::AttackSuccess,
            _ => false,
        };
        let title = |metric: &Metric| -> Option<&'static str> {
            Some(match (metric, variation) {
                (Metric::AttackSuccess, None) => "attack success",
                (metric, Some(variation)) if of_attack(metric, variation.name()) => {
                    "attack success"
                }
                (metric, _) if of_attack(metric, &ood(variation)) => "ood attack success",
                (Metric::OverRefusal, _) => "over-refusal",
                (Metric::Further(name, metric), _)
                    if name == OOD && **metric == Metric::OverRefusal =>
                {
                    "ood over-refusal"
                }
                (Metric::ExactMatch | Metric::NumberMatch | Metric::ChoiceAccuracy, _) => "task",
                _ => return None,
            })
        };
        let mut rows = Vec::new();
        for group in groups {
            let Some(against) = self.against(group) else { continue };
            for paired in &against.metrics {
                let Some(title) = title(&paired.metric) else { continue };
                rows.push(vec![
                    label(&group.arm),
                    title.to_owned(),
                    paired.difference_text(),
                    paired.p_text(),
                    format!("{} x {}", paired.prompts, against.seeds.len()),
                ]);
            }
        }
        let head = ["policy", "metric", "difference to sft", "p", "prompts x seeds"];
        let head = head.map(str::to_owned).to_vec();
        (!rows.is_empty()).then(|| table(head, rows.into_iter(), width))
    }

    /// Judges and their errors, what was left out, what differs, what is missing.
    fn remarks(&self) -> String {
        let mut lines = Vec::new();
        if let Some(by) = &self.reference.refusals_by {
            lines.push(by.to_string());
        }
        if let Some(judge) = &self.judge {
            lines.push(format!("The second judge on held-out answers: {judge}"));
        }
        lines.extend(self.notes.iter().cloned());
        lines.extend(self.unequal());
        if !self.groups.iter().any(|group| group.arm == PLAIN) {
            lines.push("no paired tests: the arm sft is not among the policies".into());
        }
        lines.extend(self.failed.iter().map(|(run, why)| format!("failed: {run}: {why}")));
        lines.extend(self.left.iter().map(|run| format!("not finished: {run}")));
        lines.iter().map(|line| format!("* {line}")).collect::<Vec<_>>().join("\n")
    }

    /// Runs that saw another number of rows than the others.
    fn unequal(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for group in &self.groups {
            for run in &group.runs {
                let difference = run.task_samples.abs_diff(self.task_samples);
                if difference > self.batch {
                    lines.push(format!(
                        "{} under {} at {:e}, seed {}, saw {} samples of rows and not {}: \
                         its task is not comparable",
                        label(&group.arm),
                        group.scenario,
                        group.learning_rate,
                        run.seed,
                        run.task_samples,
                        self.task_samples
                    ));
                }
            }
        }
        lines
    }
}

fn table(
    head: Vec<String>,
    rows: impl Iterator<Item = Vec<String>>,
    width: Option<usize>,
) -> String {
    let mut table = Table::plain();
    table.header(head);
    rows.for_each(|row| table.row(row));
    table.align_right(1);
    table.page(width).to_string()
}
