//! The safe reference: the model as it is, or aligned first.

use std::path::{Path, PathBuf};

use anyhow::Context;
use host_data::random;
use host_files::json;
use host_trainer::config::JudgeConfig;
use host_trainer::data::DataSource;
use host_trainer::evaluation::Evaluation;
use rand::seq::SliceRandom;

use crate::answers;
use crate::cell::Cell;
use crate::material::{Alignment, Chat, Files, write_lines};
use crate::program::Program;
use crate::scenario::Scenario;
use crate::settings::{SEED, Settings};

pub struct Reference {
    /// None is the embedded demo model.
    pub model: Option<String>,
    /// What it was aligned with.
    pub alignment: Option<PathBuf>,
    /// What it does before any attack, and under the system message of the identity rows.
    pub evaluations: Vec<(&'static str, Evaluation)>,
}

const LEARNING_RATE: f64 = 3e-4;
const EPOCHS: f64 = 3.0;
/// Harmless answers for each refusal, since a small model refuses rather too much. Where there are too few, those that
/// come first are learned again: the everyday ones.
const HARMLESS: usize = 3;

impl Reference {
    /// Asks the model what every run is asked, unless that was done.
    pub fn measure(
        program: &Program,
        settings: &Settings,
        files: &Files,
        cells: &[Cell],
        model: Option<String>,
        judge: Option<&JudgeConfig>,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let mut asked = vec![("none", &files.harmful)];
        if cells.iter().any(|cell| cell.scenario == Scenario::Identity) {
            asked.push(("identity", &files.harmful_identity));
        }
        let mut evaluations = Vec::new();
        for (name, harmful) in asked {
            let measured = folder.join(format!("{name}.json"));
            if !measured.is_file() {
                let mut config = settings.base(model.as_deref(), SEED);
                settings.ask(&mut config, harmful, files, judge);
                let answers = folder.join(format!("{name}-answers.jsonl"));
                json::write(&measured, &answers::ask(program, &config, &answers, folder)?)?;
            }
            let bytes = std::fs::read(&measured)?;
            let evaluation = serde_json::from_slice(&bytes)
                .with_context(|| format!("{} is damaged; remove it", measured.display()))?;
            evaluations.push((name, evaluation));
        }
        Ok(Self { alignment: model.as_ref().map(|_| rows(folder)), model, evaluations })
    }
}

/// The base model's own answers to harmless requests and other people's refusals of harmful ones, learned by an adapter
/// that is then merged: the folder of the model.
pub fn align(
    program: &Program,
    settings: &Settings,
    alignment: &Alignment,
    base: &str,
    folder: &Path,
) -> anyhow::Result<String> {
    let model = folder.join("model");
    if !model.is_dir() {
        let data = rows(folder);
        if !data.is_file() {
            let mut refusals = alignment.refusals.clone();
            refusals.shuffle(&mut random::stream(SEED, "refusals", 0));
            refusals.truncate(settings.size.refusals);
            refusals.extend_from_slice(&alignment.requests);
            let asked = &alignment.harmless;
            let harmless = answers::own(program, settings, "harmless", asked, base, folder)?;
            eprintln!(
                "alignment: {} refusals, {} harmless answers",
                refusals.len(),
                harmless.len()
            );
            let count = HARMLESS * refusals.len();
            let harmless: Vec<Chat> = harmless.into_iter().cycle().take(count).collect();
            write_lines(&data, &[refusals, harmless].concat())?;
        }
        let mut config = settings.base(Some(base), SEED);
        config.data.train = vec![DataSource::whole(data)];
        config.train.learning_rate = LEARNING_RATE;
        config.train.epochs = EPOCHS;
        let run = program.train(&folder.join("run"), || Ok(config))?;
        let [adapter, output] =
            [run.join("adapter"), model.clone()].map(|path| path.display().to_string());
        program.run(&[
            "export",
            "--model",
            base,
            "--adapter",
            &adapter,
            "--merged",
            "--output",
            &output,
        ])?;
    }
    Ok(model.display().to_string())
}

fn rows(folder: &Path) -> PathBuf {
    folder.join("alignment.jsonl")
}
