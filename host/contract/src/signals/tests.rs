//! Walks the table: what holds for every signal, the next one included.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use super::*;
use crate::needs::{exceeds, needs_summary, validate_needs};
use crate::types::JudgementStatus;

const DAMAGES: [Damage; 4] = [
    Damage::Activations(f32::NAN),
    Damage::Margins(f32::NAN),
    Damage::Norms(f64::NAN),
    Damage::Judges(JudgementStatus::Failed),
];

/// Lists in memory.
#[derive(Default)]
struct Memory(HashMap<String, Vec<f32>>);

impl ListsWriter for Memory {
    fn put(&mut self, values: &[f32]) -> String {
        let digest = format!("{values:?}");
        self.0.insert(digest.clone(), values.to_vec());
        digest
    }
}

impl Lists for Memory {
    fn list(&self, digest: &str) -> Result<Vec<f32>, String> {
        self.0.get(digest).cloned().ok_or_else(|| format!("has no {digest}"))
    }
}

fn run() -> RunInfo {
    RunInfo {
        layers: 2,
        hidden: 4,
        vocabulary: 10,
        samples_per_step: 3,
        total_steps: 9,
        seed: 1,
        judges: vec!["critic".into(), "guard".into()],
    }
}

/// What a policy asks for that asks for this signal alone.
fn asking(signal: &dyn Signal) -> Needs {
    let mut needs = Needs::new();
    signal.example(&mut needs);
    needs
}

/// The second step of a run, which has an outcome before it.
fn step() -> Step {
    Step { step: 1, ..Step::graded([0.0, 0.5, 1.0], 0.5) }
}

fn measured(needs: &Needs) -> Signals {
    Synthetic { needs, hidden: 4, seed: 3 }.signals(&step())
}

#[test]
fn names_and_meanings_are_there_once() {
    for (i, signal) in SIGNALS.iter().enumerate() {
        assert!(SIGNALS[..i].iter().all(|other| other.name() != signal.name()));
        assert!(!signal.meaning().is_empty(), "{}", signal.name());
    }
}

#[test]
fn asking_for_one_is_valid_said_and_narrower_than_asking_for_more() {
    let nothing = Needs::new();
    for signal in SIGNALS.iter().filter(|signal| signal.need().is_some()) {
        let needs = asking(*signal);
        assert!(signal.asked(&needs) && !signal.asked(&nothing), "{}", signal.name());
        validate_needs(&needs, &run()).unwrap();
        assert!(!needs_summary(&needs).is_empty(), "{}", signal.name());
        assert_eq!(exceeds(&needs, &needs), None);
        assert_eq!(exceeds(&nothing, &needs), None);
        let field = exceeds(&needs, &nothing).unwrap().field;
        assert!(field.starts_with(signal.need().unwrap()), "{field}");
    }
}

#[test]
fn what_is_asked_for_is_made_up_and_nothing_else() {
    for signal in SIGNALS {
        let signals = measured(&asking(signal));
        for other in SIGNALS.iter().filter(|other| other.need() != signal.need()) {
            assert_eq!(other.given(&signals), other.need().is_none(), "{}", other.name());
        }
        assert!(signal.given(&signals), "{}", signal.name());
        let mut copied = signals.unmeasured();
        assert!(!signal.given(&copied), "{}", signal.name());
        signal.copy(&signals, &mut copied);
        assert!(signal.given(&copied), "{}", signal.name());
    }
}

#[test]
fn every_signal_survives_the_journal() {
    for signal in SIGNALS {
        let signals = measured(&asking(signal));
        let mut lists = Memory::default();
        let recorded = Recorded::new(&signals, &mut lists);
        let text = serde_json::to_string(&recorded).unwrap();
        let recorded: Recorded = serde_json::from_str(&text).unwrap();
        assert_eq!(recorded.restore(&lists).unwrap(), signals, "{}", signal.name());
        let digests: Vec<&str> = recorded.digests().collect();
        assert_eq!(digests.len(), lists.0.len(), "{}", signal.name());
        if !digests.is_empty() {
            assert!(recorded.restore(&Memory::default()).is_err(), "{}", signal.name());
        }
    }
}

#[test]
fn every_signal_is_damaged_by_one_kind_of_damage() {
    for signal in SIGNALS {
        let needs = asking(signal);
        let clean = measured(&needs);
        let reaching = DAMAGES.into_iter().filter(|damage| signal.reached_by(*damage));
        let reaching: Vec<Damage> = reaching.collect();
        assert_eq!(reaching.len(), 1, "{}", signal.name());
        let made = Synthetic { needs: &needs, hidden: 4, seed: 3 };
        let damaged = made.signals(&step().damaged(reaching[0]));
        // As text, in which NaN equals NaN.
        let part = |signals: &Signals| {
            let mut part = Signals::default();
            signal.copy(signals, &mut part);
            format!("{part:?}")
        };
        assert_ne!(part(&damaged), part(&clean), "{}", signal.name());
    }
}

#[test]
fn every_signal_is_offered_to_what_if_where_it_was_recorded_and_refused_elsewhere() {
    for signal in SIGNALS {
        let needs = asking(signal);
        let signals = measured(&needs);
        let offered = |recorded: &Needs, signals: &Signals| {
            let signals = std::slice::from_ref(signals);
            let from = Journalled { needs: &[recorded], signals };
            let mut to = signals[0].unmeasured();
            for one in SIGNALS {
                one.offer(&needs, from, &mut to)?;
            }
            Ok(to)
        };
        assert_eq!(offered(&needs, &signals), Ok(signals.clone()), "{}", signal.name());
        let nothing = Needs::new();
        if let Some(need) = signal.need() {
            let missing: Missing = offered(&nothing, &measured(&nothing)).unwrap_err();
            assert_eq!(missing.field, need, "{}", signal.name());
            assert!(!missing.what.is_empty(), "{}", signal.name());
        }
    }
}

#[test]
fn lists_are_counted() {
    let lists = [
        "activations",
        "judges",
        "prefixes",
        "tokens",
        "canary",
        "trials",
        "sample-loss",
        "gradient-agreement",
        "anchors",
    ];
    for signal in SIGNALS {
        let signals = measured(&asking(signal));
        let counted = signal.bytes(&signals) > 0;
        assert_eq!(counted, lists.contains(&signal.name()), "{}", signal.name());
    }
}

#[test]
fn fields_that_a_file_does_not_name_are_absent() {
    assert_eq!(serde_json::from_str::<Needs>("{}").unwrap(), Needs::new());
    assert_eq!(serde_json::from_str::<Signals>("{}").unwrap(), Signals::default());
    let text = serde_json::to_string(&Signals::default()).unwrap();
    assert!(!text.contains("sample_loss"), "a journal of 0.1 keeps its bytes: {text}");
}
