//! Charts as SVG: lines, points with intervals, bars and rows of dots.
//!
//! In a page a chart takes its colours from the page's style sheet; as a file of its own it brings
//! them along. Both have a light and a dark form.

mod dots;
mod draw;
mod scale;

pub use crate::palette::REFERENCE;
pub use dots::{Dot, Dots, Line};
pub use scale::number;
use serde::Serialize;

/// One plot.
#[derive(Debug, Clone, Serialize)]
pub struct Chart {
    /// What it shows.
    pub title: String,
    /// The horizontal axis.
    pub across: Axis,
    /// The vertical axis.
    pub up: Axis,
    /// What is drawn, in this order.
    pub series: Vec<Series>,
    /// A horizontal line that others are measured by: its name and height.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<(String, f64)>,
}

/// One axis.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Axis {
    /// What is measured, with its unit.
    pub name: String,
    /// What must be within it; it grows to hold every point.
    #[serde(skip)]
    pub range: Option<(f64, f64)>,
    /// Names at 0, 1, 2 and so on, in place of numbers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<String>,
}

/// How the points of a series are drawn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Style {
    /// Joined by a line.
    #[default]
    Line,
    /// Joined by a dashed line.
    Dashed,
    /// Each by itself, with its intervals.
    Dots,
    /// Joined, and each with its interval.
    Joined,
    /// As bars from 0, one unit wide to the right of the point.
    Bars,
}

/// Points of one colour.
#[derive(Debug, Clone, Serialize)]
pub struct Series {
    /// What it is of.
    pub name: String,
    /// Which colour: [`REFERENCE`] is grey.
    #[serde(skip)]
    pub colour: usize,
    /// How it is drawn.
    pub style: Style,
    /// What is drawn.
    pub points: Vec<Point>,
}

/// One point. What is not finite isn't drawn.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Point {
    /// On the horizontal axis.
    pub x: f64,
    /// On the vertical axis.
    pub y: f64,
    /// Interval of `x`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub across: Option<(f64, f64)>,
    /// Interval of `y`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub up: Option<(f64, f64)>,
}

/// Where a chart is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// In a page, which has the colours, the title and the legend.
    Page,
    /// In a file of its own.
    File,
}

impl Axis {
    /// An axis of numbers.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// An axis that shows at least this range.
    pub fn within(name: impl Into<String>, low: f64, high: f64) -> Self {
        Self { range: Some((low, high)), ..Self::named(name) }
    }

    /// An axis of names, at 0, 1, 2 and so on.
    pub fn of_places(name: impl Into<String>, places: Vec<String>) -> Self {
        Self { places, ..Self::named(name) }
    }
}

impl Chart {
    /// A chart without a level.
    pub fn new(title: impl Into<String>, across: Axis, up: Axis, series: Vec<Series>) -> Self {
        Self { title: title.into(), across, up, series, level: None }
    }

    /// Whether there is a point to draw.
    pub fn is_empty(&self) -> bool {
        !self.series.iter().flat_map(|series| &series.points).any(Point::is_finite)
    }

    /// Names of what is drawn, with the classes of their colours and whether they are dashed.
    pub fn legend(&self) -> Vec<(String, String, bool)> {
        let series = self.series.iter().map(|one| {
            (one.name.clone(), crate::palette::class(one.colour), one.style == Style::Dashed)
        });
        let level = self
            .level
            .iter()
            .map(|(name, _)| (name.clone(), crate::palette::class(REFERENCE), true));
        series.chain(level).collect()
    }

    /// What the chart shows, in words: for whoever doesn't see it.
    pub fn words(&self) -> String {
        let series = self.series.iter().filter_map(|series| {
            let seen = || series.points.iter().filter(|point| point.is_finite());
            let (first, last) = (seen().next()?, seen().next_back()?);
            let low = seen().map(|point| point.y).fold(f64::INFINITY, f64::min);
            let high = seen().map(|point| point.y).fold(f64::NEG_INFINITY, f64::max);
            Some(format!(
                "{}: {} points, first {}, last {}, lowest {}, highest {}",
                series.name,
                seen().count(),
                scale::number(first.y),
                scale::number(last.y),
                scale::number(low),
                scale::number(high)
            ))
        });
        let said: Vec<String> = series.collect();
        format!("{}, {} over {}. {}.", self.title, self.up.name, self.across.name, said.join("; "))
    }
}

impl Point {
    /// A point without intervals.
    pub fn at(x: f64, y: f64) -> Self {
        Self { x, y, ..Self::default() }
    }

    fn is_finite(&self) -> bool {
        self.x.is_finite() && self.y.is_finite()
    }
}
