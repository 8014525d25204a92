//! Building policies in Python: componentize-py, in a virtual environment of the
//! project. The component holds an interpreter and the modules as they were loaded.

use std::fs;
use std::path::Path;
use std::process::Command;

use host_files::atomic;

use crate::{Error, Language, Result, generated, tools};

/// The module in src/ that defines the class `Assessor`.
const MODULE: &str = "assessor";

pub(crate) fn build(folder: &Path) -> Result<Vec<u8>> {
    let workshop = generated::workshop(folder)?;
    let venv = workshop.join("venv");
    install(folder, &venv)?;
    let into = generated::settings_schema(folder, Language::Python)?;

    let componentize = || {
        let mut command = Command::new(venv.join("bin/componentize-py"));
        command
            .current_dir(folder)
            // Modules of the user's shell must not get into a component.
            .env_remove("PYTHONPATH")
            .env_remove("PYTHONHOME")
            .env("VIRTUAL_ENV", &venv)
            // Its own backtrace says nothing about the policy.
            .env("RUST_BACKTRACE", "0")
            .args(["--quiet", "--wit-path", "wit", "--world", "policy"]);
        command
    };
    let bindings = workshop.join("bindings");
    if bindings.exists() {
        fs::remove_dir_all(&bindings).map_err(Error::io(&bindings))?;
    }
    let mut command = componentize();
    command.arg("bindings").arg(&bindings);
    tools::run(&mut command, "making the types for wit/policy.wit")?;

    let output = workshop.join("component.wasm");
    let mut command = componentize();
    command
        // Python's own libraries ask for WASI; without it they find none and say so.
        .args(["componentize", "--stub-wasi", "--python-path", "src"])
        .arg("--python-path")
        .arg(&into)
        .arg("--output")
        .args([&output, Path::new(MODULE)]);
    tools::run(&mut command, format!("loading src/{MODULE}.py"))?;
    fs::read(&output).map_err(Error::io(&output))
}

/// Makes the environment, unless it is there with these requirements.
fn install(folder: &Path, venv: &Path) -> Result<()> {
    let requirements = folder.join("requirements.txt");
    let wanted = fs::read(&requirements).map_err(Error::io(&requirements))?;
    // Written last, so an installation that was cut short is begun again.
    let installed = venv.join("installed.txt");
    if fs::read(&installed).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    let missing = |tool, install| Error::Missing { language: Language::Python, tool, install };
    let python = tools::find("python3").ok_or(missing(
        "python3",
        "install Python 3.10 or later, on Debian `apt-get install python3 python3-venv`",
    ))?;
    let mut command = Command::new(python);
    command.args(["-m", "venv", "--clear"]).arg(venv);
    tools::run(&mut command, "making .build/venv").map_err(|error| match error {
        // Debian's python3 comes without it.
        Error::Failed { .. } => {
            missing("Python's module venv", "on Debian `apt-get install python3-venv`")
        }
        other => other,
    })?;
    let mut command = Command::new(venv.join("bin/python"));
    command
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
        .arg("--requirement")
        .arg(&requirements);
    tools::run(&mut command, "installing requirements.txt")?;
    Ok(atomic::write(&installed, &wanted)?)
}
