//! Building policies in JavaScript: componentize-js, through its interface for
//! Node.js. The component holds an engine and the modules as they were loaded.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use host_files::atomic;

use crate::{Error, Language, Result, generated, tools};

/// The module that exports `assessor`.
const MODULE: &str = "src/assessor.js";
/// Calls componentize-js: its command line can't leave out everything that imports.
const COMPONENTIZE: &str = include_str!("componentize.mjs");
const PACKAGE: &str = "node_modules/@bytecodealliance/componentize-js";

pub(crate) fn build(folder: &Path) -> Result<Vec<u8>> {
    let node = tool("node")?;
    install(folder)?;
    generated::settings_schema(folder, Language::Js)?;
    let workshop = generated::workshop(folder)?;
    let script = workshop.join("componentize.mjs");
    atomic::write(&script, COMPONENTIZE.as_bytes())?;

    let output = workshop.join("component.wasm");
    let mut command = Command::new(node);
    command.current_dir(folder).env_remove("NODE_OPTIONS").args([
        &script,
        Path::new(MODULE),
        Path::new("wit"),
        &output,
    ]);
    tools::run(&mut command, format!("loading {MODULE}"))?;
    fs::read(&output).map_err(Error::io(&output))
}

/// Installs the packages, unless they are there as package.json wants them.
fn install(folder: &Path) -> Result<()> {
    let package = folder.join("package.json");
    let wanted = fs::read(&package).map_err(Error::io(&package))?;
    // Written last, so an installation that was cut short is begun again.
    let installed = generated::workshop(folder)?.join("installed.json");
    let is_there = folder.join(PACKAGE).is_dir();
    if is_there && fs::read(&installed).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    let mut command = Command::new(tool("npm")?);
    command.current_dir(folder).args(["install", "--no-audit", "--no-fund", "--loglevel=error"]);
    tools::run(&mut command, "installing the packages of package.json")?;
    Ok(atomic::write(&installed, &wanted)?)
}

fn tool(name: &'static str) -> Result<PathBuf> {
    tools::find(name).ok_or(Error::Missing {
        language: Language::Js,
        tool: name,
        install: "install Node.js 20 or later, on Debian `apt-get install nodejs npm`",
    })
}
