//! The folder of a study: tables per attack and learning rate, and their plots.

use host_files::shell;
use std::collections::BTreeMap;
use std::path::Path;

use host_eval::compare::{Placed, colours_of, pareto};
use host_html::Chart;
use host_html::chart::{Axis, Point, Series, Style};
use host_trainer::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::part::Problems;
use crate::run::name;

/// Groups, and lines below, that are shown.
const SHOWN: (usize, usize) = (200, 100);

/// A study as a report has it.
#[derive(Debug, Serialize)]
pub struct Study {
    /// The folder, as it was named.
    pub folder: String,
    /// Its last part.
    pub name: String,
    /// What could not be read or isn't shown.
    pub problems: Vec<String>,
    /// What all runs have in common: keys of study.json.
    pub begun: Vec<(String, String)>,
    /// One per attack and learning rate.
    pub tables: Vec<Attack>,
    /// Shares over the attacks, per learning rate.
    pub over_attacks: Vec<Chart>,
    /// What was left out or differs.
    pub notes: Vec<String>,
    /// Runs that failed, and why.
    pub failed: Vec<String>,
    /// Runs that an interruption left.
    pub unfinished: Vec<String>,
}

/// One attack at one learning rate.
#[derive(Debug, Serialize)]
pub struct Attack {
    /// Attack and rate.
    pub title: String,
    /// One row per policy, after the reference; the first row is the head.
    pub rows: Vec<Vec<String>>,
    /// Paired with plain fine-tuning; the first row is the head.
    pub paired: Vec<Vec<String>>,
    /// Attack success over utility.
    pub plot: Option<Chart>,
}

/// summary.json, as far as it is shown.
#[derive(Deserialize)]
struct Summary {
    reference: Row,
    groups: Vec<Group>,
    #[serde(default)]
    notes: Vec<String>,
    #[serde(default)]
    failed: Vec<(String, String)>,
    #[serde(default)]
    unfinished: Vec<String>,
}

#[derive(Deserialize)]
struct Group {
    attack: String,
    learning_rate: f64,
    policy: String,
    #[serde(default)]
    seeds: Vec<u64>,
    measured: Row,
    #[serde(default)]
    against_sft: Option<Against>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Row {
    attack_success: Option<Share>,
    ood_attack_success: Option<Share>,
    judged_success: Option<Share>,
    over_refusal: Option<Share>,
    task: Option<Share>,
    utility: Option<Share>,
    task_loss: Option<f64>,
    seconds: Option<f64>,
}

#[derive(Clone, Copy, Deserialize)]
struct Share {
    mean: f64,
    interval: (f64, f64),
}

#[derive(Deserialize)]
struct Against {
    metrics: Vec<Paired>,
}

#[derive(Deserialize)]
struct Paired {
    metric: String,
    prompts: usize,
    difference: f64,
    interval: (f64, f64),
    p_values: Vec<f64>,
}

/// Whether a study was begun in a folder.
pub fn is_one(folder: &Path) -> bool {
    folder.join("study.json").is_file() && !folder.join("config.toml").is_file()
}

impl Study {
    /// Reads the tables that it came to.
    ///
    /// # Errors
    /// A study that has none yet.
    pub fn read(folder: &Path) -> Result<Self> {
        let mut problems = Problems::default();
        let summary: Option<Summary> = problems.json(folder, "summary.json");
        let Some(mut summary) = summary else {
            let why = problems.into_lines().pop();
            let why = why.unwrap_or_else(|| {
                "has not come to its tables yet (there is no summary.json)".into()
            });
            let problem = format!(
                "{why}; go on with host study --out {}, or name single runs in its folder runs",
                shell::path(folder)
            );
            return Err(Error::file(folder, problem));
        };
        let begun: Option<Value> = problems.json(folder, "study.json");
        let begun = begun.as_ref().and_then(Value::as_object).into_iter().flatten();
        let begun = begun.filter(|(_, value)| !is_nothing(value)).map(|(key, value)| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            (key.clone(), text.chars().take(1000).collect())
        });
        let begun = begun.collect();
        if summary.groups.len() > SHOWN.0 {
            problems.add(format!(
                "{} of {} groups are shown; summary.json has all",
                SHOWN.0,
                summary.groups.len()
            ));
            summary.groups.truncate(SHOWN.0);
        }
        let failed = summary.failed.iter().map(|(run, why)| format!("{run}: {why}"));
        Ok(Self {
            folder: folder.display().to_string(),
            name: name(folder),
            begun,
            tables: tables(&summary),
            over_attacks: over_attacks(&summary.groups),
            notes: capped(summary.notes.iter().cloned()),
            failed: capped(failed),
            unfinished: capped(summary.unfinished.iter().cloned()),
            problems: problems.into_lines(),
        })
    }
}

fn is_nothing(value: &Value) -> bool {
    value.is_null() || value.as_array().is_some_and(Vec::is_empty) || *value == Value::Bool(false)
}

fn capped(lines: impl Iterator<Item = String>) -> Vec<String> {
    let mut lines: Vec<String> = lines.collect();
    if lines.len() > SHOWN.1 {
        let more = lines.len() - SHOWN.1;
        lines.truncate(SHOWN.1);
        lines.push(format!("and {more} more in summary.json"));
    }
    lines
}

type Of = fn(&Row) -> Option<Share>;

/// The colour of a policy, the same everywhere.
fn colours(groups: &[Group]) -> BTreeMap<&str, usize> {
    colours_of(groups.iter().map(|group| group.policy.as_str()))
}

fn tables(summary: &Summary) -> Vec<Attack> {
    let colours = colours(&summary.groups);
    let mut keys: Vec<(&str, u64)> = Vec::new();
    for group in &summary.groups {
        let key = (group.attack.as_str(), group.learning_rate.to_bits());
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    let of = |(attack, rate): (&str, u64)| {
        let groups = summary.groups.iter();
        let groups =
            groups.filter(|one| one.attack == attack && one.learning_rate.to_bits() == rate);
        let groups: Vec<&Group> = groups.collect();
        let title = format!("{attack}, learning rate {:e}", f64::from_bits(rate));
        let share = |share: Share| (share.mean, Some(share.interval));
        let placed = groups.iter().filter_map(|group| {
            Some(Placed {
                name: group.policy.clone(),
                utility: share(group.measured.utility?),
                attack_success: share(group.measured.attack_success?),
                colour: colours[group.policy.as_str()],
            })
        });
        let placed: Vec<Placed> = placed.collect();
        let level = summary.reference.attack_success;
        let level = level.map(|share| ("the reference".to_owned(), share.mean));
        let plot = pareto("Attack success over the task", "task above chance", level, &placed);
        Attack {
            rows: rows(&summary.reference, &groups),
            paired: paired(&groups),
            plot: (!placed.is_empty()).then_some(plot),
            title,
        }
    };
    keys.into_iter().map(of).collect()
}

fn rows(reference: &Row, groups: &[&Group]) -> Vec<Vec<String>> {
    let shares: [(&str, Of); 6] = [
        ("attack success", |row| row.attack_success),
        ("of other kinds", |row| row.ood_attack_success),
        ("judge 5 of 5", |row| row.judged_success),
        ("over-refusal", |row| row.over_refusal),
        ("task", |row| row.task),
        ("above chance", |row| row.utility),
    ];
    let measured = || std::iter::once(reference).chain(groups.iter().map(|group| &group.measured));
    let shares = shares.into_iter().filter(|(_, share)| measured().any(|row| share(row).is_some()));
    let shares: Vec<(&str, Of)> = shares.collect();
    let head = ["policy", "seeds"].into_iter().chain(shares.iter().map(|(name, _)| *name));
    let head = head.chain(["task loss", "seconds"]).map(str::to_owned).collect();
    let row = |name: &str, seeds: String, row: &Row| -> Vec<String> {
        let number = |value: Option<f64>, decimals: usize| {
            value.map_or_else(|| "-".to_owned(), |value| format!("{value:.decimals$}"))
        };
        let shares = shares.iter().map(|(_, share)| share(row).map_or_else(|| "-".into(), percent));
        [name.to_owned(), seeds]
            .into_iter()
            .chain(shares)
            .chain([number(row.task_loss, 3), number(row.seconds, 1)])
            .collect()
    };
    let mut rows = vec![head, row("the reference", "-".into(), reference)];
    rows.extend(
        groups
            .iter()
            .map(|group| row(&group.policy, group.seeds.len().to_string(), &group.measured)),
    );
    rows
}

fn percent(share: Share) -> String {
    let (low, high) = share.interval;
    format!("{:.1}% [{:.1}, {:.1}]", 100.0 * share.mean, 100.0 * low, 100.0 * high)
}

fn paired(groups: &[&Group]) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for group in groups {
        for one in group.against_sft.iter().flat_map(|against| &against.metrics) {
            let (low, high) = one.interval;
            let p = one
                .p_values
                .iter()
                .map(|p| if *p < 0.001 { "<0.001".to_owned() } else { format!("{p:.3}") });
            rows.push(vec![
                group.policy.clone(),
                one.metric.clone(),
                format!(
                    "{:+.1} [{:+.1}, {:+.1}]",
                    100.0 * one.difference,
                    100.0 * low,
                    100.0 * high
                ),
                p.collect::<Vec<_>>().join(", "),
                one.prompts.to_string(),
            ]);
        }
    }
    if !rows.is_empty() {
        let head = ["policy", "metric", "difference to sft, points", "p per seed", "prompts"];
        rows.insert(0, head.map(str::to_owned).to_vec());
    }
    rows
}

fn over_attacks(groups: &[Group]) -> Vec<Chart> {
    let colours = colours(groups);
    let mut attacks: Vec<&str> = Vec::new();
    let mut rates: Vec<u64> = Vec::new();
    for group in groups {
        if !attacks.contains(&group.attack.as_str()) {
            attacks.push(&group.attack);
        }
        if !rates.contains(&group.learning_rate.to_bits()) {
            rates.push(group.learning_rate.to_bits());
        }
    }
    if attacks.len() < 2 {
        return Vec::new();
    }
    let quantities: [(&str, Of); 3] = [
        ("Harmful requests answered", |row| row.attack_success),
        ("Harmless requests refused", |row| row.over_refusal),
        ("Task", |row| row.task),
    ];
    let chart = |(title, value): (&str, Of), rate: u64| {
        let series = colours.iter().map(|(policy, colour)| {
            let points = groups.iter().filter_map(|group| {
                let at = attacks.iter().position(|attack| *attack == group.attack)?;
                let share = value(&group.measured)?;
                let (low, high) = share.interval;
                (group.policy == *policy && group.learning_rate.to_bits() == rate).then(|| Point {
                    up: Some((100.0 * low, 100.0 * high)),
                    ..Point::at(at as f64, 100.0 * share.mean)
                })
            });
            let points = points.collect();
            Series { name: (*policy).to_owned(), colour: *colour, style: Style::Joined, points }
        });
        let places = attacks.iter().map(|attack| (*attack).to_owned()).collect();
        let title = format!("{title}, learning rate {:e}", f64::from_bits(rate));
        let (across, up) = (Axis::of_places("attack", places), Axis::within("%", 0.0, 100.0));
        Chart::new(title, across, up, series.collect())
    };
    let charts = rates.iter().flat_map(|rate| quantities.map(|quantity| chart(quantity, *rate)));
    charts.filter(|chart| !chart.is_empty()).collect()
}
