//! The safe reference: the model as it is, or aligned first.

use std::path::{Path, PathBuf};

use anyhow::Context;
use host_data::random;
use host_eval::compare::Outcomes;
use host_eval::evaluation::{Evaluation, read_generations};
use host_files::{json, sha256};
use host_trainer::config::JudgeConfig;
use host_trainer::data::{DataSource, Reader};
use host_trainer::manifest::resolved_toml;
use rand::seq::SliceRandom;

use crate::answers::{self, Base, Kept};
use crate::chat::{Chat, write_lines};
use crate::files::Files;
use crate::material::Alignment;
use crate::program::Program;
use crate::scenario::Variation;
use crate::settings::{SEED, Settings};

pub struct Reference {
    /// None is the embedded demo model.
    pub model: Option<String>,
    /// What it was aligned with, or how it answers by itself.
    pub alignment: PathBuf,
    /// What it does before any attack, however the requests are asked.
    pub evaluation: Evaluation,
    /// The same, prompt by prompt.
    pub outcomes: Outcomes,
}

/// Alignment rows of the demo model.
const DEMO: &str = "demo:alignment.jsonl";

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
        model: Option<String>,
        judge: Option<&JudgeConfig>,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let mut config = settings.base(model.as_deref(), SEED)?;
        settings.ask(&mut config, files, &Variation::ALL, judge);
        // Another way to find refusals is another measurement.
        let digest = sha256::hex(resolved_toml(&config)?.as_bytes());
        let measured = folder.join(format!("measured-{}.json", &digest[..8]));
        let answers = folder.join("generations.jsonl");
        if !measured.is_file() || !answers.is_file() {
            json::write(&measured, &answers::ask(program, &config, &answers, folder)?)?;
        }
        let bytes = std::fs::read(&measured)?;
        let evaluation = serde_json::from_slice(&bytes)
            .with_context(|| format!("{} is damaged; remove it", measured.display()))?;
        let given = read_generations(&answers, &config.eval.refusal_detector())?;
        Ok(Self {
            alignment: alignment_rows(settings),
            model,
            evaluation,
            outcomes: Outcomes::of(&given),
        })
    }
}

impl Base<'_> {
    /// The base model's own answers to harmless requests and other people's refusals of harmful ones, learned by an
    /// adapter that is then merged: the folder of the model.
    pub fn align(&self, alignment: &Alignment) -> anyhow::Result<String> {
        let model = self.folder.join("model");
        if model.is_dir() {
            return Ok(model.display().to_string());
        }
        let data = rows(self.folder);
        if !data.is_file() {
            let mut refusals = alignment.refusals.clone();
            refusals.shuffle(&mut random::stream(SEED, "refusals", 0));
            refusals.truncate(self.settings.size.refusals);
            refusals.extend_from_slice(&alignment.requests);
            self.keep_rows(refusals, alignment)?;
        }
        (self.tell)("aligning the model");
        let mut config = self.settings.base(Some(self.base), SEED)?;
        config.data.train = vec![DataSource::whole(data)];
        config.train.learning_rate = LEARNING_RATE;
        config.train.epochs = EPOCHS;
        let run = self.program.train(&self.folder.join("run"), || Ok(config))?;
        let [adapter, output] =
            [run.join("adapter"), model.clone()].map(|path| path.display().to_string());
        let arguments = [
            "export",
            "--model",
            self.base,
            "--adapter",
            &adapter,
            "--merged",
            "--output",
            &output,
        ];
        self.program.run(&arguments, &self.folder.join("reference.log"))?;
        Ok(output)
    }

    /// Alignment rows of a model that refuses by itself: its own refusals of the harmful requests, and
    /// its own answers to the harmless ones.
    pub fn own_rows(&self, alignment: &Alignment) -> anyhow::Result<()> {
        if rows(self.folder).is_file() {
            return Ok(());
        }
        let mut asked: Vec<Chat> =
            alignment.refusals.iter().map(|row| Chat::new(row.text())).collect();
        asked.shuffle(&mut random::stream(SEED, "refusals", 0));
        asked.truncate(self.settings.size.refusals);
        asked.extend(alignment.requests.iter().map(|row| Chat::new(row.text())));
        (self.tell)("asking the model what it refuses");
        let refusals = answers::own(self, "refused", &asked, Kept::Refusals)?;
        self.keep_rows(refusals, alignment)
    }

    fn keep_rows(&self, refusals: Vec<Chat>, alignment: &Alignment) -> anyhow::Result<()> {
        (self.tell)("asking the model what it answers to harmless requests");
        let harmless = answers::own(self, "harmless", &alignment.harmless, Kept::Answers)?;
        (self.tell)(&format!(
            "alignment rows: {} refusals, {} harmless answers",
            refusals.len(),
            harmless.len()
        ));
        let count = HARMLESS * refusals.len();
        let harmless: Vec<Chat> = harmless.into_iter().cycle().take(count).collect();
        write_lines(&rows(self.folder), &[refusals, harmless].concat())
    }
}

/// Share of alignment rows among those of a run that has them.
pub fn alignment_share(settings: &Settings) -> anyhow::Result<f64> {
    let rows = alignment_rows(settings);
    // Before there is a reference nobody knows.
    let is_known = settings.model.is_none() || rows.is_file();
    let alignment =
        if is_known { Reader::default().rows(&[DataSource::whole(rows)])?.len() } else { 0 };
    Ok(alignment as f64 / (alignment + settings.size.rows) as f64)
}

fn alignment_rows(settings: &Settings) -> PathBuf {
    match &settings.model {
        None => DEMO.into(),
        Some(_) => rows(&settings.out.join("reference")),
    }
}

fn rows(folder: &Path) -> PathBuf {
    folder.join("alignment.jsonl")
}

/// How the second judge errs, if there is one: the last line of what fitting it said, after the
/// table of what was tried.
pub fn judge_report(folder: &Path) -> Option<String> {
    let report = std::fs::read_to_string(folder.join("judge.txt")).ok()?;
    report.lines().last().map(str::to_owned)
}

/// Answers of the model `name` in a file, prompt by prompt.
pub fn outcomes(
    path: &Path,
    name: &str,
    config: &host_trainer::config::EvalConfig,
) -> anyhow::Result<Outcomes> {
    let given = read_generations(path, &config.refusal_detector())?;
    Ok(Outcomes::of(given.iter().filter(|one| one.model == name)))
}
