#![allow(clippy::unwrap_used)]

use risk_policy::logistic::Linear;
use risk_policy::platt::Platt;
use risk_policy::prelude::*;
use risk_policy::probe::{Classifier, Fitted, Method, Reading};
use risk_policy::standardizer::Standardizer;
use risk_policy::{fixtures, settings};

use super::{Anchored, Settings};

fn parse(text: &str) -> Settings {
    settings::parse(text, Anchored::SETTINGS_SCHEMA).unwrap()
}

fn assess(text: &str, parameters: &[u8], signals: &Signals) -> Assessment {
    let mut run = fixtures::run(signals.samples.len() as u32);
    run.judges = vec!["mine".into()];
    let settings = parse(text);
    let call = Call { settings: &settings, run: &run, parameters, state: &[], signals };
    Anchored::assess(&call).unwrap()
}

fn close(got: &[f64], want: &[f64]) {
    assert_eq!(got.len(), want.len());
    for (g, w) in got.iter().zip(want) {
        assert!((g - w).abs() < 1e-4, "{got:?} is not {want:?}");
    }
}

#[test]
fn by_default_rows_are_learned_as_without_a_policy_and_every_step_visits_anchors() {
    let needs = Anchored::needs(&parse("{}"), &fixtures::run(2)).unwrap();
    let anchors = needs.anchors.unwrap();
    assert_eq!((anchors.harmful, anchors.harmless, anchors.answer_tokens), (1, 1, 4));
    assert!(!needs.calibration && needs.taps.is_empty() && needs.judges.is_empty());
    assert_eq!(needs.actuators, Actuators::SAFETY_ANCHORS);
    for step in 0..4 {
        let assessment = assess("{}", &[], &fixtures::signals(step, 2));
        let plain = Regularization::constant(2, 1.0, 0.0);
        let expected = Regularization { anchor_weight: Some(1.0), ..plain };
        assert_eq!(assessment.regularization, expected);
        assert_eq!(assessment.risk, [0.0, 0.0]);
        assert!(assessment.state.is_empty());
    }
}

/// A key of the table changes no other one.
#[test]
fn anchors_that_are_set_in_part_keep_the_other_defaults() {
    let needs = Anchored::needs(&parse(r#"{"anchors": {"harmful": 3}}"#), &fixtures::run(2));
    let anchors = needs.unwrap().anchors.unwrap();
    assert_eq!((anchors.harmful, anchors.harmless, anchors.answer_tokens), (3, 1, 4));
}

#[test]
fn alignment_samples_come_in_addition_and_are_held_and_not_learned() {
    let text = r#"{"alignment_rows": 1}"#;
    let needs = Anchored::needs(&parse(text), &fixtures::run(2)).unwrap();
    let expected =
        Actuators::SAFETY_ANCHORS | Actuators::ALIGNMENT_SHARE | Actuators::ALIGNMENT_EXTRA;
    assert_eq!(needs.actuators, expected);
    let mut signals = fixtures::signals(4, 3);
    signals.samples[2].origin = Origin::Alignment;
    let regularization = assess(text, &[], &signals).regularization;
    assert_eq!(regularization.task_weight, [1.0, 1.0, 0.0]);
    assert_eq!(regularization.kl_weight, [0.0, 0.0, 1.0]);
    assert_eq!(regularization.alignment_extra, Some(1));
    assert_eq!(regularization.alignment_share, Some(0.0));
}

#[test]
fn rows_that_a_judge_calls_harmful_are_held_and_those_without_a_judgement_too() {
    let text = r#"{"risk": "judge", "hinge": 0.25}"#;
    let run = RunInfo { judges: vec!["mine".into()], ..fixtures::run(1) };
    let needs = Anchored::needs(&parse(text), &run).unwrap();
    assert_eq!(needs.judges[0].judge, "mine");
    let signals = fixtures::judged("mine", &[Some(1.0), Some(2.0), Some(3.5), Some(5.0), None]);
    let assessment = assess(text, &[], &signals);
    close(&assessment.regularization.kl_weight, &[0.0, 0.0, 0.5, 1.0, 1.0]);
    close(&assessment.regularization.task_weight, &[1.0, 1.0, 0.5, 0.0, 0.0]);
    let codes: Vec<_> = assessment.reasons.iter().map(|one| one.code.as_str()).collect();
    assert_eq!(codes, ["harmful-sample", "harmful-sample", "no-judgement"]);
}

/// Probes on layer 2 whose log-odds are the first unit at the last token of a prompt, and the
/// second one of its mean.
fn dials(usual: f64) -> Vec<u8> {
    let reading = |position, unit: usize| {
        let mut weights = vec![0.0; 8];
        weights[unit] = 1.0;
        Reading {
            position,
            layer: 2,
            standardizer: Standardizer { mean: vec![0.0; 8], scale: vec![1.0; 8] },
            classifier: Classifier::Linear(Linear { weights, bias: 0.0 }),
            platt: Platt { slope: 1.0, offset: 0.0 },
        }
    };
    let readings = vec![reading(Position::LastPromptToken, 0), reading(Position::PromptMean, 1)];
    Fitted { method: Method::Logistic, readings, share: 0.5, usual }.to_bytes()
}

/// Activations at a position, of which one unit gives these risks.
fn dialled(position: Position, unit: usize, risks: &[f32]) -> Activations {
    let values = risks.iter().flat_map(|risk| {
        let mut row = [0.0; 8];
        row[unit] = (risk / (1.0 - risk)).ln();
        row
    });
    Activations {
        tap: Tap { source: Source::Reference, position, layers: vec![2] },
        samples: risks.len() as u32,
        layers: 1,
        hidden: 8,
        values: values.collect(),
    }
}

/// The last row ends in words that hide what it asks for from its last token.
#[test]
fn rows_of_usual_risk_are_free_and_what_lies_above_at_either_position_is_held() {
    let text = r#"{"risk": "probe"}"#;
    let needs = Anchored::needs(&parse(text), &fixtures::run(1)).unwrap();
    assert!(needs.calibration && needs.calibration_rows == 256 && needs.anchors.is_some());
    let positions: Vec<_> = needs.taps.iter().map(|tap| tap.position).collect();
    assert_eq!(positions, [Position::LastPromptToken, Position::PromptMean]);
    let mut signals = fixtures::signals(0, 4);
    signals.activations.push(dialled(Position::LastPromptToken, 0, &[0.3, 0.76, 0.999, 0.001]));
    signals.activations.push(dialled(Position::PromptMean, 1, &[0.1, 0.5, 0.2, 0.88]));
    let assessment = assess(text, &dials(0.4), &signals);
    close(&assessment.risk, &[0.0, 0.6, 0.99833, 0.8]);
    close(&assessment.regularization.kl_weight, &[0.0, 0.6, 0.99833, 0.8]);
    let said: Vec<_> = assessment.reasons.iter().map(|reason| reason.message.as_str()).collect();
    assert_eq!(said.len(), 3);
    assert!(said[1].contains("0.999, by layer 2 at last-prompt-token"), "{said:?}");
    assert!(said[2].contains("0.880, by layer 2 at prompt-mean"), "{said:?}");
}

#[test]
fn a_probe_of_one_position_is_not_taken_for_that_of_another() {
    let settings = parse(r#"{"risk": "probe", "position": "prompt-mean"}"#);
    let run = fixtures::run(1);
    let signals = fixtures::signals(0, 1);
    let parameters = dials(0.0);
    let call = Call {
        settings: &settings,
        run: &run,
        parameters: &parameters,
        state: &[],
        signals: &signals,
    };
    let error = Anchored::assess(&call).unwrap_err();
    let expected = "position last-prompt-token and prompt-mean, the settings say prompt-mean";
    assert!(error.contains(expected), "{error}");
}

#[test]
fn nothing_is_calibrated_without_a_probe_and_settings_out_of_range_are_refused() {
    let run = fixtures::run(1);
    let none = Examples {
        examples: Vec::new(),
        activations: Vec::new(),
        judges: Vec::new(),
        row_activations: Vec::new(),
        row_judges: Vec::new(),
    };
    let error = Anchored::calibrate(&parse("{}"), &run, &none).unwrap_err();
    assert!(error.contains("train directly"), "{error}");
    for (text, key) in [
        (r#"{"alignment_rows": 2000}"#, "`alignment_rows`"),
        (r#"{"anchors": {"harmful": 0, "harmless": 0}}"#, "`anchors`"),
        (r#"{"calibration_rows": 5000}"#, "`calibration_rows`"),
        (r#"{"unknown_score": 0}"#, "`unknown_score`"),
        (r#"{"prior": 1}"#, "`prior`"),
    ] {
        let error = Anchored::needs(&parse(text), &run).unwrap_err();
        assert!(error.contains(key), "{error}");
    }
}

#[test]
fn the_defaults_of_the_schema_are_those_of_the_code() {
    let from_schema = parse(&fixtures::schema_defaults(Anchored::SETTINGS_SCHEMA));
    assert_eq!(format!("{from_schema:?}"), format!("{:?}", Settings::default()));
}
