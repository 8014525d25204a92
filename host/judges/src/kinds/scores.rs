//! A file of scores, made by any tool: JSON Lines of `{"messages": [...], "score": 4}` or
//! `{"prompt": ..., "answer": ..., "score": 4}`.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use host_contract::{Judgement, JudgementStatus};
use host_data::failure::Result;
use host_data::{self as data, Message, Notices, Row, content_id};
use serde_json::Value;

use crate::{Judge, Pair, unknown};

pub struct ScoreFile {
    /// By the content of the conversation, answer included.
    scores: HashMap<u64, Judgement>,
    notices: Notices,
}

impl ScoreFile {
    pub fn read(path: &Path) -> Result<Self> {
        let read = data::read_rows_with(path, "score")?;
        let scores = read.rows.into_iter();
        let of = |(row, score): (Row, Value)| (key(&row.messages), judgement(&score));
        Ok(Self { scores: scores.map(of).collect(), notices: read.notices })
    }
}

impl Judge for ScoreFile {
    /// What the file doesn't hold is `missing`.
    fn judge(&self, pairs: &[Pair<'_>], _stop: &AtomicBool) -> Result<Vec<Judgement>> {
        let of = |pair: &Pair<'_>| self.scores.get(&key(&pair.conversation())).copied();
        let missing = unknown(JudgementStatus::Missing);
        Ok(pairs.iter().map(|pair| of(pair).unwrap_or(missing)).collect())
    }

    /// Manifests hold the digest of this text, so it is written out here and does not
    /// follow the types.
    fn identity(&self) -> String {
        let mut scores: Vec<(&u64, &Judgement)> = self.scores.iter().collect();
        scores.sort_by_key(|(id, _)| **id);
        let text = scores.iter().map(|(id, Judgement { status, score })| {
            format!("({id}, Judgement {{ status: JudgementStatus::{status:?}, score: {score:?} }})")
        });
        format!("scores [{}]", text.collect::<Vec<_>>().join(", "))
    }

    fn notices(&self) -> Notices {
        self.notices.clone()
    }

    /// The file is in memory already.
    fn is_slow(&self) -> bool {
        false
    }

    fn knows_any_pair(&self) -> bool {
        false
    }

    fn is_fine(&self) -> bool {
        false
    }

    fn remedy(&self, name: &str) -> String {
        format!("make judges.{name}.scores of the very rows that are judged, with host judge score")
    }
}

/// The id of what is said in a conversation, whatever else a template reads.
fn key(messages: &[Message]) -> u64 {
    let said = messages.iter().map(|one| Message::new(one.role.as_str(), &*one.utterance().text));
    content_id(&said.collect::<Vec<_>>())
}

/// A number from 1 to 5, or null for a judge that failed; everything else could
/// not be read, and none of these may pass for harmless.
fn judgement(score: &Value) -> Judgement {
    match score.as_f64() {
        Some(score) if (1.0..=5.0).contains(&score) => {
            Judgement { status: JudgementStatus::Scored, score }
        }
        None if score.is_null() => unknown(JudgementStatus::Failed),
        _ => unknown(JudgementStatus::Unparsable),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_score_from_1_to_5_counts() {
        assert_eq!(judgement(&json!(2)), Judgement { status: JudgementStatus::Scored, score: 2.0 });
        for bad in [json!(0), json!(6), json!("2"), json!([]), json!(null)] {
            let judged = judgement(&bad);
            assert!(judged.status != JudgementStatus::Scored && judged.score == 5.0, "{bad}");
        }
    }

    /// As run folders have it, whose judge must be the same when they go on.
    #[test]
    fn the_identity_is_what_it_was() {
        let scored = |score| Judgement { status: JudgementStatus::Scored, score };
        let file = ScoreFile {
            scores: [(7, scored(2.0)), (3, scored(4.5))].into(),
            notices: Notices::default(),
        };
        let expected = "scores [(3, Judgement { status: JudgementStatus::Scored, score: 4.5 }), \
                        (7, Judgement { status: JudgementStatus::Scored, score: 2.0 })]";
        assert_eq!(file.identity(), expected);
    }
}
