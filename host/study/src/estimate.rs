//! What a study would do, and about how long that takes: nothing is run.

use std::fmt::Write;

use host_eval::report::Report;
use serde_json::{Value, json};

use crate::Outcome;
use crate::cell::Cell;
use crate::material::Material;
use crate::needs::AllNeeds;
use crate::program::over;
use crate::reference::alignment_share;
use crate::settings::Settings;

pub fn estimate(
    settings: &Settings,
    material: &Material,
    needs: &AllNeeds,
) -> anyhow::Result<Outcome> {
    let cells = settings.cells()?;
    let (runs, in_data) = (settings.runs(), alignment_share(settings)?);
    let (mut text, mut list, mut left) = (String::new(), Vec::new(), 0.0);
    let usual = mean_seconds(&cells, settings);
    let mut missing = 0;
    for cell in &cells {
        let steps = needs.steps(&cell.arm.policies, settings.steps(), in_data);
        let is_done = report(cell, settings)?.is_some();
        let seconds = usual.map(|seconds| seconds * steps as f64 / settings.steps() as f64);
        if !is_done {
            missing += 1;
            left += seconds.unwrap_or(0.0);
        }
        let state = if is_done {
            "done"
        } else if runs.join(cell.slug()).is_dir() {
            "begun"
        } else {
            "to do"
        };
        writeln!(text, "{state:5}  {}  {steps} steps", cell.slug())?;
        list.push(json!({ "run": cell.slug(), "steps": steps, "state": state }));
    }
    writeln!(
        text,
        "{} runs, {missing} of them to do; {} harmful and {} harmless prompts, {} task questions each",
        cells.len(),
        material.harmful.len().min(settings.size.prompts),
        material.harmless.len().min(settings.size.prompts),
        material.task_questions.len().min(settings.size.task_prompts),
    )?;
    let about = usual.map(|_| left / settings.jobs as f64);
    match about {
        Some(seconds) => writeln!(
            text,
            "about {:.0} minutes, going by the runs that are done, {} at a time",
            (seconds / 60.0).ceil(),
            settings.jobs
        )?,
        None => writeln!(text, "no run is done yet to go by; finish one for an estimate of time")?,
    }
    let json = json!({ "runs": Value::Array(list), "seconds": about });
    Ok(Outcome { text: text.trim_end().to_owned(), json, failed: 0 })
}

fn report(cell: &Cell, settings: &Settings) -> anyhow::Result<Option<Report>> {
    over(&settings.runs().join(cell.slug()))
}

/// Training and evaluation of the runs that are done.
fn mean_seconds(cells: &[Cell], settings: &Settings) -> Option<f64> {
    let seconds = |cell: &Cell| -> Option<f64> {
        let report = report(cell, settings).ok()??;
        Some(report.trained?.totals.seconds + report.after?.seconds)
    };
    let all: Vec<f64> = cells.iter().filter_map(seconds).collect();
    (!all.is_empty()).then(|| all.iter().sum::<f64>() / all.len() as f64)
}
