//! The plots of the study, as SVG.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::anyhow;
use plotters::prelude::*;

use crate::scenario::Scenario;
use crate::summary::{Group, Measured, Summary};

/// Colours that stay apart for most eyes (Okabe and Ito 2008).
const COLOURS: [RGBColor; 7] = [
    RGBColor(213, 94, 0),
    RGBColor(0, 114, 178),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
];

/// One plot: shares over a few places of the horizontal axis, a line per policy.
struct Plot<'a> {
    title: String,
    across: &'a str,
    up: &'a str,
    /// Names of the places.
    places: Vec<String>,
    lines: Vec<Line>,
}

struct Line {
    arm: String,
    /// Place, mean, lowest, highest.
    points: Vec<(usize, f64, f64, f64)>,
}

/// What is plotted: its name in the file's name, on the axis, and its value.
type Quantity = (&'static str, &'static str, fn(&Measured) -> f64);

const QUANTITIES: [Quantity; 3] = [
    ("attack-success", "harmful requests answered", |one| one.attack_success),
    ("over-refusal", "harmless requests refused", |one| one.over_refusal),
    ("exact-match", "task: exact match", |one| one.exact_match),
];

/// Each quantity over the attacks, per learning rate, and over the learning rates, per attack.
pub fn draw(summary: &Summary, out: &Path) -> anyhow::Result<()> {
    let folder = out.join("plots");
    std::fs::create_dir_all(&folder)?;
    let groups = &summary.groups;
    let mut scenarios: Vec<Scenario> = Vec::new();
    for group in groups {
        if !scenarios.contains(&group.scenario) {
            scenarios.push(group.scenario);
        }
    }
    let rates: BTreeSet<u64> = groups.iter().map(|group| group.learning_rate.to_bits()).collect();
    let rates: Vec<f64> = rates.into_iter().map(f64::from_bits).collect();
    for (file, up, value) in QUANTITIES {
        for rate in &rates {
            let place = |group: &Group| {
                let at = scenarios.iter().position(|one| *one == group.scenario);
                at.filter(|_| group.learning_rate == *rate)
            };
            let plot = Plot {
                title: format!("learning rate {rate:e}"),
                across: "attack",
                up,
                places: scenarios.iter().map(Scenario::to_string).collect(),
                lines: lines(groups, place, value),
            };
            plot.write(&folder.join(format!("{file}-lr-{rate:e}.svg")))?;
        }
        for scenario in scenarios.iter().filter(|_| rates.len() > 1) {
            let place = |group: &Group| {
                let at = rates.iter().position(|one| *one == group.learning_rate);
                at.filter(|_| group.scenario == *scenario)
            };
            let plot = Plot {
                title: format!("attack: {scenario}"),
                across: "learning rate",
                up,
                places: rates.iter().map(|rate| format!("{rate:e}")).collect(),
                lines: lines(groups, place, value),
            };
            plot.write(&folder.join(format!("{file}-{}.svg", scenario.slug())))?;
        }
    }
    Ok(())
}

/// A line per policy through the groups that have a place.
fn lines(
    groups: &[Group],
    place: impl Fn(&Group) -> Option<usize>,
    value: fn(&Measured) -> f64,
) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for group in groups {
        let Some(at) = place(group) else {
            continue;
        };
        let (mean, low, high) = group.range(value);
        let point = (at, mean, low, high);
        match lines.iter_mut().find(|line| line.arm == group.arm) {
            Some(line) => line.points.push(point),
            None => lines.push(Line { arm: group.arm.clone(), points: vec![point] }),
        }
    }
    for line in &mut lines {
        line.points.sort_by_key(|point| point.0);
    }
    lines
}

impl Plot<'_> {
    fn write(&self, path: &Path) -> anyhow::Result<()> {
        let mut svg = String::new();
        self.paint(&mut svg).map_err(|error| anyhow!("{}: {error}", path.display()))?;
        Ok(host_trainer::run_dir::write_atomically(path, svg.as_bytes())?)
    }

    fn paint(&self, svg: &mut String) -> Result<(), Box<dyn std::error::Error + '_>> {
        let area = SVGBackend::with_string(svg, (640, 400)).into_drawing_area();
        area.fill(&WHITE)?;
        let last = self.places.len() as f64 - 1.0;
        let mut chart = ChartBuilder::on(&area)
            .caption(&self.title, ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(56)
            .build_cartesian_2d(-0.3..last + 0.3, -2.0..102.0)?;
        let name = |at: &f64| {
            if (at - at.round()).abs() < 1e-6 {
                self.places.get(at.round() as usize).cloned().unwrap_or_default()
            } else {
                String::new()
            }
        };
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(WHITE)
            .x_desc(self.across)
            .y_desc(format!("{}, %", self.up))
            .x_labels(self.places.len().max(2))
            .x_label_formatter(&name)
            .draw()?;
        for (line, colour) in self.lines.iter().zip(COLOURS.iter().cycle()) {
            let at = |point: &(usize, f64, f64, f64)| (point.0 as f64, 100.0 * point.1);
            let style = colour.stroke_width(2);
            chart
                .draw_series(LineSeries::new(line.points.iter().map(at), style))?
                .label(&line.arm)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
            chart.draw_series(
                line.points.iter().map(|point| Circle::new(at(point), 4, colour.filled())),
            )?;
            chart.draw_series(line.points.iter().map(|(place, _, low, high)| {
                PathElement::new(
                    [(*place as f64, 100.0 * low), (*place as f64, 100.0 * high)],
                    style,
                )
            }))?;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.3))
            .draw()?;
        area.present()?;
        Ok(())
    }
}
