//! The study: what policies do to a model's refusals and to its task, over attacks, learning rates and seeds.
//!
//! Every run is a run of `host` in a folder of its own, so what is done is not done again. How to use it, and what it
//! showed: examples/study/README.md.

mod answers;
mod arguments;
mod arm;
mod calibration;
mod cell;
mod grid;
mod judge;
mod material;
mod needs;
mod plots;
mod program;
mod record;
mod reference;
mod scenario;
mod settings;
mod summary;

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

use crate::arguments::Arguments;
use crate::calibration::Calibrations;
use crate::grid::{Grid, Run};
use crate::material::Material;
use crate::program::Program;
use crate::record::Record;
use crate::reference::Reference;
use crate::settings::Settings;

fn main() -> ExitCode {
    match study(Arguments::parse()) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(failed) => {
            eprintln!("error: {failed} runs failed; the same command tries them again");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Says how many runs failed.
fn study(arguments: Arguments) -> anyhow::Result<usize> {
    // Ctrl-C reaches the run in progress as well, which saves itself; the study waits for that.
    ctrlc::set_handler(|| {})?;
    let settings = Settings::new(&arguments);
    let program = Program::find(arguments.host.as_deref())?;
    let material = match &arguments.data {
        Some(folder) => Material::from_folder(folder, &arguments.task)?,
        None => Material::embedded(settings.model.is_some())?,
    };
    Record::new(&arguments, &settings)?.keep(&settings.out)?;
    let files = material.write(&settings)?;
    let cells = settings.cells()?;
    let folder = settings.out.join("reference");
    std::fs::create_dir_all(&folder)?;
    let (mut model, mut judge) = (None, None);
    if let (Some(base), Some(alignment)) = (&settings.model, &material.alignment) {
        model = Some(reference::align(&program, &settings, alignment, base, &folder)?);
        if let Some(embedding) = &arguments.judge {
            let agreed = &material.attack;
            judge =
                Some(judge::fit(&program, &settings, alignment, agreed, base, embedding, &folder)?);
        }
    }
    let judge = judge.as_ref();
    let reference = Reference::measure(&program, &settings, &files, &cells, model, judge, &folder)?;
    let calibrations = Calibrations::fit(&program, &settings, &reference, &files, &cells)?;
    let grid = Grid {
        program: &program,
        settings: &settings,
        material: &material,
        files: &files,
        reference: &reference,
        calibrations: &calibrations,
        judge,
    };
    let runs = grid.run(&cells)?;
    let summary = summary::of(&runs.finished, &reference);
    summary.write(&settings.out, &calibrations)?;
    plots::draw(&summary, &settings.out)?;
    compare(&program, &runs.finished, &settings.out)?;
    println!("{}", summary.text());
    Ok(runs.failed)
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
    program.run(&arguments)?;
    Ok(())
}
