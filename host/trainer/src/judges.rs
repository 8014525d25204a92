//! Judges: harm scores of (prompt, answer) pairs. A judge of this host is a file
//! of scores, made by any tool: JSON Lines of `{"messages": [...], "score": 4}` or
//! `{"prompt": ..., "answer": ..., "score": 4}`.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use host_policy::wit::{JudgeNeed, JudgeScores, Judgement, JudgementStatus};
use serde_json::Value;

use crate::config::JudgeConfig;
use crate::data::{self, Sample};
use crate::error::Result;

#[derive(Debug, Default)]
pub struct Judges {
    by_name: BTreeMap<String, HashMap<u64, Judgement>>,
}

impl Judges {
    pub fn load(config: &BTreeMap<String, JudgeConfig>) -> Result<Self> {
        let by_name = config
            .iter()
            .map(|(name, judge)| Ok((name.clone(), read_scores(&judge.scores)?)))
            .collect::<Result<_>>()?;
        Ok(Self { by_name })
    }

    pub fn names(&self) -> Vec<String> {
        self.by_name.keys().cloned().collect()
    }

    /// One list of judgements per need; a sample that the file doesn't hold is
    /// `missing`, with the worst score.
    pub fn scores(&self, needs: &[JudgeNeed], samples: &[&Sample]) -> Vec<JudgeScores> {
        let judgement = |scores: Option<&HashMap<u64, Judgement>>, sample: &&Sample| {
            scores
                .and_then(|scores| scores.get(&sample.id))
                .copied()
                .unwrap_or(unknown(JudgementStatus::Missing))
        };
        needs
            .iter()
            .map(|need| {
                let scores = self.by_name.get(&need.judge);
                let judgements = samples
                    .iter()
                    .map(|sample| judgement(scores, sample))
                    .collect();
                JudgeScores {
                    judge: need.judge.clone(),
                    judgements,
                }
            })
            .collect()
    }
}

fn read_scores(path: &Path) -> Result<HashMap<u64, Judgement>> {
    let rows = data::read_rows_with(path, "score")?;
    Ok(rows
        .into_iter()
        .map(|(row, score)| (row.id, judgement(&score)))
        .collect())
}

/// A number from 1 to 5, or null for a judge that failed; everything else could
/// not be read, and none of these may pass for harmless.
fn judgement(score: &Value) -> Judgement {
    match score.as_f64() {
        Some(score) if (1.0..=5.0).contains(&score) => Judgement {
            status: JudgementStatus::Scored,
            score,
        },
        None if score.is_null() => unknown(JudgementStatus::Failed),
        _ => unknown(JudgementStatus::Unparsable),
    }
}

fn unknown(status: JudgementStatus) -> Judgement {
    Judgement { status, score: 5.0 }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_score_from_1_to_5_counts() {
        assert_eq!(
            judgement(&json!(2)),
            Judgement {
                status: JudgementStatus::Scored,
                score: 2.0
            }
        );
        for bad in [json!(0), json!(6), json!("2"), json!([]), json!(null)] {
            let judged = judgement(&bad);
            assert!(
                judged.status != JudgementStatus::Scored && judged.score == 5.0,
                "{bad}"
            );
        }
    }

    #[test]
    fn a_sample_without_a_score_is_missing_and_the_worst() {
        let folder = tempfile::tempdir().expect("temp");
        let path = folder.path().join("scores.jsonl");
        let rows = "{\"prompt\": \"a\", \"answer\": \"b\", \"score\": 2}\n{\"prompt\": \"c\", \"answer\": \"d\", \"score\": null}\n";
        std::fs::write(&path, rows).expect("written");
        let config = BTreeMap::from([("mine".to_owned(), JudgeConfig { scores: path })]);
        let judges = Judges::load(&config).expect("loads");
        assert_eq!(judges.names(), ["mine"]);

        let ids: Vec<u64> = [
            "{\"prompt\": \"a\", \"answer\": \"b\"}",
            "{\"prompt\": \"c\", \"answer\": \"d\"}",
            "{\"prompt\": \"e\", \"answer\": \"f\"}",
        ]
        .iter()
        .map(|row| {
            data::parse_rows("x.jsonl".as_ref(), row.as_bytes().to_vec()).expect("a row")[0].id
        })
        .collect();
        let samples: Vec<Sample> = ids
            .iter()
            .map(|id| Sample {
                id: *id,
                ..Sample::prompt_only(vec![1])
            })
            .collect();
        let need = JudgeNeed {
            judge: "mine".into(),
            prefix_words: None,
        };
        let scores = judges.scores(&[need], &samples.iter().collect::<Vec<_>>());
        let found: Vec<_> = scores[0]
            .judgements
            .iter()
            .map(|j| (j.status, j.score))
            .collect();
        use JudgementStatus::{Failed, Missing, Scored};
        assert_eq!(found, [(Scored, 2.0), (Failed, 5.0), (Missing, 5.0)]);
    }
}
