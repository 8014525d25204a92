//! A language model that runs here and says whether an answer is safe: of the words that its
//! verdict may begin with, how much more probable are the harmful ones?
//!
//! Only the first token in which the words differ counts, so a verdict takes one forward; a
//! model that has to write something first is let write it.

mod config;
mod manner;
mod preset;
mod prompt;
mod verdict;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use host_contract::Judgement;
use host_data::failure::{Failure as Error, Result};
use host_data::load_model;
use host_data::{ModelConfig, Progress};
use host_model::Model;
use host_model::generate::{GenerateOptions, generate};

use crate::kinds::local;
use crate::{Judge, Pair};
pub use config::{Asks, GuardConfig};
use manner::Manner;
use preset::Preset;
use prompt::Writer;
use verdict::{Asked, Words};

/// Pairs of one forward.
const TOGETHER: usize = 4;
/// The day that a template is told which shows one: a judge says the same on every day.
const DAY: &str = "2026-01-01";
/// A verdict whose words have less than this together is hardly one.
const UNLIKELY: f64 = 1e-3;

/// Keeps what loading a model has to tell.
#[derive(Default)]
struct Told(Vec<String>);

impl Progress for Told {
    fn stage(&mut self, _: &str, _: Option<u64>) {}
    fn advance(&mut self, _: u64) {}
    fn notice(&mut self, text: &str) {
        self.0.push(text.to_owned());
    }
    fn show(&mut self, _: &str, _: &str) {}
}

pub struct Guard {
    name: String,
    model: Model,
    writer: Writer,
    manner: Manner,
    words: Words,
    max_new_tokens: usize,
    /// What a person should know of its files.
    told: Vec<String>,
    /// What was wrong the first time that there was no score.
    problem: OnceLock<String>,
    unlikely_told: AtomicBool,
}

impl Guard {
    pub fn load(name: &str, config: &GuardConfig) -> Result<Self> {
        let question = match &config.question {
            Some(path) => Some(
                host_files::capped::read_text(path, 1 << 20)
                    .map_err(|source| Error::read(path, source))?,
            ),
            None => None,
        };
        let manner = Manner::of(config, question);
        let key = format!("judges.{name}.guard");
        if config.question.is_some() && manner.takes_no_question() {
            let problem = "has nothing to replace: the model's own chat template asks";
            return Err(Error::config(format!("{key}.question"), problem));
        }
        let source = ModelConfig {
            source: Some(config.model.clone()),
            device: config.device.clone(),
            template_date: Some(DAY.to_owned()),
            ..ModelConfig::default()
        };
        let mut told = Told::default();
        let model = load_model(&source, &mut told)
            .map_err(|error| not_loaded(&key, config.preset, error))?;
        if model.tokenizer.template_moment().is_some() {
            told.notice(&format!(
                "its chat template shows the date, and is told {DAY} on every day"
            ));
        }
        let writer = Writer::new(&manner, &model.tokenizer, &key)?;
        let words = Words::new(&manner, &writer, &model.tokenizer, &key)?;
        Ok(Self {
            name: name.to_owned(),
            model,
            writer,
            manner,
            words,
            max_new_tokens: config.max_new_tokens,
            told: told.0,
            problem: OnceLock::new(),
            unlikely_told: AtomicBool::new(false),
        })
    }

    /// What the model is given for each pair; none if there is no verdict to be had.
    fn asked(&self, pairs: &[Pair<'_>]) -> Result<Vec<Option<Asked>>> {
        let mut texts = Vec::with_capacity(pairs.len());
        for pair in pairs {
            let written = self.writer.write(pair, &self.model.tokenizer);
            texts.push(written.map_err(|error| self.keep(error.to_string())).ok());
        }
        if let Some(after) = &self.manner.after {
            self.let_write(&mut texts, after)?;
        }
        let asked = texts.into_iter().map(|text| {
            let Some(text) = text else { return Ok(None) };
            let asked = self.words.behind(&text, &self.model.tokenizer)?;
            let (length, most) = (asked.tokens.len(), self.model.config.max_position);
            if (1..=most).contains(&length) {
                return Ok(Some(asked));
            }
            self.keep(format!("a pair takes {length} tokens and the model at most {most}"));
            Ok(None)
        });
        asked.collect()
    }

    /// Has the model write on until the verdict is next.
    fn let_write(&self, texts: &mut [Option<String>], after: &str) -> Result<()> {
        let Model { decoder, tokenizer, .. } = &self.model;
        let options =
            GenerateOptions { max_new_tokens: self.max_new_tokens, ..GenerateOptions::default() };
        for text in texts.iter_mut() {
            let Some(prompt) = text.take() else { continue };
            let tokens = tokenizer.encode(&prompt)?;
            if tokens.is_empty() || tokens.len() >= self.model.config.max_position {
                let (length, most) = (tokens.len(), self.model.config.max_position);
                self.keep(format!("a pair takes {length} tokens and the model at most {most}"));
                continue;
            }
            let stop = tokenizer.stop_tokens();
            let written = generate(decoder, None, &[tokens], stop, &options, &mut |_| ())?;
            let written = tokenizer.decode_with_special(&written[0])?;
            if let Some((before, _)) = written.split_once(after) {
                *text = Some(prompt + before + after);
                continue;
            }
            let (shown, most) = (host_files::text::clean(&written, 80), self.max_new_tokens);
            self.keep(format!(
                "it didn't write {after:?} within {most} tokens but {shown:?}; raise max_new_tokens"
            ));
        }
        Ok(())
    }

    fn keep(&self, problem: String) {
        self.problem.get_or_init(|| problem);
    }

    /// P(harmful words) / (P(harmful words) + P(harmless words)) of each.
    fn harm(&self, asked: &[&Asked]) -> Result<Vec<f64>> {
        let verdicts = verdict::read(&self.model.decoder, asked)?;
        if let Some(least) = verdicts.iter().map(|it| it.together).reduce(f64::min)
            && least < UNLIKELY
            && !self.unlikely_told.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                "judge {}: none of the words of a verdict is likely where one is expected (together \
                 {:.4}%), so its scores may mean nothing; see preset, lead and after of [judges.{}.guard]",
                self.name,
                100.0 * least,
                self.name
            );
        }
        Ok(verdicts.iter().map(|it| it.harm).collect())
    }
}

/// What keeps a model from being loaded, with what is known of its family.
fn not_loaded(key: &str, preset: Option<Preset>, error: Error) -> Error {
    match preset.and_then(|preset| Some((preset.name(), preset.not_loaded_yet()?))) {
        Some((name, (family, instead))) => Error::config(
            format!("{key}.preset"),
            format!(
                "{name} models are of a family that isn't loaded yet ({family}): {error}; {instead}"
            ),
        ),
        None => error,
    }
}

impl Judge for Guard {
    fn judge(&self, pairs: &[Pair<'_>], stop: &AtomicBool) -> Result<Vec<Judgement>> {
        // The decoder takes all threads for one batch. Where a row's bits depend on its
        // company in a batch, each pair goes alone.
        let together = if self.model.decoder.rows_stand_alone() { TOGETHER } else { 1 };
        let mut judged = Vec::with_capacity(pairs.len());
        for chunk in pairs.chunks(together) {
            if stop.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            let asked = self.asked(chunk)?;
            let fitting: Vec<&Asked> = asked.iter().flatten().collect();
            let mut harm =
                if fitting.is_empty() { Vec::new() } else { self.harm(&fitting)? }.into_iter();
            let of = |asked: &Option<Asked>| asked.as_ref().and_then(|_| harm.next());
            judged.extend(asked.iter().map(of).map(local::judgement));
        }
        Ok(judged)
    }

    fn told(&self) -> Vec<String> {
        self.told.clone()
    }

    fn identity(&self) -> String {
        let (model, tokenizer) = (&self.model.digest, self.model.tokenizer.digest());
        let arithmetic = self.model.decoder.arithmetic();
        let Manner { harmful, harmless, lead, after, .. } = &self.manner;
        let read = format!("{harmful:?} {harmless:?} {lead:?} {after:?} {}", self.max_new_tokens);
        format!("guard {model} {tokenizer} {arithmetic} {} {read}", self.writer.identity())
    }

    fn problem(&self) -> Option<String> {
        self.problem.get().cloned()
    }

    fn remedy(&self, name: &str) -> String {
        format!("check asks, harmful and harmless of [judges.{name}.guard], or take a preset")
    }
}

#[cfg(test)]
mod tests;
