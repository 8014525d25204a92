//! Shares over attacks or learning rates.

use host_eval::compare::Pooled;
use host_html::Chart;
use host_html::chart::{Axis, Point, Series, Style};

use crate::arm::label;
use crate::summary::{Group, Row};

/// One plot: shares over a few places of the horizontal axis, a line per policy.
pub struct Plot<'a> {
    pub title: String,
    pub across: &'a str,
    pub up: &'a str,
    /// Names of the places.
    pub places: Vec<String>,
    pub series: Vec<Series>,
}

/// A line per policy through the groups that have a place.
pub fn of(
    groups: &[(&Group, Row)],
    place: impl Fn(&Group) -> Option<usize>,
    value: fn(&Row) -> Option<Pooled>,
    colour: impl Fn(&str) -> usize,
) -> Vec<Series> {
    let mut lines: Vec<Series> = Vec::new();
    for (group, row) in groups {
        let Some((at, share)) = place(group).zip(value(row)) else {
            continue;
        };
        let (low, high) = share.interval;
        let up = Some((100.0 * low, 100.0 * high));
        let point = Point { up, ..Point::at(at as f64, 100.0 * share.mean) };
        match lines.iter_mut().find(|line| line.name == label(&group.arm)) {
            Some(line) => line.points.push(point),
            None => lines.push(Series {
                name: label(&group.arm),
                colour: colour(&group.arm),
                style: Style::Joined,
                points: vec![point],
            }),
        }
    }
    for line in &mut lines {
        line.points.sort_by(|one, other| one.x.total_cmp(&other.x));
    }
    lines
}

impl Plot<'_> {
    pub fn chart(self) -> Chart {
        let up = Axis::within(format!("{}, %", self.up), 0.0, 100.0);
        Chart::new(self.title, Axis::of_places(self.across, self.places), up, self.series)
    }
}
