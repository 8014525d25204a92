//! A file of scores, made by asking a judge about the rows of a training: a run with it
//! needs no judge, and gives the same each time.

use std::collections::HashSet;
use std::sync::atomic::AtomicBool;

use host_contract::{Judgement, JudgementStatus};
use host_data::failure::Result;
use host_data::{Message, Progress, Row};
use host_model::Utterance;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::step::last_answer;
use super::{Judges, Key, Pair, prefixes};

/// Pairs that are judged between two signs of progress.
const CHUNK: usize = 64;

/// What became of the pairs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    pub scored: usize,
    pub missing: usize,
    pub failed: usize,
    pub unparsable: usize,
    /// What was wrong the first time that there was no score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl Tally {
    pub fn count(&mut self, status: JudgementStatus) {
        *match status {
            JudgementStatus::Scored => &mut self.scored,
            JudgementStatus::Missing => &mut self.missing,
            JudgementStatus::Failed => &mut self.failed,
            JudgementStatus::Unparsable => &mut self.unparsable,
        } += 1;
    }

    pub fn total(&self) -> usize {
        self.scored + self.unscored()
    }

    /// Pairs without a score.
    pub fn unscored(&self) -> usize {
        self.missing + self.failed + self.unparsable
    }

    /// Adds what became of other pairs.
    pub fn add(&mut self, other: &Self) {
        self.scored += other.scored;
        self.missing += other.missing;
        self.failed += other.failed;
        self.unparsable += other.unparsable;
        if self.problem.is_none() {
            self.problem.clone_from(&other.problem);
        }
    }

    /// "2 failed, 1 unparsable": those without a score, by what became of them.
    pub fn described(&self) -> String {
        let kinds =
            [(self.failed, "failed"), (self.unparsable, "unparsable"), (self.missing, "missing")];
        let there = kinds.iter().filter(|(count, _)| *count > 0);
        let parts: Vec<String> = there.map(|(count, kind)| format!("{count} {kind}")).collect();
        parts.join(", ")
    }
}

/// JSON Lines of messages and score, in the order of the rows, each pair once; with
/// `words`, of every prefix of their answers as well.
///
/// # Errors
/// Those of [`Judges::judge`].
pub fn table(
    judges: &Judges,
    name: &str,
    rows: &[Row],
    words: Option<u32>,
    observer: &mut dyn Progress,
    stop: &AtomicBool,
) -> Result<(String, Tally)> {
    let mut seen = HashSet::new();
    let spoken: Vec<Vec<Utterance>> =
        rows.iter().map(|row| row.messages.iter().map(Message::utterance).collect()).collect();
    let pairs = rows.iter().zip(&spoken).flat_map(|(row, spoken)| pairs(row, spoken, words));
    let pairs: Vec<Pair> = pairs.filter(|pair| seen.insert(Key::of(pair))).collect();
    observer.stage(&format!("asking the judge {name}"), Some(pairs.len() as u64));
    let (mut lines, mut tally) = (String::new(), Tally::default());
    for chunk in pairs.chunks(CHUNK) {
        let judgements = judges.judge(name, chunk, stop)?;
        for (pair, judgement) in chunk.iter().zip(judgements) {
            tally.count(judgement.status);
            if let Some(score) = value(&judgement) {
                let line = json!({"messages": pair.conversation(), "score": score});
                lines.push_str(&format!("{line}\n"));
            }
        }
        observer.advance(chunk.len() as u64);
    }
    tally.problem = judges.problem(name).filter(|_| tally.unscored() > 0);
    Ok((lines, tally))
}

/// Prefixes first, the whole of the last answer at the end.
fn pairs<'a>(row: &'a Row, spoken: &'a [Utterance<'a>], words: Option<u32>) -> Vec<Pair<'a>> {
    let cut = words.map(|words| prefixes::texts(&row.messages, spoken, words));
    cut.into_iter().flatten().chain([last_answer(&row.messages, spoken)]).collect()
}

/// As a file of scores says it; a pair that it doesn't hold is a missing one.
fn value(judgement: &Judgement) -> Option<Value> {
    match judgement.status {
        JudgementStatus::Scored => Some(judgement.score.into()),
        JudgementStatus::Missing => None,
        JudgementStatus::Failed => Some(Value::Null),
        JudgementStatus::Unparsable => Some("unparsable".into()),
    }
}
