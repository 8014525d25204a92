//! Rows of dots with intervals: what several models score, metric by metric.

use std::fmt::Write as _;

use serde::Serialize;

use super::draw::escape;
use crate::palette;

/// Shares of several models, a row for each metric.
#[derive(Debug, Clone, Serialize)]
pub struct Dots {
    /// What it shows.
    pub title: String,
    /// In order.
    pub lines: Vec<Line>,
}

/// One metric.
#[derive(Debug, Clone, Serialize)]
pub struct Line {
    /// Its name.
    pub name: String,
    /// One for each model that has it.
    pub dots: Vec<Dot>,
}

/// One model's share.
#[derive(Debug, Clone, Serialize)]
pub struct Dot {
    /// The model.
    pub name: String,
    /// Which colour.
    #[serde(skip)]
    pub colour: usize,
    /// In [0, 1].
    pub share: f64,
    /// Its interval.
    pub interval: Option<(f64, f64)>,
}

/// Height of a metric's name, and of each of its dots.
const HEIGHTS: (f64, f64) = (27.0, 13.0);

impl Dots {
    /// The drawing for a page, so many units wide.
    pub fn svg(&self, width: f64) -> String {
        let (left, right) = (6.0, width - 14.0);
        let at = |share: f64| left + share.clamp(0.0, 1.0) * (right - left);
        let height: f64 =
            self.lines.iter().map(|one| HEIGHTS.0 + HEIGHTS.1 * one.dots.len() as f64).sum();
        let mut svg = format!(
            "<svg viewBox=\"0 0 {width} {}\" role=\"img\" aria-label=\"{}\">",
            height + 24.0,
            escape(&self.words(), 4000)
        );
        for percent in [0, 25, 50, 75, 100] {
            let place = at(f64::from(percent) / 100.0);
            let anchor = match percent {
                0 => "start",
                100 => "end",
                _ => "middle",
            };
            let _ = write!(
                svg,
                "<path class=\"grid\" d=\"M{place:.1} 0V{height:.1}\"/><text x=\"{place:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{percent}%</text>",
                height + 18.0
            );
        }
        let mut y = 0.0;
        for line in &self.lines {
            let _ = write!(
                svg,
                "<text class=\"row\" x=\"{left}\" y=\"{:.1}\">{}</text>",
                y + 20.0,
                escape(&line.name, 60)
            );
            y += HEIGHTS.0;
            for dot in &line.dots {
                let (middle, class) = (y + HEIGHTS.1 / 2.0, palette::class(dot.colour));
                let _ = write!(svg, "<g class=\"{class}\">");
                if let Some((low, high)) = dot.interval {
                    let _ = write!(
                        svg,
                        "<path stroke=\"currentColor\" stroke-width=\"3\" stroke-opacity=\".45\" stroke-linecap=\"round\" d=\"M{:.1} {middle:.1}H{:.1}\"/>",
                        at(low),
                        at(high)
                    );
                }
                let _ = write!(
                    svg,
                    "<circle fill=\"currentColor\" cx=\"{:.1}\" cy=\"{middle:.1}\" r=\"4.5\"><title>{}: {:.1}%</title></circle></g>",
                    at(dot.share),
                    escape(&dot.name, 60),
                    100.0 * dot.share
                );
                y += HEIGHTS.1;
            }
        }
        svg.push_str("</svg>");
        svg
    }

    fn words(&self) -> String {
        let lines = self.lines.iter().map(|line| {
            let dots =
                line.dots.iter().map(|dot| format!("{} {:.1}%", dot.name, 100.0 * dot.share));
            format!("{}: {}", line.name, dots.collect::<Vec<_>>().join(", "))
        });
        format!("{}. {}.", self.title, lines.collect::<Vec<_>>().join("; "))
    }
}
