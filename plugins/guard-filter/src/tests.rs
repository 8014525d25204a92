#![allow(clippy::unwrap_used)]

use risk_policy::prelude::*;
use risk_policy::{fixtures, settings};

use super::*;

fn parse(text: &str) -> Settings {
    settings::parse(text, GuardFilter::SETTINGS_SCHEMA).unwrap()
}

fn assess(text: &str, scores: &[Option<f64>]) -> Assessment {
    let mut run = fixtures::run(scores.len() as u32);
    run.judges = vec!["mine".into()];
    GuardFilter::assess(&Call {
        settings: &parse(text),
        run: &run,
        parameters: &[],
        state: &[],
        signals: &fixtures::judged("mine", scores),
    })
    .unwrap()
}

#[test]
fn samples_above_the_threshold_are_left_out_and_those_at_it_stay() {
    let assessment = assess("{}", &[Some(1.0), Some(2.0), Some(2.1), Some(5.0)]);
    let regularization = &assessment.regularization;
    assert_eq!(regularization.task_weight, [1.0, 1.0, 0.0, 0.0]);
    assert_eq!(regularization.kl_weight, [0.0; 4]);
    assert_eq!(regularization.action, Action::Update);
    let named: Vec<_> = assessment.reasons.iter().map(|r| r.sample).collect();
    assert_eq!(named, [Some(2), Some(3)]);
}

#[test]
fn unknown_samples_are_left_out_unless_the_settings_say_otherwise() {
    for unknown in [None, Some(f64::NAN), Some(0.0)] {
        let scores = [Some(1.0), unknown];
        let weights = |text| assess(text, &scores).regularization.task_weight;
        assert_eq!(weights("{}"), [1.0, 0.0]);
        assert_eq!(weights(r#"{"unknown_score": 1}"#), [1.0, 1.0]);
    }
}

#[test]
fn a_step_with_nothing_left_is_skipped() {
    let all = assess("{}", &[Some(5.0), None]);
    assert_eq!(all.regularization.action, Action::Skip);
    assert_eq!(assess("{}", &[]).regularization.action, Action::Skip);
}

#[test]
fn the_judge_is_asked_for_and_settings_out_of_range_name_their_key() {
    let run = fixtures::run(1);
    let needs = GuardFilter::needs(&parse(r#"{"judge": "mine"}"#), &run).unwrap();
    assert_eq!(needs, Needs::new().judge("mine"));
    for key in ["threshold", "unknown_score"] {
        let settings = parse(&format!("{{\"{key}\": 6}}"));
        let error = GuardFilter::needs(&settings, &run).unwrap_err();
        assert!(error.contains(&format!("`{key}`")), "{error}");
    }
}

#[test]
fn the_defaults_of_the_schema_are_those_of_the_code() {
    let from_schema = parse(&fixtures::schema_defaults(GuardFilter::SETTINGS_SCHEMA));
    assert_eq!(format!("{from_schema:?}"), format!("{:?}", Settings::default()));
}
