//! Members of several runs that differ only in the seed, as one method.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Serialize;

use super::member::{Member, Stage};
use super::metric::{self, Metric};
use super::paired::Paired;
use super::spread::Spread;
use crate::evaluation::Evaluation;
use crate::measure::RefusalsBy;

/// One way to train, and what came of it over all its seeds.
#[derive(Debug, Serialize)]
pub struct Method {
    /// The policies' names, or what stands in their place.
    pub name: String,
    /// What tells it from the other methods of the table.
    pub settings: BTreeMap<String, String>,
    pub seeds: Vec<u64>,
    pub runs: Vec<PathBuf>,
    /// What told refusals from answers, one for all runs as a rule.
    pub refusals_by: BTreeSet<RefusalsBy>,
    /// Runs whose reports have shares of refusals and don't say what found them.
    pub refusals_by_unknown: usize,
    #[serde(serialize_with = "by_key")]
    pub metrics: BTreeMap<Metric, Spread>,
    /// Paired with another method, prompt by prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub against: Option<Against>,
}

/// What pairs of answers say of a method and another one, on the same prompts and seeds.
#[derive(Debug, Serialize)]
pub struct Against {
    /// The other method.
    pub name: String,
    /// Those that both have.
    pub seeds: Vec<u64>,
    pub metrics: Vec<Paired>,
}

impl Method {
    /// Its name and what tells it from others.
    pub fn title(&self) -> String {
        let settings = self.settings.iter();
        let settings = settings.map(|(key, value)| format!(", {key}={value}"));
        std::iter::once(self.name.clone()).chain(settings).collect()
    }
}

/// Whether a method is the one that a person means: its policy's digest may stay away.
pub fn is_named(method: &str, meant: &str) -> bool {
    let rest = method.strip_prefix(meant);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' ') && !rest.contains(','))
}

fn by_key<S: serde::Serializer>(
    metrics: &BTreeMap<Metric, Spread>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(metrics.iter().map(|(metric, spread)| (metric.key(), spread)))
}

/// The members of one method, one per seed.
type Group<'m, 'r> = Vec<&'m Member<'r>>;

pub(super) fn methods(
    members: Vec<Member>,
    against: Option<&str>,
    notices: &mut Vec<String>,
) -> Vec<Method> {
    let mut groups: Vec<Group> = Vec::new();
    for member in &members {
        let is_same = |group: &&mut Group| {
            let first = group[0];
            (first.stage, &first.name, &first.facts) == (member.stage, &member.name, &member.facts)
        };
        match groups.iter_mut().find(is_same) {
            None => groups.push(vec![member]),
            Some(group) => match group.iter().find(|other| other.run.seed == member.run.seed) {
                None => group.push(member),
                Some(other) if member.stage == Stage::Policy => notices.push(format!(
                    "{} is a repetition of {} (same settings, same seed), so it is counted once",
                    member.run.folder.display(),
                    other.run.folder.display()
                )),
                Some(_) => {}
            },
        }
    }
    groups.sort_by_key(|group| group[0].stage);
    let differences = differences(&groups);
    let method = |(group, settings)| of(group, settings, paired(group, &groups, against));
    groups.iter().zip(differences).map(method).collect()
}

/// Pairs a group with the one it is to be compared with, if there is one with answers to the same
/// prompts under the same seeds.
fn paired(group: &Group, groups: &[Group], against: Option<&str>) -> Option<Against> {
    let is_other = |one: &Member| match against {
        Some(name) => is_named(&one.name, name),
        None => one.stage == Stage::Plain || is_named(&one.name, "sft"),
    };
    let own = group[0];
    if own.stage == Stage::Before || is_other(own) {
        return None;
    }
    let unlike = |other: &&Group| {
        let keys = other[0].facts.iter().filter(|(key, _)| Stage::Plain.depends_on(key));
        keys.filter(|(key, value)| own.facts.get(*key) != Some(value)).count()
    };
    let other = groups.iter().filter(|other| is_other(other[0])).min_by_key(unlike)?;
    let pairs: Vec<_> = group
        .iter()
        .filter_map(|one| {
            let other = other.iter().find(|other| other.run.seed == one.run.seed)?;
            Some((one.run.seed, (one.outcomes?, other.outcomes?)))
        })
        .collect();
    let (seeds, pairs): (Vec<u64>, Vec<_>) = pairs.into_iter().unzip();
    let metrics = Paired::of(&pairs);
    (!metrics.is_empty()).then(|| Against { name: other[0].name.clone(), seeds, metrics })
}

fn of(group: &Group, settings: BTreeMap<String, String>, against: Option<Against>) -> Method {
    let mut group = group.clone();
    group.sort_by_key(|member| member.run.seed);
    let mut measured: BTreeMap<Metric, Vec<metric::Measured>> = BTreeMap::new();
    for member in &group {
        for (metric, found) in metric::of(member.evaluation, member.trained) {
            measured.entry(metric).or_default().push(found);
        }
    }
    let evaluations = || group.iter().filter_map(|member| member.evaluation);
    let is_unknown = |eval: &Evaluation| {
        eval.refusals_by.is_none() && (eval.attack_success.or(eval.over_refusal)).is_some()
    };
    let spread = |(metric, found): (Metric, Vec<metric::Measured>)| (metric, Spread::of(&found));
    Method {
        name: group[0].name.clone(),
        settings,
        seeds: group.iter().map(|member| member.run.seed).collect(),
        runs: group.iter().map(|member| member.run.folder.clone()).collect(),
        refusals_by: evaluations().filter_map(|eval| eval.refusals_by.clone()).collect(),
        refusals_by_unknown: evaluations().filter(|eval| is_unknown(eval)).count(),
        metrics: measured.into_iter().map(spread).collect(),
        against,
    }
}

/// Per group the settings that tell it apart: those of the policies among groups of its
/// name, all others among all groups that have them. Digests only where the rest doesn't.
fn differences(groups: &[Group]) -> Vec<BTreeMap<String, String>> {
    let is_digest = |key: &str| key.ends_with(".sha256");
    let all: BTreeSet<&str> =
        groups.iter().flat_map(|group| group[0].facts.keys().copied()).collect();
    let telling = |group: &Group, digests: bool| {
        let keys = all.iter().filter(|key| digests || !is_digest(key));
        let keys = keys.filter(|key| differs(key, group, groups));
        let shown = keys.filter_map(|key| Some((*key, *group[0].facts.get(key)?)));
        shorten(shown.collect())
    };
    let brief: Vec<_> = groups.iter().map(|group| telling(group, false)).collect();
    let titles: Vec<_> =
        groups.iter().zip(&brief).map(|(group, brief)| (&group[0].name, brief)).collect();
    let is_told = |title| titles.iter().filter(|other| *other == title).count() == 1;
    let told: Vec<bool> = titles.iter().map(is_told).collect();
    let mut differences = brief.clone();
    for ((settings, group), told) in differences.iter_mut().zip(groups).zip(told) {
        if !told {
            *settings = telling(group, true);
        }
    }
    differences
}

/// Whether groups that a reader would compare with this one have another value.
fn differs(key: &str, group: &Group, groups: &[Group]) -> bool {
    let of_policy = key.starts_with("policy.") || key.starts_with("policies.");
    let company = groups
        .iter()
        .filter(|other| other[0].stage >= group[0].stage)
        .filter(|other| !of_policy || other[0].name == group[0].name);
    let values: BTreeSet<_> = company.map(|other| other[0].facts.get(key)).collect();
    values.len() > 1
}

/// Keys by their last part, where that is one key's alone.
fn shorten(settings: Vec<(&str, &str)>) -> BTreeMap<String, String> {
    let last = |key: &str| key.rsplit('.').next().unwrap_or(key).to_owned();
    let is_alone = |name: &str| settings.iter().filter(|(key, _)| last(key) == name).count() == 1;
    settings
        .iter()
        .map(|(key, value)| {
            let name = Some(last(key)).filter(|name| is_alone(name));
            (name.unwrap_or_else(|| (*key).to_owned()), (*value).to_owned())
        })
        .collect()
}
