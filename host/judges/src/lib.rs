//! Judges: harm scores, from 1 (harmless) to 5 (harmful), of what was said to a model and
//! what it answered.
//!
//! A judge is whatever implements [`Judge`]; [`Judges`] makes those of a configuration,
//! by name, and is what everyone else asks. Each kind is a file of `kinds` and a key of
//! `[judges.NAME]`.
//!
//! Whatever is not a score is the worst one: a judge that fails, is silent or can't be
//! understood never makes a sample pass for harmless.

mod cached;
mod control;
pub mod fit;
mod kinds;
mod limit;
mod log;
mod logistic;
mod prefetch;
mod prefixes;
mod progress;
mod sameness;
mod step;
mod table;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};

use cached::CachedJudge;
use host_contract::{Judgement, JudgementStatus};
use host_data::failure::{Failure as Error, Result};
use host_data::{Message, Notices, content_digest};
use limit::Counts;
use log::Log;
use progress::Progress;

pub use kinds::*;
pub use limit::FailureLimit;
pub use prefetch::JudgePrefetcher;
pub use prefixes::texts as prefix_texts;
pub use step::Judged;
pub use table::{Tally, table};

/// What is judged: an answer, and all that was said before it.
#[derive(Debug, Clone, Copy)]
pub struct Pair<'a> {
    pub messages: &'a [Message],
    pub answer: &'a str,
}

impl Pair<'_> {
    /// With the answer as its last message.
    fn conversation(&self) -> Vec<Message> {
        [self.messages, &[Message::assistant(self.answer)]].concat()
    }
}

/// The content of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key([u8; 32]);

impl Key {
    fn of(pair: &Pair<'_>) -> Self {
        Self(content_digest(&pair.conversation()))
    }
}

pub trait Judge: Send + Sync {
    /// One judgement per pair, in order. When `stop` becomes true it may end early, with
    /// [`Error::Interrupted`].
    ///
    /// # Errors
    /// What keeps the judge from working at all. A pair that it has no score for is no
    /// error but a judgement that says so.
    fn judge(&self, pairs: &[Pair<'_>], stop: &AtomicBool) -> Result<Vec<Judgement>>;

    /// All that decides what it says of a pair.
    fn identity(&self) -> String;

    /// Whether its scores are worth keeping for other runs.
    fn is_slow(&self) -> bool {
        true
    }

    /// What a person should know of the files that it was made of.
    fn notices(&self) -> Notices {
        Notices::default()
    }

    /// What a person should know of how it was made, a line each.
    fn told(&self) -> Vec<String> {
        Vec::new()
    }

    /// Whether it can be asked about any pair, and not only about those that it was made
    /// for.
    fn knows_any_pair(&self) -> bool {
        true
    }

    /// Whether it can come to judge without a change of the configuration or its files.
    fn may_recover(&self) -> bool {
        false
    }

    /// Whether its scores may be any number, so that two different pairs hardly ever get
    /// the same one.
    fn is_fine(&self) -> bool {
        true
    }

    /// What was wrong the first time that it had no score.
    fn problem(&self) -> Option<String> {
        None
    }

    /// What to do if it can't judge, or judges wrongly; `name` is its own.
    fn remedy(&self, name: &str) -> String;
}

/// The judges of a configuration.
#[derive(Default)]
pub struct Judges {
    by_name: BTreeMap<String, CachedJudge>,
    /// How far training has come, for what judges ahead of it.
    progress: Progress,
    /// What judges said of the samples of a run.
    counts: Mutex<BTreeMap<String, Counts>>,
    /// Of a run.
    limit: Option<FailureLimit>,
}

impl Judges {
    /// `cache` is the folder that keeps scores between runs, if there is one.
    ///
    /// # Errors
    /// If what a judge is made of can't be read.
    pub fn load(config: &BTreeMap<String, JudgeConfig>, cache: Option<&Path>) -> Result<Self> {
        let by_name = config.iter().map(|(name, judge)| {
            let judge = judge.load(name)?;
            let log = cache.filter(|_| judge.is_slow()).and_then(|folder| {
                let opened = Log::open(folder, &judge.identity());
                let told = opened.inspect_err(|error| {
                    let folder = folder.display();
                    tracing::warn!("{folder}: {error}; judge {name} is not cached on disk");
                });
                told.ok()
            });
            Ok((name.clone(), CachedJudge::new(name, judge, log)))
        });
        Ok(Self { by_name: by_name.collect::<Result<_>>()?, ..Self::default() })
    }

    /// Has steps fail once more judgements are no score than a run puts up with.
    pub fn limit_failures(&mut self, limit: FailureLimit) {
        self.limit = Some(limit);
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// Name of each, and all that decides what it says.
    pub fn identities(&self) -> impl Iterator<Item = (&str, String)> {
        let judges = self.by_name.iter();
        judges.map(|(name, kept)| (name.as_str(), kept.judge().identity()))
    }

    /// What a person should know of the files that they were made of.
    pub fn notices(&self) -> Notices {
        let mut notices = Notices::default();
        for judge in self.by_name.values() {
            notices.extend(judge.judge().notices());
        }
        notices
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
        self.of_name(name)?.ask(pairs, stop)
    }

    /// Has judges score two pairs of ours before they are relied on, except for those in
    /// `unchecked`. Gives what is to be told of them.
    ///
    /// # Errors
    /// If one of them is not there, can't judge, or finds the harmful pair no worse than the
    /// harmless one.
    pub fn try_out<'n>(
        &self,
        names: impl IntoIterator<Item = &'n str>,
        unchecked: &[String],
        stop: &AtomicBool,
    ) -> Result<Vec<String>> {
        let mut notices = Vec::new();
        for name in names {
            let judge = self.of_name(name)?;
            let told = judge.judge().told().into_iter();
            notices.extend(told.map(|line| format!("judge {name}: {line}")));
            if unchecked.iter().any(|one| one == name) {
                let notice = "is not asked whether it tells a harmless pair from a harmful one";
                notices.push(format!("judge {name} {notice} (trust.unchecked_judges)"));
            } else if judge.judge().knows_any_pair() {
                notices.extend(control::check(name, judge, stop)?);
            }
        }
        Ok(notices)
    }

    /// What was wrong the first time that this judge had no score.
    pub fn problem(&self, name: &str) -> Option<String> {
        self.by_name.get(name)?.judge().problem()
    }

    /// Whether this judge can come to judge without a change of the configuration or its files.
    pub fn may_recover(&self, name: &str) -> bool {
        self.by_name.get(name).is_some_and(|it| it.judge().may_recover())
    }

    /// What to do about a judge that has no scores.
    pub fn remedy(&self, name: &str) -> String {
        self.by_name.get(name).map_or_else(String::new, |it| it.judge().remedy(name))
    }

    /// Counts what a judge said of samples of a run.
    ///
    /// # Errors
    /// If more of it is no score than the run puts up with.
    fn count(&self, name: &str, judgements: &[Judgement]) -> Result<()> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = counts.entry(name.to_owned()).or_default();
        counts.add(judgements);
        match self.limit.and_then(|limit| counts.exceed(limit)) {
            Some(exceeded) => Err(self.failure(name, &exceeded)),
            None => Ok(()),
        }
    }

    /// A judge that had too few scores, with what was wrong the first time.
    pub fn failure(&self, name: &str, what: &str) -> Error {
        let first = self.problem(name).map(|problem| format!(" (first: {problem})"));
        Error::Judge {
            judge: name.to_owned(),
            problem: format!("{what}{}", first.unwrap_or_default()),
            remedy: self.remedy(name),
        }
    }

    /// Tells what judges ahead that training is at this step.
    pub fn come_to(&self, step: u64) {
        self.progress.come_to(step);
    }

    fn of_name(&self, name: &str) -> Result<&CachedJudge> {
        self.by_name.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.names().collect();
            let problem = match known.as_slice() {
                [] => "there is no judge; add one to the configuration".to_owned(),
                known => format!("no such judge; there are {}", known.join(", ")),
            };
            Error::config(format!("judges.{name}"), problem)
        })
    }
}

/// What stands for a score that isn't there.
fn unknown(status: JudgementStatus) -> Judgement {
    Judgement { status, score: 5.0 }
}

/// What there is to say of a judgement whose judge says nothing.
fn without_words(judgement: &Judgement) -> String {
    let what = match judgement.status {
        JudgementStatus::Missing => "a pair isn't in its file",
        JudgementStatus::Unparsable => "what it says of a pair is no score from 1 to 5",
        JudgementStatus::Failed | JudgementStatus::Scored => "it has no score for a pair",
    };
    what.into()
}

#[cfg(test)]
mod tests;
