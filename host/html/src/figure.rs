//! A chart as a page shows it.

use serde::Serialize;

use crate::chart::{Chart, Dots, Frame, number};

/// Most rows of the table of a chart's numbers.
const ROWS: usize = 25;

/// A chart with its legend, and its numbers as a table: what `chart` of `macros.html` takes.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    title: String,
    /// Names, the classes of their colours, and whether they are dashed.
    legend: Vec<(String, String, bool)>,
    /// Made by [`crate::chart`], which escapes every name in it: the one markup that a page takes as it is.
    svg: String,
    /// The first row is the head.
    numbers: Vec<Vec<String>>,
    numbers_note: Option<String>,
}

impl Figure {
    /// A chart, so many units wide and high.
    pub fn new(chart: &Chart, width: f64, height: f64) -> Self {
        let (numbers, numbers_note) = numbers(chart);
        Self {
            title: chart.title.clone(),
            legend: chart.legend(),
            svg: chart.svg(Frame::Page, width, height),
            numbers,
            numbers_note,
        }
    }

    /// Rows of dots, whose names and colours are given; the numbers stand in a table beside them.
    pub fn dots(dots: &Dots, legend: Vec<(String, String, bool)>, width: f64) -> Self {
        Self {
            title: dots.title.clone(),
            legend,
            svg: dots.svg(width),
            numbers: Vec::new(),
            numbers_note: None,
        }
    }
}

/// A row per place on the horizontal axis, of many a few; of points by themselves one each.
fn numbers(chart: &Chart) -> (Vec<Vec<String>>, Option<String>) {
    let mut places: Vec<f64> = Vec::new();
    for point in chart.series.iter().flat_map(|one| &one.points) {
        if point.x.is_finite() {
            places.push(point.x);
        }
    }
    places.sort_by(f64::total_cmp);
    places.dedup();
    let all = places.len();
    if all == 0 {
        return (Vec::new(), None);
    }
    let kept: Vec<f64> = if all <= ROWS {
        places
    } else {
        (0..ROWS).map(|i| places[i * (all - 1) / (ROWS - 1)]).collect()
    };
    let names = chart.series.iter().map(|series| series.name.clone());
    let head = std::iter::once(chart.across.name.clone()).chain(names);
    let mut rows = vec![head.collect::<Vec<_>>()];
    for x in &kept {
        let place = chart.across.places.get(*x as usize).filter(|_| *x >= 0.0);
        let cell = place.cloned().unwrap_or_else(|| number(*x));
        let cells = chart.series.iter().map(|series| {
            let point = series.points.iter().find(|point| point.x == *x && point.y.is_finite());
            point.map_or_else(
                || "-".to_owned(),
                |point| {
                    let interval =
                        point.up.map(|(low, high)| format!(" [{}, {}]", number(low), number(high)));
                    format!("{}{}", number(point.y), interval.unwrap_or_default())
                },
            )
        });
        rows.push(std::iter::once(cell).chain(cells).collect());
    }
    let note = (kept.len() < all).then(|| format!("{} of {all} points.", kept.len()));
    (rows, note)
}
