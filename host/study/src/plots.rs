//! The plots of the study, as SVG.

mod lines;

use std::collections::BTreeSet;
use std::path::Path;

use host_eval::compare::{Placed, Pooled, colours_of, pareto};
use host_html::Chart;
use host_html::chart::Frame;
use host_trainer::run_dir::write_atomically;

use crate::arm::label;
use crate::scenario::Scenario;
use crate::summary::{Group, Row, Summary};

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
    // In all plots a policy has one colour.
    let colours = colours_of(groups.iter().map(|(group, _)| group.arm.as_str()));
    let colour = |arm: &str| colours.get(arm).copied().unwrap_or(0);
    let rates: BTreeSet<u64> =
        groups.iter().map(|(group, _)| group.learning_rate.to_bits()).collect();
    let rates: Vec<f64> = rates.into_iter().map(f64::from_bits).collect();
    for (scenario, rate) in
        scenarios.iter().flat_map(|one| rates.iter().map(move |rate| (one, rate)))
    {
        let rows = groups.iter().filter_map(|(group, row)| {
            (group.scenario == *scenario && group.learning_rate == *rate).then_some(row)
        });
        let share = |pooled: Pooled| (pooled.mean, Some(pooled.interval));
        let placed = rows.filter_map(|row| {
            Some(Placed {
                name: label(&row.name),
                utility: share(row.utility?),
                attack_success: share(row.attack_success?),
                colour: colour(&row.name),
            })
        });
        let reference = summary.reference_row(scenario.variation());
        let level = reference.attack_success.map(|success| (reference.name.clone(), success.mean));
        let title = format!("{scenario}, learning rate {rate:e}");
        let placed: Vec<Placed> = placed.collect();
        let plot = pareto(title, "task above chance", level, &placed);
        let name = format!("pareto-{}-lr-{rate:e}.svg", scenario.slug());
        write(&folder.join(name), &plot)?;
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
                series: lines::of(&groups, place, value, colour),
            };
            write(&folder.join(format!("{file}-lr-{rate:e}.svg")), &plot.chart())?;
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
                series: lines::of(&groups, place, value, colour),
            };
            write(&folder.join(format!("{file}-{}.svg", scenario.slug())), &plot.chart())?;
        }
    }
    Ok(())
}

fn write(path: &Path, chart: &Chart) -> anyhow::Result<()> {
    let svg = chart.svg(Frame::File, 760.0, 440.0);
    Ok(write_atomically(path, svg.as_bytes())?)
}
