//! The study: what policies do to a model's refusals and to its task, over attacks, learning rates
//! and seeds.
//!
//! Every run is a run of the program, in a process and a folder of its own. So one that fails or is
//! interrupted costs itself, and what is done is not done again.

#![warn(missing_docs)]

mod answers;
mod arm;
mod calibration;
mod cell;
mod chat;
mod common;
mod estimate;
mod files;
mod grid;
mod judge;
mod material;
mod near;
mod needs;
mod options;
mod plots;
mod program;
mod record;
mod reference;
mod risk;
mod scenario;
mod settings;
mod summary;
mod task;

use std::path::Path;

use serde_json::Value;

pub use arm::{Arm, Choice};
pub use options::Options;
pub use program::{Interrupted, Program};
pub use scenario::Scenario;
pub use task::{Marking, Task};

use crate::calibration::Calibrations;
use crate::grid::{Grid, Run};
use crate::material::Material;
use crate::needs::AllNeeds;
use crate::record::Record;
use crate::reference::Reference;
use crate::settings::Settings;

/// What a study came to.
pub struct Outcome {
    /// The tables, as summary.md has them.
    pub text: String,
    /// The same for programs.
    pub json: Value,
    /// Runs that failed.
    pub failed: usize,
}

/// Where a study tells a person what it is doing, a line at a time.
pub type Tell<'a> = &'a (dyn Fn(&str) + Sync);

/// Runs what is asked for and not yet done, and writes tables and plots of all that is.
///
/// # Errors
/// Whatever keeps the study as a whole from going on, and [`Interrupted`]; a run that fails is told
/// and counted.
pub fn run(options: &Options, program: &Program, tell: Tell<'_>) -> anyhow::Result<Outcome> {
    let settings = Settings::new(options)?;
    let needs = AllNeeds::of(program, &settings)?;
    let mut material = Material::load(options)?;
    material.notes.iter().for_each(|note| tell(note));
    if options.dry_run {
        return estimate::estimate(&settings, &material, &needs);
    }
    Record::new(options, &settings)?.keep(&settings.out)?;
    let files = material.write(&settings)?;
    let cells = settings.cells()?;
    let folder = settings.out.join("reference");
    std::fs::create_dir_all(&folder)?;
    let (mut model, mut judge) = (settings.model.clone(), None);
    if let (Some(base), Some(alignment)) = (&settings.model, &material.alignment) {
        let of = answers::Base { program, settings: &settings, base, folder: &folder, tell };
        if options.aligned {
            of.own_rows(alignment)?;
        } else {
            model = Some(of.align(alignment)?);
        }
        if let Some(embedding) = &options.judge {
            judge = Some(judge::fit(&of, alignment, &material.attack, embedding)?);
        }
    }
    let judge = judge.as_ref();
    let reference = Reference::measure(program, &settings, &files, model, judge, &folder)?;
    material.write_scores(&files, &reference.alignment)?;
    let calibrations =
        Calibrations::fit(program, &settings, &reference, &files, &cells, &needs, tell)?;
    if cells.iter().any(|cell| cell.scenario == Scenario::ProbeAware) {
        let attack = &material.attack;
        material.least_risky =
            risk::least_risky(program, &settings, &reference, &calibrations, attack, tell)?;
    }
    let grid = Grid {
        program: &program.shared(settings.jobs),
        settings: &settings,
        material: &material,
        files: &files,
        reference: &reference,
        calibrations: &calibrations,
        needs: &needs,
        judge,
        tell,
    };
    let runs = grid.run(&cells)?;
    let summary = summary::Summary::of(&runs, &reference, &material, &settings)?;
    summary.write(&settings.out, &calibrations)?;
    plots::draw(&summary, &settings.out)?;
    if !runs.left.is_empty() {
        return Err(Interrupted.into());
    }
    compare(program, &runs.finished, &settings.out)?;
    Ok(Outcome {
        text: summary.text(options.width),
        json: summary.json()?,
        failed: runs.failed.len(),
    })
}

/// The runs as `host compare` shows them, for whoever wants to go on with the numbers.
fn compare(program: &Program, runs: &[Run], out: &Path) -> anyhow::Result<()> {
    if runs.is_empty() {
        return Ok(());
    }
    let mut arguments = vec!["compare".into()];
    arguments.extend(runs.iter().map(|run| run.folder.clone().into_os_string()));
    for format in ["csv", "tex"] {
        arguments.push("--output".into());
        arguments.push(out.join("comparison").with_extension(format).into());
    }
    program.run(&arguments, &out.join("comparison.log"))?;
    Ok(())
}
