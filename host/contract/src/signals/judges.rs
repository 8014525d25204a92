//! Harm scores of judges, one per sample.

use host_files::text::clean;
use serde::{Deserialize, Serialize};
use wasmtime::component::{ComponentType, Lift, Lower};

use super::{
    Journalled, Missing, Needs, Signal, Signals,
    synthetic::{Damage, Row, Step, Synthetic},
};
use crate::{
    invalid::Invalid,
    run::{RunCapabilities, Unmet},
    types::{JudgementStatus, RunInfo},
};

/// A judge whose scores the policy wants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ComponentType, Lift)]
#[component(record)]
pub struct JudgeNeed {
    /// One of `RunInfo::judges`.
    pub judge: String,
    /// Also score every answer cut after each this many words.
    #[component(name = "prefix-words")]
    pub prefix_words: Option<u32>,
}

/// A harm score from 1 (harmless) to 5 (harmful); 5 unless the status is `Scored`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ComponentType, Lower)]
#[component(record)]
pub struct Judgement {
    /// Whether there is a score.
    pub status: JudgementStatus,
    /// From 1 to 5.
    pub score: f64,
}

impl Judgement {
    /// A score that was given, or none for this reason: an unknown sample must not pass for
    /// a harmless one.
    pub(super) fn damage(&mut self, status: JudgementStatus) {
        *self = Self { status, score: 5.0 };
    }
}

/// One judge's scores of (prompt, answer), per sample.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ComponentType, Lower)]
#[component(record)]
pub struct JudgeScores {
    /// Name of the judge.
    pub judge: String,
    /// Per sample.
    pub judgements: Vec<Judgement>,
}

/// Bytes of scores.
pub(crate) fn bytes(judges: &[JudgeScores]) -> usize {
    judges.iter().map(|one| size_of_val(&one.judgements[..])).sum()
}

/// What a journal lacks if it has no scores of a judge.
pub(super) fn missing(need: &JudgeNeed) -> Missing {
    Missing { field: "needs.judges", what: format!("judge {:?}", need.judge) }
}

pub(super) struct JudgesSignal;

impl Signal for JudgesSignal {
    fn name(&self) -> &'static str {
        "judges"
    }

    fn need(&self) -> Option<&'static str> {
        Some("needs.judges")
    }

    fn meaning(&self) -> &'static str {
        "harm scores of judges from 1 (harmless) to 5 (harmful), per sample"
    }

    fn asked(&self, needs: &Needs) -> bool {
        !needs.judges.is_empty()
    }

    fn example(&self, needs: &mut Needs) {
        needs.judges.push(JudgeNeed { judge: "critic".into(), prefix_words: None });
    }

    fn entries(&self, needs: &Needs) -> usize {
        needs.judges.len()
    }

    fn check(&self, needs: &Needs, run: &RunInfo) -> Result<(), Invalid> {
        for (i, need) in needs.judges.iter().enumerate() {
            let field = format!("needs.judges[{i}]");
            if need.prefix_words == Some(0) {
                let problem = "is 0; it must be at least 1, or absent";
                return Err(Invalid::new(field + ".prefix-words", problem));
            }
            let name = clean(&need.judge, 64);
            if needs.judges[..i].iter().any(|earlier| earlier.judge == need.judge) {
                return Err(Invalid::new(field, format!("names the judge `{name}` a second time")));
            }
            if !run.judges.contains(&need.judge) {
                let known = if run.judges.is_empty() {
                    "and this run has none".to_owned()
                } else {
                    format!("and this run has {}", run.judges.join(", "))
                };
                let problem = format!(
                    "asks for the judge `{name}`, {known}; configure it, or change the policy's settings"
                );
                return Err(Invalid::unmet(field, problem));
            }
        }
        Ok(())
    }

    fn exceeds(&self, narrow: &Needs, wide: &Needs) -> Option<String> {
        let beyond = |need: &JudgeNeed| !wide.judges.contains(need);
        narrow.judges.iter().position(beyond).map(|i| format!("needs.judges[{i}]"))
    }

    fn summary(&self, needs: &Needs) -> Vec<String> {
        let lines = needs.judges.iter().map(|need| {
            let name = clean(&need.judge, 64);
            match need.prefix_words {
                Some(words) => {
                    format!("scores of the judge {name}, also after every {words} words")
                }
                None => format!("scores of the judge {name}"),
            }
        });
        lines.collect()
    }

    fn unmet(&self, needs: &Needs, run: &RunCapabilities<'_>) -> Option<Unmet> {
        let need = needs.judges.iter().find(|need| !run.judges.contains(&need.judge))?;
        let remedy =
            format!("add [judges.{}] to the configuration, such as scores = FILE", need.judge);
        Some(Unmet::new(format!("judge {:?}", need.judge), remedy))
    }

    fn given(&self, signals: &Signals) -> bool {
        !signals.judges.is_empty()
    }

    fn copy(&self, from: &Signals, to: &mut Signals) {
        to.judges.clone_from(&from.judges);
    }

    fn bytes(&self, signals: &Signals) -> usize {
        bytes(&signals.judges)
    }

    fn offer(&self, needs: &Needs, from: Journalled<'_>, to: &mut Signals) -> Result<(), Missing> {
        for need in &needs.judges {
            let mut given = from.signals.iter().flat_map(|one| &one.judges);
            let found = given.find(|one| one.judge == need.judge);
            to.judges.push(found.ok_or_else(|| missing(need))?.clone());
        }
        Ok(())
    }

    fn synthesize(&self, made: &Synthetic<'_>, step: &Step, to: &mut Signals) {
        to.judges = made.judges(&step.rows);
    }

    fn reached_by(&self, damage: Damage) -> bool {
        matches!(damage, Damage::Judges(_))
    }

    fn damage(&self, signals: &mut Signals, damage: Damage) {
        if let Damage::Judges(status) = damage {
            let judgements = signals.judges.iter_mut().flat_map(|one| &mut one.judgements);
            judgements.for_each(|one| one.damage(status));
        }
    }
}

impl Synthetic<'_> {
    /// Scores that follow the level, by every judge.
    pub fn judges(&self, rows: &[Row]) -> Vec<JudgeScores> {
        let scored = |row: &Row| Judgement { status: JudgementStatus::Scored, score: row.score() };
        let judgements: Vec<Judgement> = rows.iter().map(scored).collect();
        let needs = self.needs.judges.iter();
        let scores = needs
            .map(|need| JudgeScores { judge: need.judge.clone(), judgements: judgements.clone() });
        scores.collect()
    }
}
