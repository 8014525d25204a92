//! metrics.jsonl as curves.

use std::io::BufReader;
use std::path::Path;

use host_files::{capped, own};
use host_html::Chart;
use host_html::chart::{Axis, Point, Series, Style};
use serde::Deserialize;

use crate::part::Problems;

pub const FILE: &str = "metrics.jsonl";
/// Bytes of a line; the file's are not limited, as steps are kept as a few numbers each.
const LINE: u64 = 1 << 20;
/// Most steps that are read.
const STEPS: usize = 1_000_000;
/// Most points of a curve; more steps are joined to means.
const POINTS: usize = 400;

/// What is read of a step. What is not there or no number isn't drawn.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Step {
    step: u64,
    loss: Option<f64>,
    task_loss: Option<f64>,
    kl: Option<f64>,
    risk: Option<f64>,
    max_risk: Option<f64>,
    task_weight: Option<f64>,
    kl_weight: Option<f64>,
    learning_rate: Option<f64>,
    gradient_norm: Option<f64>,
}

/// The steps of a training.
#[derive(Debug, Default)]
pub struct Steps(Vec<Step>);

/// A training's name, colour and steps.
pub struct Trained<'a> {
    pub name: &'a str,
    pub colour: usize,
    pub steps: &'a Steps,
}

type Value = fn(&Step) -> Option<f64>;

/// How points that fall together become one.
#[derive(Clone, Copy)]
enum Join {
    Mean,
    Highest,
}

impl Steps {
    /// Up to the first line that is no step; of a run that is being written the last line may be cut.
    pub fn read(folder: &Path, name: &str, problems: &mut Problems) -> Self {
        let path = folder.join(name);
        if !path.exists() {
            return Self::default();
        }
        let file = match own::open_to_read(&path) {
            Ok(file) => file,
            Err(error) => {
                problems.add(format!("{name} can't be read ({error}), so there are no curves"));
                return Self::default();
            }
        };
        let mut steps = Vec::new();
        for (number, line) in capped::lines(BufReader::new(file), LINE).enumerate() {
            let read = line.map_err(|error| error.to_string());
            let read = read.and_then(|line| {
                serde_json::from_str::<Step>(&line).map_err(|error| error.to_string())
            });
            match read {
                _ if number >= STEPS => {
                    problems
                        .add(format!("{name} has more than {STEPS} steps; the rest is left out"));
                    break;
                }
                Ok(step) => steps.push(step),
                Err(error) => {
                    problems.add(format!(
                        "{name}, line {}: is no step ({error}); the curves end there",
                        number + 1
                    ));
                    break;
                }
            }
        }
        Self(steps)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Steps that a point stands for.
    fn joined(&self) -> usize {
        self.0.len().div_ceil(POINTS).max(1)
    }

    fn points(&self, value: Value, join: Join) -> Vec<Point> {
        let points = self.0.chunks(self.joined()).map(|steps| {
            let values = steps.iter().filter_map(value).filter(|value| value.is_finite());
            let values: Vec<f64> = values.collect();
            let y = match join {
                _ if values.is_empty() => f64::NAN,
                Join::Mean => values.iter().sum::<f64>() / values.len() as f64,
                Join::Highest => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            };
            let last = steps.last().map_or(0, |step| step.step);
            Point::at(last as f64 + 1.0, y)
        });
        let points: Vec<Point> = points.collect();
        if points.iter().all(|point| point.y.is_nan()) { Vec::new() } else { points }
    }
}

/// Loss, KL, risk, weights, gradient norm and learning rate of one run, beside its baseline.
pub fn of_run(own: &Trained<'_>, plain: Option<&Trained<'_>>) -> Vec<Chart> {
    let line =
        |name: &str, colour, style, points| Series { name: name.into(), colour, style, points };
    let both = |value: Value| -> Vec<Series> {
        let all = [Some(own), plain].into_iter().flatten();
        all.map(|one| line(one.name, one.colour, Style::Line, one.steps.points(value, Join::Mean)))
            .collect()
    };
    let alone = |name: &str, style, value: Value, join| {
        line(name, own.colour, style, own.steps.points(value, join))
    };
    let mut loss = both(|step| step.task_loss);
    if own.steps.points(|step| step.kl, Join::Mean).len() > 1 {
        let name = format!("{}, with KL", own.name);
        loss.push(alone(&name, Style::Dashed, |step| step.loss, Join::Mean));
    }
    let charts = [
        chart("Loss", "nats per answer token", None, loss),
        chart("KL to the reference", "nats per answer token", None, both(|step| step.kl)),
        chart(
            "Risk of the samples",
            "risk",
            Some((0.0, 1.0)),
            vec![
                alone("mean of the step", Style::Line, |step| step.risk, Join::Mean),
                alone("highest of the step", Style::Dashed, |step| step.max_risk, Join::Highest),
            ],
        ),
        chart(
            "Weights of the loss",
            "mean of the step",
            Some((0.0, 1.0)),
            vec![
                alone("task", Style::Line, |step| step.task_weight, Join::Mean),
                alone("KL", Style::Dashed, |step| step.kl_weight, Join::Mean),
            ],
        ),
        chart("Gradient norm", "L2, before clipping", None, both(|step| step.gradient_norm)),
        chart("Learning rate", "after schedule and policy", None, both(|step| step.learning_rate)),
    ];
    charts.into_iter().filter(|chart| !chart.is_empty()).collect()
}

/// The curves of several runs over each other.
pub fn overlaid(runs: &[Trained<'_>]) -> Vec<Chart> {
    let all = |value: Value| -> Vec<Series> {
        let one = |run: &Trained<'_>| Series {
            name: run.name.into(),
            colour: run.colour,
            style: Style::Line,
            points: run.steps.points(value, Join::Mean),
        };
        runs.iter().map(one).collect()
    };
    let charts = [
        chart("Task loss", "nats per answer token", None, all(|step| step.task_loss)),
        chart("KL to the reference", "nats per answer token", None, all(|step| step.kl)),
        chart("Mean risk", "risk", Some((0.0, 1.0)), all(|step| step.risk)),
        chart("Weight of KL", "mean of the step", Some((0.0, 1.0)), all(|step| step.kl_weight)),
    ];
    charts.into_iter().filter(|chart| !chart.is_empty()).collect()
}

/// Without series that have nothing.
fn chart(title: &str, up: &str, range: Option<(f64, f64)>, mut series: Vec<Series>) -> Chart {
    series.retain(|one| !one.points.is_empty());
    let up = Axis { range, ..Axis::named(up) };
    Chart::new(title, Axis::named("optimizer step"), up, series)
}

/// What a reader must know of curves whose points are means.
pub fn note<'a>(steps: impl IntoIterator<Item = &'a Steps>) -> Option<String> {
    let joined = steps.into_iter().map(Steps::joined).max().filter(|joined| *joined > 1)?;
    Some(format!(
        "Each point joins up to {joined} steps: their mean, of the highest risk the highest. {FILE} has every step."
    ))
}
