//! The drawing of a [`Chart`].

use std::fmt::Write as _;

use host_files::text;

use super::scale::{Scale, number};
use super::{Chart, Frame, Point, Series, Style};
use crate::palette::{self, REFERENCE};

/// Characters of a name in a legend, and of one at a tick.
const NAME: (usize, usize) = (64, 18);
/// Width of a letter, in units of the drawing.
const LETTER: f64 = 6.4;
/// Height of a line of the legend.
const ROW: f64 = 18.0;

/// What a drawing of its own looks like.
const STYLE: &str = "text { font: 12px system-ui, sans-serif; fill: currentColor; }
.title { font-size: 15px; font-weight: 600; }
.grid { stroke: currentColor; stroke-opacity: .13; }
.paper { fill: #fff; } svg { color: #1d2129; background: #fff; }
@media (prefers-color-scheme: dark) { .paper { fill: #15181d; } svg { color: #e3e6ea; background: #15181d; } }
";

impl Chart {
    /// The drawing, so many units wide and high (without title and legend).
    pub fn svg(&self, frame: Frame, width: f64, height: f64) -> String {
        let legend = self.rows_of_legend(width);
        let (top, bottom) = match frame {
            Frame::Page => (10.0, 0.0),
            Frame::File => (40.0, 8.0 + ROW * legend.len() as f64),
        };
        let all = || self.series.iter().flat_map(|one| &one.points).filter(|one| one.is_finite());
        let bounds = |value: f64, interval: Option<(f64, f64)>| {
            [value].into_iter().chain(interval.into_iter().flat_map(|(low, high)| [low, high]))
        };
        let bars = self.series.iter().any(|one| one.style == Style::Bars);
        let ups = all().flat_map(|one| bounds(one.y, one.up)).chain(bars.then_some(0.0));
        let ups = ups.chain(self.level.iter().map(|(_, level)| *level));
        let base = top + height - 42.0;
        let y = Scale::new(&self.up, ups, true, (base, top));
        let names = y.ticks();
        let longest = names.iter().map(|(_, name)| name.chars().count()).max().unwrap_or(1);
        let left = 26.0 + LETTER * longest.min(NAME.1) as f64;
        let acrosses = all().flat_map(|one| {
            let right = bars.then_some(one.x + 1.0);
            bounds(one.x, one.across).chain(right)
        });
        let x = Scale::new(&self.across, acrosses, false, (left, width - 14.0));
        let total = top + height + bottom;
        let mut svg = format!(
            "<svg viewBox=\"0 0 {width} {total}\" role=\"img\" aria-label=\"{}\">",
            escape(&self.words(), 4000)
        );
        if frame == Frame::File {
            svg = svg.replacen("<svg ", &format!("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{total}\" "), 1);
            let _ = write!(svg, "<title>{}</title>", escape(&self.title, 400));
            let _ = write!(svg, "<style>{STYLE}{}</style>", palette::css());
            let _ = write!(svg, "<rect class=\"paper\" width=\"{width}\" height=\"{total}\"/>");
            let _ = write!(
                svg,
                "<text class=\"title\" x=\"14\" y=\"24\">{}</text>",
                escape(&self.title, 90)
            );
        }
        for (at, name) in &names {
            let _ = write!(
                svg,
                "<path class=\"grid\" d=\"M{left:.1} {at:.1}H{:.1}\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                width - 14.0,
                left - 6.0,
                at + 4.0,
                escape(name, NAME.1)
            );
        }
        for (at, name) in x.ticks() {
            let _ = write!(
                svg,
                "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                base + 17.0,
                escape(&name, NAME.1)
            );
        }
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            (left + width - 14.0) / 2.0,
            base + 36.0,
            escape(&self.across.name, 80)
        );
        let middle = (top + base) / 2.0;
        let _ = write!(
            svg,
            "<text x=\"12\" y=\"{middle:.1}\" text-anchor=\"middle\" transform=\"rotate(-90 12 {middle:.1})\">{}</text>",
            escape(&self.up.name, 80)
        );
        if let Some((_, level)) = &self.level {
            let _ = write!(
                svg,
                "<path class=\"{}\" fill=\"none\" stroke=\"currentColor\" stroke-dasharray=\"5 4\" d=\"M{left:.1} {:.1}H{:.1}\"/>",
                palette::class(REFERENCE),
                y.at(*level),
                width - 14.0
            );
        }
        self.series.iter().for_each(|series| draw(&mut svg, series, &x, &y));
        if frame == Frame::File {
            for (row, names) in legend.iter().enumerate() {
                let height = total - 12.0 - ROW * (legend.len() - 1 - row) as f64;
                for (at, name, class, dashed) in names {
                    let dash = if *dashed { " stroke-dasharray=\"5 4\"" } else { "" };
                    let _ = write!(
                        svg,
                        "<path class=\"{class}\" stroke=\"currentColor\" stroke-width=\"3\"{dash} d=\"M{at:.1} {:.1}h18\"/><text x=\"{:.1}\" y=\"{height:.1}\">{}</text>",
                        height - 4.0,
                        at + 24.0,
                        escape(name, NAME.0)
                    );
                }
            }
        }
        svg.push_str("</svg>");
        svg
    }

    /// Rows of the legend that fit: where each name begins, with its class.
    fn rows_of_legend(&self, width: f64) -> Vec<Vec<(f64, String, String, bool)>> {
        let mut rows: Vec<Vec<_>> = vec![Vec::new()];
        let mut at = 14.0;
        for (name, class, dashed) in self.legend() {
            let length = 24.0 + LETTER * name.chars().count().min(NAME.0) as f64 + 18.0;
            if at + length > width && at > 14.0 {
                rows.push(Vec::new());
                at = 14.0;
            }
            if let Some(row) = rows.last_mut() {
                row.push((at, name, class, dashed));
            }
            at += length;
        }
        rows
    }
}

fn draw(svg: &mut String, series: &Series, x: &Scale, y: &Scale) {
    let _ = write!(svg, "<g class=\"{}\">", palette::class(series.colour));
    let seen = || series.points.iter().filter(|point| point.is_finite());
    match series.style {
        Style::Line | Style::Dashed => line(svg, series, x, y),
        Style::Dots => seen().for_each(|point| dot(svg, series, point, x, y)),
        Style::Joined => {
            line(svg, series, x, y);
            seen().for_each(|point| dot(svg, series, point, x, y));
        }
        Style::Bars => {
            let ground = y.at(0.0);
            for point in seen() {
                let (left, right, top) = (x.at(point.x), x.at(point.x + 1.0), y.at(point.y));
                let _ = write!(
                    svg,
                    "<rect fill=\"currentColor\" x=\"{:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>",
                    left + 0.5,
                    (right - left - 1.0).max(0.5),
                    (ground - top).max(0.0)
                );
            }
        }
    }
    svg.push_str("</g>");
}

/// A line through the points; where one is missing it breaks.
fn line(svg: &mut String, series: &Series, x: &Scale, y: &Scale) {
    let (thick, dash) = match series.style {
        Style::Dashed => ("1.25", " stroke-dasharray=\"4 3\""),
        _ => ("1.75", ""),
    };
    let _ = write!(
        svg,
        "<path fill=\"none\" stroke=\"currentColor\" stroke-width=\"{thick}\" stroke-linejoin=\"round\"{dash} d=\""
    );
    let mut joins = false;
    for point in &series.points {
        if point.is_finite() {
            let letter = if joins { 'L' } else { 'M' };
            let _ = write!(svg, "{letter}{:.1} {:.1}", x.at(point.x), y.at(point.y));
        }
        joins = point.is_finite();
    }
    svg.push_str("\"/>");
}

fn dot(svg: &mut String, series: &Series, point: &Point, x: &Scale, y: &Scale) {
    let (across, up) = (x.at(point.x), y.at(point.y));
    let mut bars = String::new();
    if let Some((low, high)) = point.across {
        let _ = write!(bars, "M{:.1} {up:.1}H{:.1}", x.at(low), x.at(high));
    }
    if let Some((low, high)) = point.up {
        let _ = write!(bars, "M{across:.1} {:.1}V{:.1}", y.at(low), y.at(high));
    }
    if !bars.is_empty() {
        let _ = write!(
            svg,
            "<path fill=\"none\" stroke=\"currentColor\" stroke-width=\"1.75\" stroke-opacity=\".55\" d=\"{bars}\"/>"
        );
    }
    let _ = write!(
        svg,
        "<circle fill=\"currentColor\" cx=\"{across:.1}\" cy=\"{up:.1}\" r=\"4.5\"><title>{}: {}, {}</title></circle>",
        escape(&series.name, NAME.0),
        number(point.x),
        number(point.y)
    );
}

/// A foreign name in XML.
pub(super) fn escape(name: &str, most: usize) -> String {
    let mut escaped = String::with_capacity(name.len());
    for letter in text::brief(name, most).chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // What XML has no place for.
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chart::Axis;

    #[test]
    fn names_stay_text() {
        let name = "<script>\u{202e}\"'&";
        let series = Series {
            name: name.into(),
            colour: 9,
            style: Style::Dots,
            points: vec![
                Point { up: Some((0.0, f64::NAN)), ..Point::at(1.0, 2.0) },
                Point::at(f64::NAN, 1.0),
            ],
        };
        let chart = Chart {
            level: Some((name.into(), 1.0)),
            ..Chart::new(
                name,
                Axis::named(name),
                Axis::of_places(name, vec![name.into()]),
                vec![series],
            )
        };
        for frame in [Frame::Page, Frame::File] {
            let svg = chart.svg(frame, 400.0, 260.0);
            assert!(!svg.contains("<script") && !svg.contains('\u{202e}'), "{svg}");
            assert!(svg.contains("&lt;script&gt;\\u{202e}&quot;&#39;&amp;"), "{svg}");
        }
    }
}
