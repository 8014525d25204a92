//! From data to HTML.

use host_html::{Chart, Error, Figure, Refresh, Template, colour_class};
use serde::Serialize;

use crate::run::Run;
use crate::runs::Runs;
use crate::study::Study;

const RUN: &str = include_str!("run.html");
const RUNS: &str = include_str!("runs.html");
const STUDY: &str = include_str!("study.html");

/// Width and height of a chart among others, and of one by itself.
const SMALL: (f64, f64) = (440.0, 250.0);
const LARGE: (f64, f64) = (460.0, 330.0);

#[derive(Serialize)]
struct RunPage<'a> {
    run: &'a Run,
    /// `good`, `bad` or `note`.
    ending: &'static str,
    shares: Option<Figure>,
    /// Classes of the columns of the table, the first column's empty.
    columns: Vec<String>,
    curves: Vec<Figure>,
    distribution: Option<Figure>,
    host: &'static str,
}

pub fn run(run: &Run, refresh: Refresh) -> Result<String, Error> {
    let colours = run.figures.iter().flat_map(|figures| &figures.colours);
    let columns: Vec<String> =
        std::iter::once(String::new()).chain(colours.map(|colour| colour_class(*colour))).collect();
    let legend = run.figures.iter().filter_map(|figures| figures.rows.first()).flatten();
    let legend = legend.zip(&columns).skip(1);
    let legend = legend.map(|(name, class)| (name.clone(), class.clone(), false)).collect();
    let page = RunPage {
        run,
        ending: match run.status.as_str() {
            "finished" | "early-stop" => "good",
            "failed" => "bad",
            _ => "note",
        },
        shares: run.shares.as_ref().map(|shares| Figure::dots(shares, legend, SMALL.0)),
        columns,
        curves: figures(&run.curves, SMALL),
        distribution: run.risks.as_ref().map(|risks| figure(&risks.distribution, SMALL)),
        host: VERSION,
    };
    Template::new(RUN)?.page(&page, refresh)
}

#[derive(Serialize)]
struct RunsPage<'a> {
    runs: &'a Runs,
    plot: Option<Figure>,
    curves: Vec<Figure>,
    host: &'static str,
}

pub fn runs(runs: &Runs, refresh: Refresh) -> Result<String, Error> {
    let page = RunsPage {
        runs,
        plot: runs.plot.as_ref().map(|plot| figure(plot, LARGE)),
        curves: figures(&runs.curves, SMALL),
        host: VERSION,
    };
    Template::new(RUNS)?.page(&page, refresh)
}

#[derive(Serialize)]
struct StudyPage<'a> {
    study: &'a Study,
    /// Per table.
    plots: Vec<Option<Figure>>,
    over_attacks: Vec<Figure>,
    host: &'static str,
}

pub fn study(study: &Study, refresh: Refresh) -> Result<String, Error> {
    let plots = study.tables.iter().map(|table| table.plot.as_ref());
    let page = StudyPage {
        study,
        plots: plots.map(|plot| plot.map(|plot| figure(plot, LARGE))).collect(),
        over_attacks: figures(&study.over_attacks, SMALL),
        host: VERSION,
    };
    Template::new(STUDY)?.page(&page, refresh)
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

fn figures(charts: &[Chart], size: (f64, f64)) -> Vec<Figure> {
    charts.iter().map(|chart| figure(chart, size)).collect()
}

fn figure(chart: &Chart, (width, height): (f64, f64)) -> Figure {
    Figure::new(chart, width, height)
}
