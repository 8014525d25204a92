//! The rules, and what may break them for now.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::circles::Circle;
use super::modules::{Crate, rust_files};

/// Crates by floor, bottom to top: a crate uses those of lower floors alone.
const FLOORS: &[&[&str]] = &[
    &["host-files", "host-stats"],
    &["host-kernels", "host-contract", "host-html", "host-web"],
    &["host-model", "host-sandbox"],
    &["host-data", "host-registry", "host-installed"],
    &["host-judges", "host-audit", "host-serve", "host-trackers"],
    &["host-eval"],
    &["host-trainer"],
    &["host-study", "host-report"],
    &["host"],
];

/// Crates beside the floors, and what each may use; everything, if nothing is named.
const BESIDE: &[(&str, &[&str])] = &[
    ("host-authoring", &["host-contract", "host-files"]),
    ("host-fuzz", &[]),
    (
        "host-python",
        &[
            "host-audit",
            "host-contract",
            "host-files",
            "host-installed",
            "host-registry",
            "host-sandbox",
        ],
    ),
    ("hostile", &[]),
    ("xtask", &[]),
];

/// Circles that are not resolved yet, as they are printed.
const CIRCLES: &[&str] = &[];

/// Longest file, in lines.
const LINES: usize = 400;

/// Longer files.
const LONG: &[&str] = &[];

/// Files outside of host-kernels with `unsafe`, and why.
const UNSAFE: &[(&str, &str)] = &[
    ("host/cli/src/main.rs", "sets a variable of the environment before there are threads"),
    ("host/model/src/load/gguf.rs", "maps files of weights into memory"),
    ("host/model/src/load/safetensors.rs", "maps files of weights into memory"),
    ("host/python/src/arrays.rs", "reads arrays of numpy where they lie"),
    ("host/sandbox/src/engine.rs", "takes compiled code from its own worker"),
];

/// A member of the workspace, and the members that it uses.
pub struct Manifest {
    pub name: String,
    pub folder: PathBuf,
    uses: Vec<String>,
}

/// # Errors
/// Manifests that can't be read.
pub fn manifests(root: &Path) -> Result<Vec<Manifest>> {
    let workspace = read(&root.join("Cargo.toml"))?;
    let members = workspace["workspace"]["members"].as_array().context("no members")?;
    let folders = members.iter().filter_map(|member| Some(root.join(member.as_str()?)));
    folders.map(manifest).collect()
}

fn manifest(folder: PathBuf) -> Result<Manifest> {
    let text = read(&folder.join("Cargo.toml"))?;
    let name = text["package"]["name"].as_str().context("no name")?.to_owned();
    let tables = ["dependencies", "build-dependencies"];
    let names = tables.iter().filter_map(|table| text.get(table)?.as_table());
    let names = names.flat_map(|table| table.keys().cloned());
    let uses = names.filter(|name| name.starts_with("host")).collect();
    Ok(Manifest { name, folder, uses })
}

fn read(path: &Path) -> Result<toml::Value> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    toml::from_str(&text).with_context(|| path.display().to_string())
}

/// A line for each rule that is broken, and for each exception that is none any more.
///
/// # Errors
/// Sources that can't be read.
pub fn broken(root: &Path, crates: &[Crate], circles: &[Circle]) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for manifest in manifests(root)? {
        lines.extend(upward(&manifest));
    }
    let found = circles.iter().map(ToString::to_string).collect();
    lines.extend(compared("circle", found, CIRCLES));
    lines.extend(compared(
        "unsafe outside of host-kernels",
        unsafe_files(root, crates),
        &names(UNSAFE),
    ));
    lines.extend(compared("longer than 400 lines", long_files(root)?, LONG));
    lines.extend(generated(crates));
    Ok(lines)
}

/// Each arrow of a manifest that leads upward, or sideward.
fn upward(manifest: &Manifest) -> Vec<String> {
    let Manifest { name, uses, .. } = manifest;
    let beside = BESIDE.iter().find(|(crate_name, _)| crate_name == name);
    let is_allowed = |other: &str| match (beside, floor(name), floor(other)) {
        (Some((_, allowed)), ..) => allowed.is_empty() || allowed.contains(&other),
        (None, Some(own), Some(floor)) => floor < own,
        // Crates beside the floors carry nothing; only the program has what they make.
        (None, Some(own), None) => own == FLOORS.len() - 1 && other == "host-authoring",
        (None, None, _) => false,
    };
    let mut lines: Vec<String> = uses
        .iter()
        .filter(|other| !is_allowed(other))
        .map(|other| format!("floors: {name} uses {other}, which is not below it"))
        .collect();
    if beside.is_none() && floor(name).is_none() {
        lines.push(format!("floors: {name} has no floor; give it one in rules.rs"));
    }
    lines
}

fn floor(name: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&name))
}

fn names(list: &'static [(&str, &str)]) -> Vec<&'static str> {
    list.iter().map(|(name, _)| *name).collect()
}

/// What breaks a rule and is no exception, and exceptions that break nothing.
fn compared(rule: &str, found: Vec<String>, allowed: &[&str]) -> Vec<String> {
    let new = found.iter().filter(|one| !allowed.contains(&one.as_str()));
    let gone = allowed.iter().filter(|one| !found.iter().any(|found| found == **one));
    let new = new.map(|one| format!("{rule}: {one}"));
    let gone =
        gone.map(|one| format!("{rule}: {one} is an exception no more; take it out of rules.rs"));
    new.chain(gone).collect()
}

fn unsafe_files(root: &Path, crates: &[Crate]) -> Vec<String> {
    let others = crates.iter().filter(|one| one.name != "host-kernels");
    let files = others.flat_map(|one| one.files.values());
    let files = files.filter(|(_, file)| file.is_unsafe);
    files.map(|(path, _)| relative(root, path)).collect()
}

fn long_files(root: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for folder in ["host", "plugins", "tests", "examples"] {
        for path in rust_files(&root.join(folder))? {
            let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            if text.lines().count() > LINES {
                found.push(relative(root, &path));
            }
        }
    }
    Ok(found)
}

fn generated(crates: &[Crate]) -> Vec<String> {
    let others = crates.iter().filter(|one| one.name != "host-contract");
    let files = others.flat_map(|one| one.files.values());
    let files = files.filter(|(_, file)| file.generates);
    let line =
        |path: &Path| format!("generated types outside of host-contract: {}", path.display());
    files.map(|(path, _)| line(path)).collect()
}

fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).display().to_string()
}
