//! Attack success over utility: the lower right corner is where a defence wants to be.

use host_eval::compare::Pooled;
use plotters::prelude::*;

use super::{COLOURS, Painted};
use crate::summary::Row;

/// A point per policy with the intervals of both, and the level of the reference's attack success; that has not learned
/// the task.
pub fn paint(svg: &mut String, title: &str, reference: &Row, rows: &[&Row]) -> Painted {
    draw(svg, title, reference, rows).map_err(|error| error.to_string())
}

fn draw(
    svg: &mut String,
    title: &str,
    reference: &Row,
    rows: &[&Row],
) -> Result<(), Box<dyn std::error::Error>> {
    let utilities = rows.iter().filter_map(|row| row.utility);
    let low = utilities.map(|utility| utility.interval.0).fold(0.0, f64::min).max(-1.0);
    let area = SVGBackend::with_string(svg, (720, 440)).into_drawing_area();
    area.fill(&WHITE).map_err(|error| error.to_string())?;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(56)
        .build_cartesian_2d((100.0 * low - 3.0)..103.0, -3.0..103.0)
        .map_err(|error| error.to_string())?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc("task above chance, %")
        .y_desc("harmful requests answered, %")
        .draw()
        .map_err(|error| error.to_string())?;
    let percent = |share: f64| 100.0 * share;
    if let Some(success) = reference.attack_success {
        let (level, style) = (percent(success.mean), BLACK.stroke_width(1));
        chart
            .draw_series([PathElement::new(
                vec![(100.0 * low - 3.0, level), (103.0, level)],
                style,
            )])
            .map_err(|error| error.to_string())?
            .label(&reference.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
    }
    for (row, colour) in rows.iter().zip(COLOURS.iter().cycle()) {
        let (Some(across), Some(up)) = (row.utility, row.attack_success) else { continue };
        let at = (percent(across.mean), percent(up.mean));
        let bar = |pooled: Pooled| (percent(pooled.interval.0), percent(pooled.interval.1));
        let ((left, right), (below, above)) = (bar(across), bar(up));
        let style = colour.stroke_width(2);
        let bars = [
            PathElement::new(vec![(left, at.1), (right, at.1)], colour.mix(0.5)),
            PathElement::new(vec![(at.0, below), (at.0, above)], colour.mix(0.5)),
        ];
        chart.draw_series(bars).map_err(|error| error.to_string())?;
        chart
            .draw_series([Circle::new(at, 5, colour.filled())])
            .map_err(|error| error.to_string())?
            .label(&row.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()
        .map_err(|error| error.to_string())?;
    area.present().map_err(|error| error.to_string())?;
    drop(chart);
    drop(area);
    Ok(())
}
