//! Shares over attacks or learning rates.

use host_eval::compare::Pooled;
use plotters::prelude::*;

use super::{COLOURS, Painted};
use crate::summary::{Group, Row};

/// One plot: shares over a few places of the horizontal axis, a line per policy.
pub struct Plot<'a> {
    pub title: String,
    pub across: &'a str,
    pub up: &'a str,
    /// Names of the places.
    pub places: Vec<String>,
    pub lines: Vec<Line>,
}

pub struct Line {
    arm: String,
    points: Vec<(usize, Pooled)>,
}

/// A line per policy through the groups that have a place.
pub fn of(
    groups: &[(&Group, Row)],
    place: impl Fn(&Group) -> Option<usize>,
    value: fn(&Row) -> Option<Pooled>,
) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for (group, row) in groups {
        let Some(point) = place(group).zip(value(row)) else {
            continue;
        };
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
    pub fn paint(&self, svg: &mut String) -> Painted {
        self.draw(svg).map_err(|error| error.to_string())
    }

    fn draw(&self, svg: &mut String) -> Result<(), Box<dyn std::error::Error + '_>> {
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
            let at = |(place, share): &(usize, Pooled)| (*place as f64, 100.0 * share.mean);
            let style = colour.stroke_width(2);
            chart
                .draw_series(LineSeries::new(line.points.iter().map(at), style))?
                .label(&line.arm)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
            chart.draw_series(
                line.points.iter().map(|point| Circle::new(at(point), 4, colour.filled())),
            )?;
            chart.draw_series(line.points.iter().map(|(place, share)| {
                let (low, high) = share.interval;
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
