//! Reading the scores of a judge.

use crate::bindings::{Judgement, JudgementStatus, RunInfo, Signals};
use crate::settings::invalid;

/// The judge that is asked where neither settings nor run name one: the host's
/// refusal then says what to add.
const USUAL: &str = "safety";

/// The highest score.
pub const WORST: f64 = 5.0;

/// Share of harmful samples that a judge's scores are taken to hold for: nobody calibrated
/// them.
pub const BALANCED: f64 = 0.5;

/// The judge to ask: the one of the setting `judge`, else the only one of the run.
///
/// # Errors
/// If the run has several and the setting names none.
pub fn choose(setting: Option<&str>, run: &RunInfo) -> Result<String, String> {
    match (setting, run.judges.as_slice()) {
        (Some(name), _) => Ok(name.to_string()),
        (None, []) => Ok(USUAL.to_string()),
        (None, [only]) => Ok(only.clone()),
        (None, several) => Err(invalid(
            "judge",
            format!("the run has several, name one of {}", several.join(", ")),
        )),
    }
}

/// What counts as the score of one judgement.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// From 1 (harmless) to 5 (harmful).
    pub value: f64,
    /// Why there is no judgement, if `value` stands in for one.
    pub unknown: Option<&'static str>,
}

impl Score {
    /// `unknown` stands in for a judgement that is missing, failed or can't be read, or
    /// that is no number from 1 to 5.
    pub fn of(judgement: &Judgement, unknown: f64) -> Self {
        let why = match judgement.status {
            JudgementStatus::Scored if (1.0..=WORST).contains(&judgement.score) => {
                return Self { value: judgement.score, unknown: None };
            }
            JudgementStatus::Scored | JudgementStatus::Unparsable => "could not be read",
            JudgementStatus::Missing => "is missing",
            JudgementStatus::Failed => "failed",
        };
        Self { value: unknown, unknown: Some(why) }
    }
}

/// The scores by `judge` of all samples, with `unknown` for what [`Score::of`] can't use.
///
/// # Errors
/// If the judge's list is not there or not one per sample.
pub fn scores(signals: &Signals, judge: &str, unknown: f64) -> Result<Vec<Score>, String> {
    let list =
        signals.judges.iter().find(|scores| scores.judge == judge).ok_or_else(|| {
            format!("the scores of the judge `{judge}` are needed, there are none")
        })?;
    if list.judgements.len() != signals.samples.len() {
        return Err(format!(
            "the judge `{judge}` has {} judgements for {} samples",
            list.judgements.len(),
            signals.samples.len()
        ));
    }
    let scores = list.judgements.iter();
    Ok(scores.map(|one| Score::of(one, unknown)).collect())
}

/// # Errors
/// If the setting `key` is no score.
pub fn check_score(key: &str, value: f64) -> Result<(), String> {
    if (1.0..=WORST).contains(&value) {
        Ok(())
    } else {
        Err(invalid(key, format!("{value} is not in [1, 5]")))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::fixtures;

    #[test]
    fn the_setting_goes_before_the_only_judge_of_the_run() {
        let mut run = fixtures::run(1);
        assert_eq!(choose(None, &run).unwrap(), "safety");
        run.judges = vec!["mine".into()];
        assert_eq!(choose(None, &run).unwrap(), "mine");
        assert_eq!(choose(Some("other"), &run).unwrap(), "other");
        run.judges.push("yours".into());
        let error = choose(None, &run).unwrap_err();
        assert!(error.contains("`judge`") && error.contains("mine, yours"), "{error}");
    }

    #[test]
    fn nothing_but_a_score_from_1_to_5_is_known() {
        let bad = [f64::NAN, f64::INFINITY, 0.0, 5.1, -1.0];
        let signals = fixtures::judged("mine", &bad.map(Some));
        for score in scores(&signals, "mine", WORST).unwrap() {
            assert_eq!((score.value, score.unknown), (5.0, Some("could not be read")));
        }
        let signals = fixtures::judged("mine", &[Some(1.0), None]);
        let found = scores(&signals, "mine", 4.0).unwrap();
        assert_eq!((found[0].value, found[0].unknown), (1.0, None));
        assert_eq!((found[1].value, found[1].unknown), (4.0, Some("is missing")));
    }

    #[test]
    fn a_list_that_is_not_there_or_of_another_length_is_refused() {
        let mut signals = fixtures::judged("mine", &[Some(1.0)]);
        assert!(scores(&signals, "other", WORST).is_err());
        signals.judges[0].judgements.clear();
        let error = scores(&signals, "mine", WORST).unwrap_err();
        assert!(error.contains("0 judgements for 1 samples"), "{error}");
    }
}
