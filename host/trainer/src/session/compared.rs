//! Runs that have ended, read for a comparison.

use host_files::shell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use host_eval::compare::{Compared, Outcomes, Run, is_named};
use host_eval::report::{Ending, Report};
use serde::de::DeserializeOwned;
use toml::Value;

use crate::config::{CONFIG, Layers, RunConfig, check_run};
use crate::error::{Error, Result};
use crate::session::manifest::{FILE as MANIFEST, Manifest};

enum Read {
    Ended(Box<Run>),
    /// Says which run it is and how it stands.
    Unfinished(String),
}

/// Reads the reports of runs and puts them beside each other.
///
/// # Errors
/// A folder that is no run, a report that can't be read, or no run that has ended.
pub fn compare(folders: &[PathBuf], against: Option<&str>) -> Result<Compared> {
    let mut notices = Vec::new();
    let mut runs: Vec<Run> = Vec::new();
    for folder in folders {
        match read(folder)? {
            Read::Ended(run) => runs.push(*run),
            Read::Unfinished(why) => notices.push(why),
        }
    }
    if runs.is_empty() {
        let path = folders.first().map_or(Path::new("runs"), PathBuf::as_path);
        return Err(Error::file(
            path,
            "there is no run that has ended; finish one with host train --resume",
        ));
    }
    let compared = Compared::of(&runs, against, notices);
    if let Some(name) =
        against.filter(|name| compared.methods.iter().all(|one| !is_named(&one.name, name)))
    {
        let names: BTreeSet<&str> =
            compared.methods.iter().map(|method| method.name.as_str()).collect();
        let names = names.into_iter().collect::<Vec<_>>().join(", ");
        let problem = format!("{name} is no method of these runs; name one of {names}");
        return Err(Error::config("--against", problem));
    }
    Ok(compared)
}

fn read(folder: &Path) -> Result<Read> {
    check_run(folder)?;
    let config = folder.join(CONFIG);
    let path = folder.join("report.json");
    let report: Option<Report> = if path.is_file() { Some(json(&path)?) } else { None };
    // An interrupted run has a report as well.
    let Some(report) = report.filter(|report| report.ending() != Ending::Interrupted) else {
        return Ok(Read::Unfinished(format!(
            "{} has not ended, so it is left out; go on with it by host train --resume {}",
            folder.display(),
            shell::path(folder)
        )));
    };
    let mut layers = Layers::default();
    layers.add_file(&config)?;
    let config = layers.resolve()?;
    let outcomes = outcomes(&folder.join("generations.jsonl"), &config)?;
    let manifest: Manifest = json(&folder.join(MANIFEST))?;
    let mut facts = manifest.digests();
    flatten("", &table(&config)?, &mut facts);
    Ok(Read::Ended(Box::new(Run {
        folder: folder.into(),
        seed: config.seed.0,
        facts,
        report,
        outcomes,
    })))
}

/// What each answer of each model of a run counts as; of a run without answers nothing.
fn outcomes(path: &Path, config: &RunConfig) -> Result<BTreeMap<String, Outcomes>> {
    if !path.is_file() {
        return Ok(BTreeMap::new());
    }
    let answers =
        match host_eval::evaluation::read_generations(path, &config.eval.refusal_detector()) {
            Ok(answers) => answers,
            // Evaluations can be switched off.
            Err(_) if path.metadata().is_ok_and(|found| found.len() == 0) => {
                return Ok(BTreeMap::new());
            }
            Err(error) => return Err(error.into()),
        };
    let mut models: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for answer in &answers {
        models.entry(&answer.model).or_default().push(answer);
    }
    let of = |(name, answers): (&str, Vec<_>)| (name.to_owned(), Outcomes::of(answers));
    Ok(models.into_iter().map(of).collect())
}

fn table(config: &RunConfig) -> Result<Value> {
    Value::try_from(config).map_err(|error| Error::config("config.toml", error.to_string()))
}

fn json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes =
        host_files::capped::read(path, 64 << 20).map_err(|source| Error::read(path, source))?;
    serde_json::from_slice(&bytes).map_err(|error| {
        let problem = format!("can't be read ({error}); it is damaged, or of another version");
        Error::file(path, problem)
    })
}

/// Tables by dotted keys, those of a list by number; everything else as TOML.
fn flatten(prefix: &str, value: &Value, into: &mut BTreeMap<String, String>) {
    let key = |name: &str| match prefix {
        "" => name.to_owned(),
        prefix => format!("{prefix}.{name}"),
    };
    match value {
        Value::Table(table) => {
            for (name, value) in table {
                flatten(&key(name), value, into);
            }
        }
        Value::Array(list) if list.iter().any(Value::is_table) => {
            for (number, value) in list.iter().enumerate() {
                flatten(&key(&number.to_string()), value, into);
            }
        }
        Value::String(text) => drop(into.insert(prefix.into(), text.clone())),
        other => drop(into.insert(prefix.into(), other.to_string())),
    }
}

#[cfg(test)]
#[path = "compared_tests.rs"]
mod tests;
