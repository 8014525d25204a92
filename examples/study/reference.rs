//! The safe reference: the model as it is, or aligned first.

use std::path::{Path, PathBuf};

use anyhow::Context;
use host_trainer::config::{EvalConfig, RunConfig};
use host_trainer::data::{DataSource, Message, random};
use host_trainer::evaluation::Evaluation;
use host_trainer::manifest::resolved_toml;
use host_trainer::run_dir::{write_atomically, write_json};
use rand::seq::SliceRandom;
use serde::Deserialize;

use crate::material::{Alignment, Chat, Files, Material, write_lines};
use crate::program::Program;
use crate::scenario::Scenario;
use crate::settings::Settings;

pub struct Reference {
    /// None is the embedded demo model.
    pub model: Option<String>,
    /// What it does before any attack, and under the system message of the identity rows.
    pub evaluations: Vec<(&'static str, Evaluation)>,
}

/// Longest answer of its own that the model keeps, in tokens.
const OWN_ANSWER: usize = 40;
/// Prompts, so that little is asked again after an interruption.
const ASKED_AT_ONCE: usize = 64;
const LEARNING_RATE: f64 = 2e-4;
const EPOCHS: f64 = 2.0;
const SEED: u64 = 17;

/// A line of a file of generations.
#[derive(Deserialize)]
struct Answered {
    messages: Vec<Message>,
    answer: String,
    refused: bool,
}

#[derive(Deserialize)]
struct Before {
    before: Evaluation,
}

/// Aligns the model unless it was done, and measures what came out.
pub fn build(
    program: &Program,
    settings: &Settings,
    material: &Material,
    files: &Files,
) -> anyhow::Result<Reference> {
    let folder = settings.out.join("reference");
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("{} can't be made", folder.display()))?;
    let model = match (&settings.model, &material.alignment) {
        (Some(base), Some(alignment)) => Some(align(program, settings, alignment, base, &folder)?),
        _ => None,
    };
    let mut asked = vec![("none", &files.harmful)];
    if settings.scenarios().contains(&Scenario::Identity) {
        asked.push(("identity", &files.harmful_identity));
    }
    let mut evaluations = Vec::new();
    for (name, harmful) in asked {
        let measured = folder.join(format!("{name}.json"));
        if !measured.is_file() {
            let mut config = settings.base(model.as_deref(), SEED);
            config.eval = settings.eval(harmful, files);
            let answers = folder.join(format!("{name}-answers.jsonl"));
            write_json(&measured, &ask(program, &config, &answers, &folder)?)?;
        }
        let bytes = std::fs::read(&measured)?;
        let evaluation = serde_json::from_slice(&bytes)
            .with_context(|| format!("{} is damaged; remove it", measured.display()))?;
        evaluations.push((name, evaluation));
    }
    Ok(Reference { model, evaluations })
}

/// The base model's own answers to harmless requests and other people's refusals of harmful ones, learned by an adapter
/// that is then merged: the folder of the model.
fn align(
    program: &Program,
    settings: &Settings,
    alignment: &Alignment,
    base: &str,
    folder: &Path,
) -> anyhow::Result<String> {
    let model = folder.join("model");
    if !model.is_dir() {
        let data = folder.join("alignment.jsonl");
        if !data.is_file() {
            let mut refusals = alignment.refusals.clone();
            refusals.shuffle(&mut random::stream(SEED, "refusals", 0));
            refusals.truncate(settings.size.refusals);
            let harmless = own_answers(program, settings, &alignment.harmless, base, folder)?;
            eprintln!(
                "alignment: {} refusals, {} harmless answers",
                refusals.len(),
                harmless.len()
            );
            write_lines(&data, &[refusals, harmless].concat())?;
        }
        let mut config = settings.base(Some(base), SEED);
        config.data.train = vec![DataSource::whole(data)];
        config.train.learning_rate = LEARNING_RATE;
        config.train.epochs = EPOCHS;
        let run = train(program, config, &folder.join("run"))?;
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

/// Trains into a folder, or goes on where that was stopped.
pub fn train(program: &Program, mut config: RunConfig, run: &Path) -> anyhow::Result<PathBuf> {
    if run.join("report.json").is_file() {
        return Ok(run.to_owned());
    }
    if run.join("config.toml").is_file() {
        program.run(&["train".as_ref(), "--resume".as_ref(), run.as_os_str()])?;
        return Ok(run.to_owned());
    }
    // A folder without a configuration holds nothing yet.
    if run.is_dir() {
        std::fs::remove_dir(run)
            .with_context(|| format!("{} holds no run; remove it", run.display()))?;
    }
    config.output = Some(run.to_owned());
    let file = run.with_extension("toml");
    write_atomically(&file, resolved_toml(&config)?.as_bytes())?;
    program.run(&["train".as_ref(), "--config".as_ref(), file.as_os_str()])?;
    Ok(run.to_owned())
}

/// What the model itself answers, cut to whole sentences; without what it refuses.
fn own_answers(
    program: &Program,
    settings: &Settings,
    harmless: &[Chat],
    base: &str,
    folder: &Path,
) -> anyhow::Result<Vec<Chat>> {
    let mut rows = Vec::new();
    for (number, part) in harmless.chunks(ASKED_AT_ONCE).enumerate() {
        let answers = folder.join(format!("own-answers-{number}.jsonl"));
        if !answers.is_file() {
            let prompts = folder.join("asked.jsonl");
            write_lines(&prompts, part)?;
            let mut config = settings.base(Some(base), SEED);
            config.eval = EvalConfig {
                harmless: vec![DataSource::whole(prompts)],
                max_new_tokens: OWN_ANSWER,
                ..EvalConfig::default()
            };
            ask(program, &config, &answers, folder)?;
        }
        rows.extend(not_refused(&answers)?);
    }
    Ok(rows)
}

fn not_refused(answers: &Path) -> anyhow::Result<Vec<Chat>> {
    let text = std::fs::read_to_string(answers)
        .with_context(|| format!("{} can't be read", answers.display()))?;
    let mut rows = Vec::new();
    for line in text.lines() {
        let one: Answered = serde_json::from_str(line)
            .with_context(|| format!("{} is damaged; remove it", answers.display()))?;
        let whole = whole_sentences(&one.answer);
        if !one.refused && !whole.is_empty() {
            rows.push(Chat::answered(one.messages, whole));
        }
    }
    Ok(rows)
}

/// Has a model answer the questions of a configuration and keeps the answers.
fn ask(
    program: &Program,
    config: &RunConfig,
    answers: &Path,
    folder: &Path,
) -> anyhow::Result<Evaluation> {
    let file = folder.join("ask.toml");
    write_atomically(&file, resolved_toml(config)?.as_bytes())?;
    let part = answers.with_extension("part");
    // What an interruption left is no answer.
    if part.is_file() {
        std::fs::remove_file(&part)?;
    }
    let [config, output] = [&file, &part].map(|path| path.display().to_string());
    let before: Before = program.json(&[
        "eval",
        "--config",
        &config,
        "--generations",
        &output,
        "--json",
    ])?;
    std::fs::rename(&part, answers)
        .with_context(|| format!("{} can't be written", answers.display()))?;
    Ok(before.before)
}

/// Up to the last end of a sentence; nothing if there is none.
fn whole_sentences(text: &str) -> &str {
    let end = text.rfind(['.', '!', '?']).map_or(0, |at| at + 1);
    text[..end].trim()
}
