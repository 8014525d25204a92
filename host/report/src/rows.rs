//! The rows that a run was trained on, with the risks that its policies gave them.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use host_audit::journal::{Journal, RowRecord};
use host_contract::Origin;
use host_data::source::read_answers;
use host_data::{DataSource, Row};
use host_html::chart::{Axis, Point, Series, Style};
use host_html::{Chart, Shown, shown};
use host_trainer::RunConfig;
use serde::Serialize;

use crate::shares::POLICY;

/// Rows that are shown, the riskiest.
const ROWS: usize = 200;
/// Characters of a row's text.
const TEXT: usize = 1200;
/// Bytes of a data file in which rows are looked up.
const DATA: u64 = 256 << 20;
/// Bars of the distribution.
const BARS: usize = 20;

/// What the policies made of the rows.
#[derive(Debug, Serialize)]
pub struct Risks {
    /// Distinct rows that were in a step.
    pub rows: usize,
    /// Of these, those of a mean risk of at least a half.
    pub risky: usize,
    /// The distribution of their mean risks.
    #[serde(skip)]
    pub distribution: Chart,
    /// The riskiest.
    pub riskiest: Vec<RiskyRow>,
    /// What a reader should know of them.
    pub notes: Vec<String>,
}

/// One row.
#[derive(Debug, Serialize)]
pub struct RiskyRow {
    /// Of the row's content, in hex.
    pub id: String,
    pub origin: &'static str,
    /// File and line, where the row was found.
    pub place: Option<String>,
    pub text: Option<Shown>,
    /// Mean over the steps that it was in.
    pub risk: f64,
    pub highest_risk: f64,
    pub first_risk: f64,
    pub last_risk: f64,
    pub task_weight: f64,
    pub kl_weight: f64,
    /// Steps that it was in.
    pub times: u64,
    /// The first of them, counted from 1.
    pub first_step: u64,
}

impl Risks {
    /// Nothing, if no step was assessed. Rows are looked up in the files that the configuration names:
    /// by the digest of their content, so none is shown that the run wasn't trained on.
    pub fn of(journal: &Journal, config: Option<&RunConfig>) -> Option<Self> {
        let all = journal.rows();
        if all.is_empty() {
            return None;
        }
        let riskiest = &all[..all.len().min(ROWS)];
        let mut notes = Vec::new();
        let found = if let Some(config) = config {
            look_up(riskiest, config, &mut notes)
        } else {
            let note = "the texts of the rows are left out, for want of a configuration that names \
                        their files";
            notes.push(note.into());
            HashMap::new()
        };
        let lost = riskiest.iter().filter(|row| !found.contains_key(&row.id)).count();
        if lost > 0 && config.is_some() {
            notes.push(format!(
                "{lost} of {} rows were not found in the files of the run: moved, changed, or somewhere else than when the run began; the id is that of their content",
                riskiest.len()
            ));
        }
        if all.len() > ROWS {
            notes.push(format!(
                "The riskiest {ROWS} are shown, and {} more are in the journal",
                all.len() - ROWS
            ));
        }
        Some(Self {
            rows: all.len(),
            risky: all.iter().filter(|row| row.risk >= 0.5).count(),
            distribution: distribution(&all),
            riskiest: riskiest.iter().map(|row| risky(row, found.get(&row.id))).collect(),
            notes,
        })
    }
}

fn risky(row: &RowRecord, found: Option<&Row>) -> RiskyRow {
    RiskyRow {
        id: format!("{:016x}", row.id),
        origin: match row.origin {
            Origin::Task => "task",
            Origin::Alignment => "alignment",
        },
        place: found.map(|found| found.place.to_string()),
        text: found.map(|found| shown(&text(found), TEXT)),
        risk: row.risk,
        highest_risk: row.highest_risk,
        first_risk: row.first_risk,
        last_risk: row.last_risk,
        task_weight: row.task_weight,
        kl_weight: row.kl_weight,
        times: row.times,
        first_step: row.first_step + 1,
    }
}

/// A conversation as lines.
fn text(row: &Row) -> String {
    let lines = row.messages.iter().map(|message| format!("{}: {}", message.role, message.content));
    lines.collect::<Vec<_>>().join("\n")
}

/// Rows of the files on this machine; nothing is downloaded for a report.
fn look_up(wanted: &[RowRecord], config: &RunConfig, notes: &mut Vec<String>) -> HashMap<u64, Row> {
    let ids: BTreeMap<u64, ()> = wanted.iter().map(|row| (row.id, ())).collect();
    let mut found = HashMap::new();
    let sources = config.data.sources();
    let mut paths: Vec<&Path> = sources.iter().map(|source| source.path.as_path()).collect();
    paths.sort_unstable();
    paths.dedup();
    for path in paths {
        if let Err(why) = readable(path) {
            notes.push(format!("{}: {why}, so its rows are not looked up", path.display()));
            continue;
        }
        let source = [DataSource::whole(path)];
        match read_answers(&source, config.seed.0, &config.data.bad_rows()) {
            Ok(read) => {
                let wanted = read.rows.into_iter().filter(|row| ids.contains_key(&row.id));
                found.extend(wanted.map(|row| (row.id, row)));
            }
            Err(error) => notes.push(format!("{error}, so rows of that file are not looked up")),
        }
    }
    found
}

fn readable(path: &Path) -> Result<(), String> {
    if host_data::embedded(path).is_some() {
        return Ok(());
    }
    match path.metadata() {
        Ok(found) if !found.is_file() => Err("is no file".into()),
        Ok(found) if found.len() > DATA => Err(format!("has more than {} MiB", DATA >> 20)),
        Ok(_) => Ok(()),
        Err(_) => Err("is not on this machine under this name".into()),
    }
}

fn distribution(rows: &[RowRecord]) -> Chart {
    let mut counts = [0usize; BARS];
    for row in rows {
        let bar = (row.risk * BARS as f64) as usize;
        counts[bar.min(BARS - 1)] += 1;
    }
    let points = counts.iter().enumerate().map(|(bar, count)| Point::at(bar as f64, *count as f64));
    let series = Series {
        name: "rows".into(),
        colour: POLICY,
        style: Style::Bars,
        points: points.collect(),
    };
    let places = Axis::within("mean risk of a row, in twentieths", 0.0, BARS as f64);
    Chart::new("Rows by their mean risk", places, Axis::named("rows"), vec![series])
}
