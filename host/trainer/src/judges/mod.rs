//! Judges: harm scores, from 1 (harmless) to 5 (harmful), of what was said to a model and
//! what it answered.
//!
//! A judge is whatever implements [`Judge`]; [`Judges`] makes those of a configuration,
//! by name, and is what everyone else asks. Each kind is a file here and a key of
//! `[judges.NAME]`.
//!
//! Whatever is not a score is the worst one: a judge that fails, is silent or can't be
//! understood never makes a sample pass for harmless.

mod scores;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use host_policy::wit::{JudgeNeed, JudgeScores, Judgement, JudgementStatus};

use crate::config::JudgeConfig;
use crate::data::{Message, Sample};
use crate::error::{Error, Result};

/// What is judged: an answer, and all that was said before it.
#[derive(Debug, Clone, Copy)]
pub struct Pair<'a> {
    pub messages: &'a [Message],
    pub answer: &'a str,
}

pub trait Judge: Send + Sync {
    /// One judgement per pair, in order. When `stop` becomes true it may end early, with
    /// [`Error::Interrupted`].
    ///
    /// # Errors
    /// What keeps the judge from working at all. A pair that it has no score for is no
    /// error but a judgement that says so.
    fn judge(&self, pairs: &[Pair<'_>], stop: &AtomicBool) -> Result<Vec<Judgement>>;
}

/// The judges of a configuration.
#[derive(Default)]
pub struct Judges {
    by_name: BTreeMap<String, Box<dyn Judge>>,
}

impl Judges {
    /// `cache` is the folder that keeps judgements between runs, if there is one.
    ///
    /// # Errors
    /// If what a judge is made of can't be read.
    pub fn load(config: &BTreeMap<String, JudgeConfig>, _cache: Option<&Path>) -> Result<Self> {
        let by_name = config
            .iter()
            .map(|(name, judge)| Ok((name.clone(), load(judge)?)))
            .collect::<Result<_>>()?;
        Ok(Self { by_name })
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// One judgement per pair, in order, by the judge of this name.
    ///
    /// # Errors
    /// If there is no such judge, if it can't work at all, and [`Error::Interrupted`] if
    /// `stop` became true before all was judged.
    pub fn judge(
        &self,
        name: &str,
        pairs: &[Pair<'_>],
        stop: &AtomicBool,
    ) -> Result<Vec<Judgement>> {
        self.of_name(name)?.judge(pairs, stop)
    }

    /// One list of judgements per need.
    pub fn scores(&self, needs: &[JudgeNeed], samples: &[&Sample]) -> Result<Vec<JudgeScores>> {
        let pairs: Vec<Pair> = samples.iter().map(|sample| last_answer(sample)).collect();
        // A step that was begun is finished.
        let never = AtomicBool::new(false);
        let scores = needs.iter().map(|need| {
            Ok(JudgeScores {
                judge: need.judge.clone(),
                judgements: self.judge(&need.judge, &pairs, &never)?,
            })
        });
        scores.collect()
    }

    fn of_name(&self, name: &str) -> Result<&dyn Judge> {
        let judge = self.by_name.get(name);
        judge.map(Box::as_ref).ok_or_else(|| {
            let known: Vec<&str> = self.names().collect();
            let problem = match known.as_slice() {
                [] => "there is no judge; add one to the configuration".to_owned(),
                known => format!("no such judge; there are {}", known.join(", ")),
            };
            Error::config(format!("judges.{name}"), problem)
        })
    }
}

fn load(config: &JudgeConfig) -> Result<Box<dyn Judge>> {
    Ok(match config {
        JudgeConfig::Scores(path) => Box::new(scores::ScoreFile::read(path)?),
    })
}

/// The last answer of a conversation stands for it.
fn last_answer(sample: &Sample) -> Pair<'_> {
    let (answer, messages) = match sample.messages.split_last() {
        Some((last, before)) => (last.content.as_str(), before),
        None => ("", &[][..]),
    };
    Pair { messages, answer }
}

/// What stands for a score that isn't there.
fn unknown(status: JudgementStatus) -> Judgement {
    Judgement { status, score: 5.0 }
}

#[cfg(test)]
mod tests;
