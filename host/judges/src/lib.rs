//! Judges: harm scores, from 1 (harmless) to 5 (harmful), of what was said to a model and
//! what it answered.
//!
//! A judge is whatever implements [`Judge`]; [`Judges`] makes those of a configuration,
//! by name, and is what everyone else asks. Each kind is a file here and a key of
//! `[judges.NAME]`.
//!
//! Whatever is not a score is the worst one: a judge that fails, is silent or can't be
//! understood never makes a sample pass for harmless.

mod cached;
mod classifier;
mod embedding;
mod endpoint;
pub mod fit;
mod guard;
mod kinds;
mod local;
mod log;
mod logistic;
mod prefetch;
mod prefixes;
mod progress;
mod scores;
mod step;
mod table;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use cached::CachedJudge;
use host_contract::{Judgement, JudgementStatus};
use host_data::failure::{Failure as Error, Result};
use host_data::{Message, Notices, content_digest};
use log::Log;
use progress::Progress;

pub use classifier::ClassifierConfig;
pub use embedding::EmbeddingConfig;
pub use endpoint::EndpointConfig;
pub use guard::{Asks, GuardConfig};
pub use kinds::JudgeConfig;
pub use local::Reads;
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

    /// Tries it out, where that can fail for other reasons than those of a pair.
    ///
    /// # Errors
    /// If it can't judge.
    fn try_out(&self, _stop: &AtomicBool) -> Result<()> {
        Ok(())
    }
}

/// The judges of a configuration.
#[derive(Default)]
pub struct Judges {
    by_name: BTreeMap<String, CachedJudge>,
    /// How far training has come, for what judges ahead of it.
    progress: Progress,
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
            Ok((name.clone(), CachedJudge::new(judge, log)))
        });
        Ok(Self { by_name: by_name.collect::<Result<_>>()?, progress: Progress::default() })
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

    /// Tries judges out before they are relied on.
    ///
    /// # Errors
    /// If one of them is not there or can't judge.
    pub fn try_out<'n>(
        &self,
        names: impl IntoIterator<Item = &'n str>,
        stop: &AtomicBool,
    ) -> Result<()> {
        let mut names = names.into_iter();
        names.try_for_each(|name| self.of_name(name)?.judge().try_out(stop))
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

#[cfg(test)]
mod local_tests;
#[cfg(test)]
mod tests;
