//! A comparison as text: one file per format.

mod csv;
mod html;
mod json;
mod latex;
mod markdown;
mod svg;
mod text;

use std::path::Path;

use host_data::failure::{Failure as Error, Result};
use host_files::Page;

use super::Compared;

/// Below a table of paired tests.
pub const PAIRED: &str = "Paired by prompt: difference in points [95% interval, bootstrap over prompts \
                      and seeds]; p of the exact McNemar test, per seed.";

/// How a table is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For a terminal.
    Text,
    Markdown,
    /// One column per number: value, bounds, spread.
    Csv,
    /// A tabular with booktabs' rules.
    Latex,
    Json,
    /// A page of its own with table and plot.
    Html,
    /// The plot of attack success over the task.
    Svg,
}

/// Each format's name and the ending of its files.
const FORMATS: [(Format, &str, &str); 7] = [
    (Format::Text, "text", "txt"),
    (Format::Markdown, "markdown", "md"),
    (Format::Csv, "csv", "csv"),
    (Format::Latex, "latex", "tex"),
    (Format::Json, "json", "json"),
    (Format::Html, "html", "html"),
    (Format::Svg, "svg", "svg"),
];

impl Format {
    /// By its name.
    ///
    /// # Errors
    /// The names there are.
    pub fn named(name: &str) -> std::result::Result<Self, String> {
        let found = FORMATS.iter().find(|(_, other, _)| *other == name);
        found.map(|(format, ..)| *format).ok_or_else(|| {
            let names = FORMATS.map(|(_, name, _)| name).join(", ");
            format!("{name:?} is no format; use one of {names}")
        })
    }

    /// By the ending of a file's name.
    pub fn of_file(path: &Path) -> Result<Self> {
        let ending = path.extension().and_then(|ending| ending.to_str());
        let found = FORMATS.iter().find(|(.., other)| Some(*other) == ending);
        found.map(|(format, ..)| *format).ok_or_else(|| {
            let endings = FORMATS.map(|(.., ending)| format!(".{ending}")).join(", ");
            let problem = format!("{}: its name must end in {endings}", path.display());
            Error::config("--output", problem)
        })
    }
}

impl Compared {
    /// The table in a format, ending in a line break.
    ///
    /// # Errors
    /// Of a plot, if there is nothing to plot; of the others none in practice: writing to memory.
    pub fn to(&self, format: Format) -> Result<String> {
        match format {
            Format::Text => Ok(format!("{}\n", self.text(None))),
            Format::Markdown => Ok(markdown::table(self)),
            Format::Csv => Ok(csv::table(self)),
            Format::Latex => Ok(latex::table(self)),
            Format::Json => json::table(self),
            Format::Html => html::page(self),
            Format::Svg => svg::plot(self),
        }
    }

    /// The table for a terminal. `width`: as [`Table::page`](crate::report::Table::page) has it.
    pub fn text(&self, width: Option<usize>) -> Page {
        text::table(self, width)
    }

    /// The rows of a table for people, the first of them its head. `escape` makes text of a
    /// report fit for a cell; the others are of our own making.
    pub fn rows(&self, escape: fn(&str) -> String) -> Vec<Vec<String>> {
        let metrics = self.metrics();
        let titles = metrics.iter().map(|metric| escape(&metric.title()));
        let head = ["method".to_owned(), "seeds".to_owned()];
        let mut rows = vec![head.into_iter().chain(titles).collect::<Vec<_>>()];
        for method in &self.methods {
            let seeds = method.seeds.len();
            let cells = metrics.iter().map(|metric| {
                let spread = method.metrics.get(metric);
                spread.map_or_else(|| "-".into(), |spread| spread.text(metric.unit(), seeds))
            });
            let head = [escape(&method.title()), seeds.to_string()];
            rows.push(head.into_iter().chain(cells).collect());
        }
        rows
    }

    /// The paired tests as a table for people, the first row its head; empty if there are none.
    pub fn paired_rows(&self, escape: fn(&str) -> String) -> Vec<Vec<String>> {
        let mut rows = Vec::new();
        for method in &self.methods {
            let Some(against) = &method.against else { continue };
            rows.extend(against.metrics.iter().map(|paired| {
                vec![
                    escape(&method.title()),
                    escape(&against.name),
                    escape(&paired.metric.title()),
                    paired.difference_text(),
                    paired.p_text(),
                    format!("{} x {}", paired.prompts, against.seeds.len()),
                ]
            }));
        }
        if !rows.is_empty() {
            let head = ["method", "against", "metric", "difference", "p", "prompts x seeds"];
            rows.insert(0, head.map(str::to_owned).to_vec());
        }
        rows
    }

    /// What the numbers of [`Compared::rows`] are, and how sure the refusals: lines.
    pub fn legend(&self) -> Vec<String> {
        std::iter::once(self.numbers().to_owned()).chain(self.footnotes()).collect()
    }

    fn numbers(&self) -> &'static str {
        let mut seeds = self.methods.iter().map(|method| method.seeds.len());
        match (seeds.any(|seeds| seeds > 1), self.methods.iter().any(|one| one.seeds.len() == 1)) {
            (true, true) => {
                "Several seeds: mean ± standard deviation. One seed: value [95% interval]."
            }
            (true, false) => "Mean ± standard deviation over the seeds.",
            (false, _) => "Value [95% interval] of one seed.",
        }
    }
}
