//! A judge that is asked once about what it has scored already: scores are kept in
//! memory, and on disk for other runs.
//!
//! Two threads ask at the same time, the training and the one that runs
//! [ahead](super::ahead) of it, so a pair that one of them is asking about is waited for
//! by the other. What is no score is not kept: it serves the one step it was asked for,
//! and the judge gets another chance the next time.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use host_contract::{Judgement, JudgementStatus};
use host_data::failure::{Failure as Error, Result};

use super::sameness::Sameness;
use super::{Judge, Key, Log, Pair, without_words};

/// How long a thread that waits for another one sleeps before it looks at `stop`.
const GLANCE: Duration = Duration::from_millis(100);

pub struct CachedJudge {
    name: String,
    judge: Box<dyn Judge>,
    known: Mutex<HashMap<Key, Slot>>,
    told: Condvar,
    log: Option<Log>,
    sameness: Mutex<Sameness>,
    failure_told: AtomicBool,
}

/// What becomes of judgements that are no score.
#[derive(Clone, Copy, PartialEq)]
enum Failures {
    Drop,
    /// For the one who asks next.
    KeepOnce,
}

enum Slot {
    /// Some thread is asking about it.
    Asked,
    Told(Judgement),
}

impl CachedJudge {
    pub fn new(name: &str, judge: Box<dyn Judge>, log: Option<(Log, Vec<(Key, f64)>)>) -> Self {
        let (log, scores) = log.unzip();
        let scores = scores.unwrap_or_default().into_iter();
        let known = scores.map(|(key, score)| (key, Slot::Told(scored(score))));
        Self {
            name: name.to_owned(),
            judge,
            known: Mutex::new(known.collect()),
            told: Condvar::new(),
            log,
            sameness: Mutex::default(),
            failure_told: AtomicBool::new(false),
        }
    }

    pub fn judge(&self) -> &dyn Judge {
        self.judge.as_ref()
    }

    /// One judgement per pair, in order.
    pub fn ask(&self, pairs: &[Pair<'_>], stop: &AtomicBool) -> Result<Vec<Judgement>> {
        let keys: Vec<Key> = pairs.iter().map(Key::of).collect();
        let mut found = HashMap::new();
        loop {
            let unasked = self.claim(&keys, &mut found);
            found.extend(self.ask_judge(&keys, pairs, unasked, Failures::Drop, stop)?);
            let open = |key: &Key| !found.contains_key(key);
            if !keys.iter().any(open) {
                return Ok(keys.iter().map(|key| found[key]).collect());
            }
            if stop.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            let waited = self.told.wait_timeout(self.lock(), GLANCE);
            drop(waited);
        }
    }

    /// Asks about what is not known yet, so that it is when someone wants it.
    pub fn ask_ahead(&self, pairs: &[Pair<'_>], stop: &AtomicBool) -> Result<()> {
        let keys: Vec<Key> = pairs.iter().map(Key::of).collect();
        let mut known = self.lock();
        let mut unasked = Vec::new();
        for (index, key) in keys.iter().enumerate() {
            if !known.contains_key(key) {
                known.insert(*key, Slot::Asked);
                unasked.push(index);
            }
        }
        drop(known);
        let asked = self.ask_judge(&keys, pairs, unasked, Failures::KeepOnce, stop);
        asked.map(drop)
    }

    /// Takes what is known; of the rest, what no one is asking about is this thread's to
    /// ask. Gives the places of that.
    fn claim(&self, keys: &[Key], found: &mut HashMap<Key, Judgement>) -> Vec<usize> {
        let mut known = self.lock();
        let mut unasked = Vec::new();
        for (index, key) in keys.iter().enumerate() {
            if found.contains_key(key) {
                continue;
            }
            match known.get(key) {
                Some(Slot::Asked) => {}
                Some(Slot::Told(judgement)) => {
                    let judgement = *judgement;
                    found.insert(*key, judgement);
                    if !is_score(&judgement) {
                        known.remove(key);
                    }
                }
                None => {
                    known.insert(*key, Slot::Asked);
                    unasked.push(index);
                }
            }
        }
        unasked
    }

    fn ask_judge(
        &self,
        keys: &[Key],
        pairs: &[Pair<'_>],
        unasked: Vec<usize>,
        failures: Failures,
        stop: &AtomicBool,
    ) -> Result<Vec<(Key, Judgement)>> {
        if unasked.is_empty() {
            return Ok(Vec::new());
        }
        let claims: Vec<Key> = unasked.iter().map(|index| keys[*index]).collect();
        let claim = Claim { kept: self, keys: &claims };
        let pairs: Vec<Pair> = unasked.iter().map(|index| pairs[*index]).collect();
        let judgements = self.judge.judge(&pairs, stop)?;
        let judged: Vec<(Key, Judgement)> = claims.iter().copied().zip(judgements).collect();
        let scores = judged.iter().filter(|(_, judgement)| is_score(judgement));
        let scores: Vec<(Key, f64)> = scores.map(|(key, it)| (*key, it.score)).collect();
        if let Some(log) = &self.log {
            log.add(&scores);
        }
        self.tell(&judged);
        let to_keep = |it: &Judgement| is_score(it) || failures == Failures::KeepOnce;
        let told = judged.iter().filter(|(_, judgement)| to_keep(judgement));
        let told = told.map(|(key, judgement)| (*key, Slot::Told(*judgement)));
        self.lock().extend(told);
        drop(claim);
        Ok(judged)
    }

    /// Tells of the first judgement that is no score, and of scores that are all the same.
    fn tell(&self, judged: &[(Key, Judgement)]) {
        let Self { name, judge, .. } = self;
        if let Some((_, first)) = judged.iter().find(|(_, judgement)| !is_score(judgement))
            && !self.failure_told.swap(true, Ordering::Relaxed)
        {
            let problem = judge.problem().unwrap_or_else(|| without_words(first));
            tracing::warn!("judge {name}: {problem}; such a sample counts as the worst (5 of 5)");
        }
        let mut sameness = self.sameness.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, judgement) in judged.iter().filter(|(_, judgement)| is_score(judgement)) {
            if let Some(notice) = sameness.add(judgement.score, judge.is_fine()) {
                tracing::warn!("judge {name}: {notice}");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Slot>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Pairs that a thread is asking about. What is still not known when it ends, for
/// whatever reason, may be asked again.
struct Claim<'a> {
    kept: &'a CachedJudge,
    keys: &'a [Key],
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut known = self.kept.lock();
        for key in self.keys {
            if matches!(known.get(key), Some(Slot::Asked)) {
                known.remove(key);
            }
        }
        self.kept.told.notify_all();
    }
}

fn is_score(judgement: &Judgement) -> bool {
    judgement.status == JudgementStatus::Scored
}

fn scored(score: f64) -> Judgement {
    Judgement { status: JudgementStatus::Scored, score }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::unknown;
    use host_data::Message;

    /// Says 2 to every answer but "bad", about which it says nothing, and counts.
    #[derive(Default)]
    struct Counting {
        asked: AtomicUsize,
        slow: bool,
    }

    impl Judge for std::sync::Arc<Counting> {
        fn judge(&self, pairs: &[Pair<'_>], _stop: &AtomicBool) -> Result<Vec<Judgement>> {
            if self.slow {
                std::thread::sleep(Duration::from_millis(200));
            }
            self.asked.fetch_add(pairs.len(), Ordering::Relaxed);
            let judged = pairs.iter().map(|pair| match pair.answer {
                "bad" => unknown(JudgementStatus::Failed),
                _ => scored(2.0),
            });
            Ok(judged.collect())
        }

        fn identity(&self) -> String {
            "counting".into()
        }

        fn remedy(&self, _name: &str) -> String {
            "count again".into()
        }
    }

    fn kept(slow: bool) -> (CachedJudge, std::sync::Arc<Counting>) {
        let judge = std::sync::Arc::new(Counting { slow, ..Counting::default() });
        (CachedJudge::new("mine", Box::new(judge.clone()), None), judge)
    }

    fn pairs<'a>(messages: &'a [Message], answers: &[&'a str]) -> Vec<Pair<'a>> {
        let pair = |answer: &&'a str| Pair { messages, answer };
        answers.iter().map(pair).collect()
    }

    static GO: AtomicBool = AtomicBool::new(false);

    #[test]
    fn a_score_is_asked_for_once_and_a_failure_every_time() {
        let (kept, judge) = kept(false);
        let messages = [Message::user("a")];
        let pairs = pairs(&messages, &["good", "bad", "good"]);
        for asked in [2, 3] {
            let judged = kept.ask(&pairs, &GO).expect("judged");
            let scores: Vec<f64> = judged.iter().map(|judgement| judgement.score).collect();
            assert_eq!(scores, [2.0, 5.0, 2.0]);
            assert_eq!(judge.asked.load(Ordering::Relaxed), asked);
        }
    }

    #[test]
    fn what_was_asked_ahead_is_not_asked_again_and_its_failures_serve_once() {
        let (kept, judge) = kept(false);
        let messages = [Message::user("a")];
        let pairs = pairs(&messages, &["good", "bad"]);
        for _ in 0..2 {
            kept.ask_ahead(&pairs, &GO).expect("asked");
        }
        for asked in [2, 3] {
            kept.ask(&pairs, &GO).expect("judged");
            assert_eq!(judge.asked.load(Ordering::Relaxed), asked);
        }
    }

    #[test]
    fn one_thread_waits_for_what_the_other_is_asking() {
        let (kept, judge) = kept(true);
        let messages = [Message::user("a")];
        let pairs = pairs(&messages, &["good", "bad", "fine"]);
        std::thread::scope(|scope| {
            scope.spawn(|| kept.ask_ahead(&pairs, &GO).expect("asked"));
            std::thread::sleep(Duration::from_millis(50));
            let judged = kept.ask(&pairs, &GO).expect("judged");
            assert_eq!(judged[1].score, 5.0);
        });
        assert_eq!(judge.asked.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn who_waits_can_be_interrupted() {
        let (kept, _) = kept(true);
        let messages = [Message::user("a")];
        let pairs = pairs(&messages, &["good"]);
        std::thread::scope(|scope| {
            scope.spawn(|| kept.ask_ahead(&pairs, &GO));
            std::thread::sleep(Duration::from_millis(50));
            let waited = kept.ask(&pairs, &AtomicBool::new(true));
            assert!(matches!(waited, Err(Error::Interrupted)));
        });
    }
}
