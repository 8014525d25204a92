//! The study: what policies do to a model's refusals and to its task, over attacks, learning rates and seeds.
//!
//! Every run is a run of `host` in a folder of its own, so what is done is not done again. How to use it, and what it
//! showed: examples/study/README.md.

mod arguments;
mod arm;
mod calibration;
mod grid;
mod material;
mod plots;
mod program;
mod reference;
mod scenario;
mod settings;
mod summary;

use std::process::ExitCode;

use clap::Parser;

use crate::arguments::Arguments;
use crate::calibration::Calibrations;
use crate::grid::Grid;
use crate::material::Material;
use crate::program::Program;
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
        None => Material::embedded()?,
    };
    let files = material.write(&settings)?;
    let reference = reference::build(&program, &settings, &material, &files)?;
    let calibrations = Calibrations::fit(&program, &settings, &reference, &files)?;
    let grid = Grid {
        program: &program,
        settings: &settings,
        material: &material,
        files: &files,
        reference: &reference,
        calibrations: &calibrations,
    };
    let runs = grid.run(&settings.cells())?;
    let summary = summary::of(&runs.finished, &reference);
    summary.write(&settings.out, &calibrations)?;
    plots::draw(&summary, &settings.out)?;
    println!("{}", summary.text());
    Ok(runs.failed)
}
