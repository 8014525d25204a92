//! What a model answers, by `host eval`.

use std::path::Path;

use anyhow::Context;
use host_eval::evaluation::Evaluation;
use host_trainer::config::{EvalConfig, RunConfig};
use host_trainer::data::{DataSource, Message};
use host_trainer::manifest::resolved_toml;
use host_trainer::run_dir::write_atomically;
use serde::Deserialize;

use crate::Tell;
use crate::chat::{Chat, write_lines};
use crate::program::Program;
use crate::settings::{SEED, Settings};

/// Longest answer of its own that the model keeps, in tokens.
const OWN_ANSWER: usize = 40;
/// Prompts, so that little is asked again after an interruption.
const ASKED_AT_ONCE: usize = 64;

/// The model before the study changes anything.
pub struct Base<'a> {
    pub program: &'a Program,
    pub settings: &'a Settings,
    pub base: &'a str,
    /// Where all that makes the reference is kept.
    pub folder: &'a Path,
    pub tell: Tell<'a>,
}

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

/// Which of a model's answers are kept.
#[derive(Clone, Copy, PartialEq)]
pub enum Kept {
    Answers,
    Refusals,
}

/// What the base model itself answers, cut to whole sentences. `name` is the prompts' and part of the names of the
/// files that keep the answers.
pub fn own(of: &Base<'_>, name: &str, prompts: &[Chat], kept: Kept) -> anyhow::Result<Vec<Chat>> {
    let mut rows = Vec::new();
    for (number, part) in prompts.chunks(ASKED_AT_ONCE).enumerate() {
        let answers = of.folder.join(format!("own-{name}-{number}.jsonl"));
        if !answers.is_file() {
            let asked = of.folder.join("asked.jsonl");
            write_lines(&asked, part)?;
            let mut config = of.settings.base(Some(of.base), SEED)?;
            config.eval = EvalConfig {
                harmless: vec![DataSource::whole(asked)],
                max_new_tokens: OWN_ANSWER,
                batch: config.eval.batch,
                ..EvalConfig::default()
            };
            ask(of.program, &config, &answers, of.folder)?;
        }
        rows.extend(read(&answers, kept)?);
    }
    Ok(rows)
}

fn read(answers: &Path, kept: Kept) -> anyhow::Result<Vec<Chat>> {
    let text = std::fs::read_to_string(answers)
        .with_context(|| format!("{} can't be read", answers.display()))?;
    let mut rows = Vec::new();
    for line in text.lines() {
        let one: Answered = serde_json::from_str(line)
            .with_context(|| format!("{} is damaged; remove it", answers.display()))?;
        let whole = whole_sentences(&one.answer);
        if one.refused == (kept == Kept::Refusals) && !whole.is_empty() {
            rows.push(Chat::answered(one.messages, whole));
        }
    }
    Ok(rows)
}

/// Has a model answer the questions of a configuration and keeps the answers.
pub fn ask(
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
    let arguments = ["eval", "--config", &config, "--generations", &output, "--json"];
    let before: Before = program.json(&arguments, &folder.join("reference.log"))?;
    std::fs::rename(&part, answers)
        .with_context(|| format!("{} can't be written", answers.display()))?;
    Ok(before.before)
}

/// Up to the last end of a sentence; nothing if there is none.
fn whole_sentences(text: &str) -> &str {
    let end = text.rfind(['.', '!', '?']).map_or(0, |at| at + 1);
    text[..end].trim()
}
