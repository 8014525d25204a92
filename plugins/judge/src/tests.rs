#![allow(clippy::unwrap_used)]

use risk_policy::prelude::*;
use risk_policy::{fixtures, settings};

use super::{Judge, Settings};

fn parse(text: &str) -> Settings {
    settings::parse(text, Judge::SETTINGS_SCHEMA).unwrap()
}

fn assess(text: &str, scores: &[Option<f64>], state: &[u8]) -> Result<Assessment, String> {
    let mut run = fixtures::run(scores.len() as u32);
    run.judges = vec!["mine".into()];
    Judge::assess(&Call {
        settings: &parse(text),
        run: &run,
        parameters: &[],
        state,
        signals: &fixtures::judged("mine", scores),
    })
}

fn close(got: &[f64], want: &[f64]) {
    assert_eq!(got.len(), want.len());
    for (g, w) in got.iter().zip(want) {
        assert!((g - w).abs() < 1e-4, "{got:?} is not {want:?}");
    }
}

const ALL: [Option<f64>; 5] = [Some(1.0), Some(2.0), Some(3.0), Some(4.0), Some(5.0)];

#[test]
fn scores_are_weighed_by_an_affine_map() {
    let assessment = assess("{}", &ALL, &[]).unwrap();
    close(&assessment.risk, &[0.0, 0.25, 0.5, 0.75, 1.0]);
    let regularization = assessment.regularization;
    close(&regularization.kl_weight, &[0.1, 0.3, 0.5, 0.7, 0.9]);
    close(&regularization.task_weight, &[0.9, 0.7, 0.5, 0.3, 0.1]);
}

#[test]
fn scores_are_weighed_by_the_clamp_of_the_published_code() {
    let text = r#"{"mode": "clamp"}"#;
    let regularization = assess(text, &ALL, &[]).unwrap().regularization;
    close(&regularization.kl_weight, &[0.1, 0.1, 0.3333, 0.6667, 0.9]);
    close(&regularization.task_weight, &[0.9, 0.9, 0.6667, 0.3333, 0.1]);
}

#[test]
fn a_batch_is_weighed_by_its_mean_score() {
    let scores = [Some(1.0), Some(4.0)];
    let text = r#"{"aggregation": "batch"}"#;
    close(&assess(text, &scores, &[]).unwrap().risk, &[0.375; 2]);
    let text = r#"{"aggregation": "batch", "mode": "clamp"}"#;
    let kl = assess(text, &scores, &[]).unwrap().regularization.kl_weight;
    close(&kl, &[0.16667; 2]);
}

#[test]
fn an_unknown_sample_is_the_worst_unless_the_settings_say_otherwise() {
    for score in [None, Some(f64::NAN), Some(0.0), Some(9.0)] {
        let assessment = assess("{}", &[Some(1.0), score], &[]).unwrap();
        close(&assessment.risk, &[0.0, 1.0]);
        assert_eq!(assessment.reasons.len(), 1);
        assert_eq!(assessment.reasons[0].code, "no-judgement");
        let lenient = assess(r#"{"unknown_score": 2}"#, &[Some(1.0), score], &[]).unwrap();
        close(&lenient.risk, &[0.0, 0.25]);
    }
}

#[test]
fn smoothing_goes_on_from_its_own_state_only() {
    let text = r#"{"smoothing": 0.5}"#;
    let first = assess(text, &[Some(5.0)], &[]).unwrap();
    let second = assess(text, &[Some(1.0)], &first.state).unwrap();
    close(&second.risk, &[0.5]);
    let mut damaged = first.state;
    damaged[8] ^= 1;
    assert!(assess(text, &[Some(1.0)], &damaged).is_err());
}

#[test]
fn a_step_without_samples_is_answered() {
    assert!(assess("{}", &[], &[]).unwrap().risk.is_empty());
}

#[test]
fn the_judge_is_asked_for_and_settings_out_of_range_are_refused() {
    let run = fixtures::run(1);
    let needs = Judge::needs(&parse(r#"{"judge": "mine"}"#), &run).unwrap();
    assert_eq!(needs, Needs::new().judge("mine"));
    for (text, key) in [
        (r#"{"unknown_score": 0}"#, "`unknown_score`"),
        (r#"{"hinge": 1}"#, "`hinge`"),
        (r#"{"anchors": {"weight": -1}}"#, "`anchors`"),
        (r#"{"mode": "published-code"}"#, "is called \"clamp\""),
        (r#"{"threshold": 6}"#, "`threshold`"),
        (r#"{"b_min": 0.9, "b_max": 0.1}"#, "`b_min`"),
        (r#"{"smoothing": 1}"#, "`smoothing`"),
    ] {
        let error = Judge::needs(&parse(text), &run).unwrap_err();
        assert!(error.contains(key), "{error}");
    }
}

#[test]
fn the_defaults_of_the_schema_are_those_of_the_code() {
    let from_schema = parse(&fixtures::schema_defaults(Judge::SETTINGS_SCHEMA));
    assert_eq!(format!("{from_schema:?}"), format!("{:?}", Settings::default()));
}

#[test]
fn a_hinge_frees_middling_scores_and_anchors_come_beside() {
    let text = r#"{"b_min": 0, "b_max": 1, "hinge": 0.5, "anchors": {"every": 1, "weight": 2}}"#;
    let regularization = assess(text, &ALL, &[]).unwrap().regularization;
    close(&regularization.kl_weight, &[0.0, 0.0, 0.0, 0.5, 1.0]);
    close(&regularization.task_weight, &[1.0, 1.0, 1.0, 0.5, 0.0]);
    assert_eq!(regularization.anchor_weight, Some(2.0));
    let needs = Judge::needs(&parse(text), &fixtures::run(1)).unwrap();
    assert_eq!(needs.actuators, Actuators::SAFETY_ANCHORS);
    let rare = assess(r#"{"prior": 0.1, "b_min": 0, "b_max": 1}"#, &ALL, &[]).unwrap();
    close(&rare.regularization.kl_weight, &[0.0, 0.03571, 0.1, 0.25, 1.0]);
}
