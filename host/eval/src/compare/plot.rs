//! Attack success over utility: the lower right corner is where a defence wants to be.

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
        let mut others = 0;
        let placed = |method: &Method| {
            // Plain fine-tuning is what the others are measured by: always the same colour.
            let colour = if method.name == PLAIN { 1 } else { [0, 2, 3, 4, 5, 6][others % 6] };
            others += usize::from(method.name != PLAIN);
            Some(Placed {
                name: method.title(),
                utility: share(method.metrics.get(&task)?),
                attack_success: share(method.metrics.get(&Metric::AttackSuccess)?),
                colour,
            })
        };
        let placed: Vec<Placed> = trained().filter_map(placed).collect();
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

/// Names of methods that are no policy.
const BEFORE: &str = "before";
const PLAIN: &str = "plain fine-tuning";

/// The interval of one seed, the standard deviation over several.
fn share(spread: &Spread) -> Share {
    let bars = spread.interval.or_else(|| {
        let sd = spread.sd?;
        Some(((spread.mean - sd).max(0.0), (spread.mean + sd).min(1.0)))
    });
    (spread.mean, bars)
}
