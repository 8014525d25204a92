//! Several runs beside each other.

use std::path::PathBuf;

use host_eval::compare::Compared;
use host_eval::compare::export::PAIRED;
use host_html::Chart;
use host_trainer::{Result, compared};
use serde::Serialize;

use crate::curves::{self, Steps, Trained};
use crate::part::Problems;
use crate::run::{Run, name};

/// Runs whose curves are drawn; more of them can't be told apart.
const CURVES: usize = 12;
/// Runs that are listed.
const LISTED: usize = 200;

/// The table of `host compare`, and the curves over each other.
#[derive(Debug, Serialize)]
pub struct Runs {
    /// Each run and what happened.
    pub runs: Vec<Listed>,
    /// What is left out, and why.
    pub notices: Vec<String>,
    /// One row per method: the first row is the head.
    pub rows: Vec<Vec<String>>,
    /// What the numbers are.
    pub legend: Vec<String>,
    /// Paired tests; the first row is the head.
    pub paired: Vec<Vec<String>>,
    /// What their numbers are.
    pub paired_legend: &'static str,
    /// Attack success over the task.
    pub plot: Option<Chart>,
    /// Over the steps.
    pub curves: Vec<Chart>,
    /// What a reader must know of them.
    pub curves_note: Option<String>,
}

/// One of them.
#[derive(Debug, Serialize)]
pub struct Listed {
    /// As it was named.
    pub folder: String,
    /// What happened, in sentences.
    pub summary: Vec<String>,
}

impl Runs {
    /// Reads runs of which at least one has ended.
    ///
    /// # Errors
    /// As of `host compare`: a folder that is no run, a report that is damaged, or no run that has
    /// ended.
    pub fn read(folders: &[PathBuf]) -> Result<Self> {
        let compared: Compared = compared::compare(folders, None)?;
        let mut problems = Problems::default();
        let mut steps: Vec<(String, Steps)> = Vec::new();
        for folder in folders.iter().take(CURVES) {
            let read = Steps::read(folder, curves::FILE, &mut problems);
            steps.push((name(folder), read));
        }
        if folders.len() > CURVES {
            problems.add(format!("the curves of the first {CURVES} runs are drawn"));
        }
        if folders.len() > LISTED {
            problems.add(format!("the first {LISTED} of {} runs are listed", folders.len()));
        }
        let colours = [0, 2, 3, 4, 5, 6, 1].into_iter().cycle();
        let trained: Vec<Trained<'_>> = steps
            .iter()
            .zip(colours)
            .map(|((name, steps), colour)| Trained { name, colour, steps })
            .collect();
        let listed = folders.iter().take(LISTED).map(|folder| {
            let run = Run::outline(folder);
            Listed { folder: run.0, summary: run.1 }
        });
        let mut notices = compared.notices.clone();
        let runs = listed.collect();
        let plot = compared.plot();
        let curves = curves::overlaid(&trained);
        notices.extend(problems.into_lines());
        Ok(Self {
            runs,
            notices,
            rows: compared.rows(str::to_owned),
            legend: compared.legend(),
            paired: compared.paired_rows(str::to_owned),
            paired_legend: PAIRED,
            plot,
            curves_note: curves::note(steps.iter().map(|(_, steps)| steps)),
            curves,
        })
    }
}
