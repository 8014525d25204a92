//! A page of its own: what a person sends to others.

use host_data::failure::{Failure as Error, Result};
use host_html::{Figure, Refresh, Template};
use serde::Serialize;

use super::PAIRED;
use crate::compare::Compared;

const SOURCE: &str = include_str!("page.html");

#[derive(Serialize)]
struct Data {
    rows: Vec<Vec<String>>,
    legend: Vec<String>,
    plot: Option<Figure>,
    paired: Vec<Vec<String>>,
    paired_legend: &'static str,
    notices: Vec<String>,
    runs: Vec<String>,
    host: &'static str,
}

pub(super) fn page(compared: &Compared) -> Result<String> {
    let runs = compared.methods.iter().flat_map(|method| &method.runs);
    let mut runs: Vec<String> = runs.map(|run| run.display().to_string()).collect();
    runs.sort();
    runs.dedup();
    let data = Data {
        rows: compared.rows(str::to_owned),
        legend: compared.legend(),
        plot: compared.plot().map(|plot| Figure::new(&plot, 460.0, 330.0)),
        paired: compared.paired_rows(str::to_owned),
        paired_legend: PAIRED,
        notices: compared.notices.clone(),
        runs,
        host: env!("CARGO_PKG_VERSION"),
    };
    let wrong = |error: host_html::Error| Error::config("html", error.to_string());
    Template::new(SOURCE).map_err(wrong)?.page(&data, Refresh::Never).map_err(wrong)
}
