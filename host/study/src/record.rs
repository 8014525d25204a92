//! `study.json`: what an output folder was begun with, so that it is not gone on with otherwise.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use host_files::json;
use serde::Serialize;
use serde_json::Value;

use crate::options::Options;
use crate::settings::{Settings, Size};
use crate::task::Task;

/// What all runs of a folder have in common. Attacks, policies, learning rates and seeds may differ from one command to
/// the next.
#[derive(Serialize)]
pub struct Record {
    model: Option<String>,
    data: Option<PathBuf>,
    aligned: bool,
    task: Task,
    judge: Option<PathBuf>,
    /// Keys that the command line set for all runs.
    set: Vec<String>,
    size: Size,
}

impl Record {
    pub fn new(options: &Options, settings: &Settings) -> anyhow::Result<Self> {
        let whole = |path: &PathBuf| {
            let there = path.canonicalize();
            there.with_context(|| format!("{} is not there", path.display()))
        };
        Ok(Self {
            // A model may be the name of one on the Hub.
            model: settings.model.as_ref().map(|model| match Path::new(model).canonicalize() {
                Ok(path) => path.display().to_string(),
                Err(_) => model.clone(),
            }),
            data: options.data.as_ref().map(whole).transpose()?,
            aligned: options.aligned,
            task: options.task.clone(),
            judge: options.judge.as_ref().map(whole).transpose()?,
            set: settings.common.assignments().to_vec(),
            size: settings.size.clone(),
        })
    }

    /// Begins the folder, or sees that it was begun like this.
    ///
    /// # Errors
    /// If it was not: what is different.
    pub fn keep(&self, out: &Path) -> anyhow::Result<()> {
        let file = out.join("study.json");
        if !file.is_file() {
            std::fs::create_dir_all(out)
                .with_context(|| format!("{} can't be made", out.display()))?;
            return Ok(json::write(&file, self)?);
        }
        let begun: Value = serde_json::from_slice(&std::fs::read(&file)?)
            .with_context(|| format!("{} is damaged; use another --out", file.display()))?;
        let now = serde_json::to_value(self)?;
        for (key, now) in now.as_object().into_iter().flatten() {
            let begun = &begun[key];
            // Folders of earlier versions don't have every key.
            let is_new = begun.is_null() && now.as_array().is_some_and(Vec::is_empty);
            if begun != now && !is_new {
                bail!(
                    "{} was begun with {key} {begun}, and now it is {now}; use another --out",
                    out.display()
                );
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn record(options: &Options) -> Record {
        Record::new(options, &Settings::new(options).unwrap()).unwrap()
    }

    #[test]
    fn other_runs_of_the_same_study_go_into_the_same_folder() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        record(&Options::default()).keep(&out).unwrap();
        let arms = vec!["sft".parse().unwrap()];
        record(&Options { arms, seeds: vec![3], jobs: 2, ..Options::default() })
            .keep(&out)
            .unwrap();
    }

    #[test]
    fn another_study_does_not() {
        let folder = tempfile::tempdir().unwrap();
        record(&Options::default()).keep(folder.path()).unwrap();
        let refused = |options: &Options| {
            let error = record(options).keep(folder.path()).unwrap_err();
            error.to_string()
        };
        let rows = Options { rows: Some(8), ..Options::default() };
        assert!(refused(&rows).contains("was begun with size"));
        let model = Options { model: Some("other".into()), ..Options::default() };
        assert!(refused(&model).contains("use another --out"));
    }
}
