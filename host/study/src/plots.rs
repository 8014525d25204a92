//! The plots of the study, as SVG.

mod lines;
mod pareto;

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::anyhow;
use host_eval::compare::Pooled;
use host_trainer::run_dir::write_atomically;
use plotters::prelude::*;

use crate::scenario::Scenario;
use crate::summary::{Group, Row, Summary};

/// Colours that stay apart for most eyes (Okabe and Ito 2008).
const COLOURS: [RGBColor; 8] = [
    RGBColor(213, 94, 0),
    RGBColor(0, 114, 178),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(120, 94, 240),
    RGBColor(0, 0, 0),
];

/// What is plotted: its name in the file's name, on the axis, and its value.
type Quantity = (&'static str, &'static str, fn(&Row) -> Option<Pooled>);

const QUANTITIES: [Quantity; 3] = [
    ("attack-success", "harmful requests answered", |row| row.attack_success),
    ("over-refusal", "harmless requests refused", |row| row.over_refusal),
    ("task", "task", |row| row.task),
];

/// Attack success over utility per attack and rate; each quantity over the attacks, per learning rate, and over the
/// learning rates, per attack.
pub fn draw(summary: &Summary, out: &Path) -> anyhow::Result<()> {
    let folder = out.join("plots");
    std::fs::create_dir_all(&folder)?;
    let groups: Vec<(&Group, Row)> =
        summary.groups.iter().map(|group| (group, group.row(group.scenario.variation()))).collect();
    let mut scenarios: Vec<Scenario> = Vec::new();
    for (group, _) in &groups {
        if !scenarios.contains(&group.scenario) {
            scenarios.push(group.scenario);
        }
    }
    let rates: BTreeSet<u64> =
        groups.iter().map(|(group, _)| group.learning_rate.to_bits()).collect();
    let rates: Vec<f64> = rates.into_iter().map(f64::from_bits).collect();
    for (scenario, rate) in
        scenarios.iter().flat_map(|one| rates.iter().map(move |rate| (one, rate)))
    {
        let mut rows = vec![];
        rows.extend(groups.iter().filter_map(|(group, row)| {
            (group.scenario == *scenario && group.learning_rate == *rate).then_some(row)
        }));
        let reference = summary.reference_row(scenario.variation());
        let title = format!("{scenario}, learning rate {rate:e}");
        let name = format!("pareto-{}-lr-{rate:e}.svg", scenario.slug());
        write(&folder.join(name), |svg| pareto::paint(svg, &title, &reference, &rows))?;
    }
    for (file, up, value) in QUANTITIES {
        for rate in &rates {
            let place = |group: &Group| {
                let at = scenarios.iter().position(|one| *one == group.scenario);
                at.filter(|_| group.learning_rate == *rate)
            };
            let plot = lines::Plot {
                title: format!("learning rate {rate:e}"),
                across: "attack",
                up,
                places: scenarios.iter().map(Scenario::to_string).collect(),
                lines: lines::of(&groups, place, value),
            };
            write(&folder.join(format!("{file}-lr-{rate:e}.svg")), |svg| plot.paint(svg))?;
        }
        for scenario in scenarios.iter().filter(|_| rates.len() > 1) {
            let place = |group: &Group| {
                let at = rates.iter().position(|one| *one == group.learning_rate);
                at.filter(|_| group.scenario == *scenario)
            };
            let plot = lines::Plot {
                title: format!("attack: {scenario}"),
                across: "learning rate",
                up,
                places: rates.iter().map(|rate| format!("{rate:e}")).collect(),
                lines: lines::of(&groups, place, value),
            };
            write(&folder.join(format!("{file}-{}.svg", scenario.slug())), |svg| plot.paint(svg))?;
        }
    }
    Ok(())
}

/// What drawing may fail with.
type Painted = Result<(), String>;

fn write(path: &Path, paint: impl FnOnce(&mut String) -> Painted) -> anyhow::Result<()> {
    let mut svg = String::new();
    paint(&mut svg).map_err(|error| anyhow!("{}: {error}", path.display()))?;
    Ok(write_atomically(path, svg.as_bytes())?)
}
