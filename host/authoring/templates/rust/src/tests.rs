use risk_policy::fixtures;
use risk_policy::prelude::*;

use super::{Settings, Surprise};

/// Two samples of two answer tokens each.
fn signals(reference: [f32; 4]) -> Signals {
    Signals {
        tokens: Some(TokenSignals {
            offsets: vec![0, 2, 4],
            current: Vec::new(),
            reference: reference.to_vec(),
        }),
        ..fixtures::signals(0, 2)
    }
}

fn assess(state: &[u8], reference: [f32; 4]) -> Result<Assessment, String> {
    Surprise::assess(&Call {
        settings: &Settings::default(),
        run: &fixtures::run(2),
        parameters: &[],
        state,
        signals: &signals(reference),
    })
}

#[test]
fn a_surprising_answer_is_risky_and_held_to_the_reference() {
    let assessment = assess(&[], [-0.25, -0.25, -4.0, -2.0]).unwrap();
    assert!(assessment.risk[0] < 0.1 && assessment.risk[1] > 0.7);
    let kl = &assessment.regularization.kl_weight;
    assert_eq!(kl[1], 0.1 + (0.9 - 0.1) * assessment.risk[1]);
    assert!(kl[0] < kl[1]);
}

#[test]
fn the_usual_surprise_is_carried_on() {
    let first = assess(&[], [-1.0; 4]).unwrap();
    assert_eq!(first.risk, [0.5, 0.5]);
    let second = assess(&first.state, [-3.0; 4]).unwrap();
    assert_eq!(second.risk, [0.9, 0.9]);
    assert_eq!(second.reasons.len(), 2);
    assert!(assess(&[1, 2, 3], [-1.0; 4]).is_err());
}

#[test]
fn a_broken_measurement_is_refused_rather_than_called_harmless() {
    for broken in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let refused = assess(&[], [-1.0, broken, -1.0, -1.0]).unwrap_err();
        assert!(refused.contains("not finite"), "{refused}");
    }
}

#[test]
fn impossible_settings_are_refused_by_name() {
    let run = fixtures::run(2);
    let bad = Settings {
        b_min: 0.95,
        ..Settings::default()
    };
    assert!(Surprise::needs(&bad, &run).unwrap_err().contains("`b_min`"));
    assert!(Surprise::needs(&Settings::default(), &run).is_ok());
}
