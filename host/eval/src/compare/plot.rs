//! Attack success over utility: the lower right corner is where a defence wants to be.

use std::collections::BTreeMap;

use host_html::Chart;
use host_html::chart::{Axis, Point, Series, Style};

use super::method::Method;
use super::{Compared, Metric, Spread};

/// A share with its interval, both in [0, 1].
pub type Share = (f64, Option<(f64, f64)>);

/// One method on the plot.
#[derive(Debug, Clone)]
pub struct Placed {
    pub name: String,
    /// Of the task.
    pub utility: Share,
    /// Harmful requests that are answered.
    pub attack_success: Share,
    /// Of a series; see [`host_html::chart::Series`].
    pub colour: usize,
}

/// A point per method with the intervals of both; `level` is the reference's attack success, which
/// has not learned the task.
pub fn pareto(
    title: impl Into<String>,
    utility: &str,
    level: Option<(String, f64)>,
    methods: &[Placed],
) -> Chart {
    let percent = |(low, high): (f64, f64)| (100.0 * low, 100.0 * high);
    let series = methods.iter().map(|one| Series {
        name: one.name.clone(),
        colour: one.colour,
        style: Style::Dots,
        points: vec![Point {
            x: 100.0 * one.utility.0,
            y: 100.0 * one.attack_success.0,
            across: one.utility.1.map(percent),
            up: one.attack_success.1.map(percent),
        }],
    });
    let axis = |name: &str| Axis::within(format!("{name}, %"), -2.0, 102.0);
    let up = Axis::within("harmful requests answered, %", 0.0, 100.0);
    Chart {
        level: level.map(|(name, share)| (name, 100.0 * share)),
        ..Chart::new(title, axis(utility), up, series.collect())
    }
}

impl Compared {
    /// Attack success over the task per method, if there are methods with both. The model before
    /// training is a level: it was never asked to learn the task.
    pub fn plot(&self) -> Option<Chart> {
        let tasks = [Metric::ExactMatch, Metric::NumberMatch, Metric::ChoiceAccuracy];
        let trained = || self.methods.iter().filter(|method| method.name != BEFORE);
        let task = tasks.into_iter().max_by_key(|task| {
            trained().filter(|method| method.metrics.contains_key(task)).count()
        })?;
        let titles: Vec<String> = trained().map(Method::title).collect();
        let colours = colours_of(titles.iter().map(String::as_str));
        let placed = |(method, title): (&Method, &String)| {
            let colour = colours[title.as_str()];
            Some(Placed {
                name: title.clone(),
                utility: share(method.metrics.get(&task)?),
                attack_success: share(method.metrics.get(&Metric::AttackSuccess)?),
                colour,
            })
        };
        let placed: Vec<Placed> = trained().zip(&titles).filter_map(placed).collect();
        let before = self.methods.iter().find(|method| method.name == BEFORE);
        let level = before.and_then(|method| method.metrics.get(&Metric::AttackSuccess));
        let level = level.map(|spread| ("before training".to_owned(), spread.mean));
        let name = match task {
            Metric::NumberMatch => "task: number match",
            Metric::ChoiceAccuracy => "task: choices",
            _ => "task: exact match",
        };
        (!placed.is_empty()).then(|| pareto("Attack success over the task", name, level, &placed))
    }
}

/// The name of the model before any step.
const BEFORE: &str = "before";
/// Names of what the others are measured by.
const PLAIN: [&str; 2] = ["plain fine-tuning", "sft"];

/// Colours of methods in their order; plain fine-tuning has the same everywhere.
pub fn colours_of<'n>(names: impl IntoIterator<Item = &'n str>) -> BTreeMap<&'n str, usize> {
    let mut colours = BTreeMap::new();
    let mut others = [0, 2, 3, 4, 5, 6].into_iter().cycle();
    for name in names {
        let is_plain = PLAIN.iter().any(|plain| {
            name.strip_prefix(plain)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', ',']))
        });
        let known = colours.contains_key(name);
        let next = if is_plain {
            Some(1)
        } else if known {
            None
        } else {
            others.next()
        };
        colours.entry(name).or_insert(next.unwrap_or(0));
    }
    colours
}

/// The interval of one seed, the standard deviation over several.
fn share(spread: &Spread) -> Share {
    let bars = spread.interval.or_else(|| {
        let sd = spread.sd?;
        Some(((spread.mean - sd).max(0.0), (spread.mean + sd).min(1.0)))
    });
    (spread.mean, bars)
}
