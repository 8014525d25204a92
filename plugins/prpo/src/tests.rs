#![allow(clippy::unwrap_used)]

use risk_policy::prelude::*;
use risk_policy::{fixtures, settings};

use super::*;

fn parse(text: &str) -> Settings {
    settings::parse(text, Prpo::SETTINGS_SCHEMA).unwrap()
}

fn run(samples: usize) -> RunInfo {
    RunInfo { judges: vec!["mine".into()], ..fixtures::run(samples as u32) }
}

fn assess(text: &str, scores: &[Option<f64>]) -> Result<Assessment, String> {
    Prpo::assess(&Call {
        settings: &parse(text),
        run: &run(scores.len()),
        parameters: &[],
        state: &[],
        signals: &fixtures::judged("mine", scores),
    })
}

fn clips(text: &str, scores: &[Option<f64>]) -> Vec<RatioClip> {
    let regularization = assess(text, scores).unwrap().regularization;
    regularization.ratio_clip.unwrap()
}

/// f as the contract defines it.
fn f(clip: &RatioClip, x: f64) -> f64 {
    if clip.direction >= 0.0 {
        x.min(clip.high) * clip.direction
    } else {
        x.max(clip.low) * clip.direction
    }
}

#[test]
fn golden_values_of_the_clip_that_is_asked_for() {
    let clips = clips("{}", &[Some(1.0), Some(5.0)]);
    assert_eq!(f(&clips[0], 15.0), 10.0);
    assert_eq!(f(&clips[1], 0.05), -0.1);
    assert_eq!(f(&clips[0], 0.5), 0.5);
    assert_eq!((clips[0].beyond, clips[1].beyond), (-0.1, -0.1));
}

#[test]
fn the_upper_clip_shrinks_towards_one_as_risk_grows() {
    let text = r#"{"threshold": 5}"#;
    let scores = [1.0, 2.0, 3.0, 4.0, 5.0].map(Some);
    let highs: Vec<f64> = clips(text, &scores).iter().map(|clip| clip.high).collect();
    assert_eq!(highs, [10.0, 7.75, 5.5, 3.25, 1.0]);
    let directions: Vec<f64> = clips(text, &scores).iter().map(|c| c.direction).collect();
    assert_eq!(directions, [1.0, 1.0, 1.0, 1.0, -1.0]);
}

#[test]
fn a_judgement_that_is_missing_is_the_worst() {
    let assessment = assess("{}", &[None, Some(1.0)]).unwrap();
    assert_eq!(assessment.risk, [1.0, 0.0]);
    assert_eq!(assessment.reasons[0].code, "no-judgement");
    assert_eq!(assessment.metrics[2], Metric::new("pushed_away", 1.0));
    let clips = assessment.regularization.ratio_clip.unwrap();
    assert_eq!((clips[0].direction, clips[1].direction), (-1.0, 1.0));
}

#[test]
fn settings_reach_the_clip() {
    let text = r#"{"low": 0.2, "high": 4, "unit": "answer", "variance_penalty": 0.5,
        "beyond": 0}"#;
    let expected = RatioClip {
        low: 0.2,
        high: 4.0,
        direction: 1.0,
        sequence: true,
        variance_penalty: 0.5,
        beyond: 0.0,
    };
    assert_eq!(clips(text, &[Some(1.0)]), [expected]);
    assert!(clips("{}", &[]).is_empty());
}

#[test]
fn needs_are_declared_and_settings_out_of_range_name_their_key() {
    let needs = Prpo::needs(&parse("{}"), &run(1)).unwrap();
    let both = TokenNeeds::CURRENT | TokenNeeds::REFERENCE;
    let expected = Needs::new().judge("mine").tokens(both);
    assert_eq!(needs, expected.actuators(Actuators::RATIO_CLIP));
    for (text, key) in [
        (r#"{"low": 1.1}"#, "`low`"),
        (r#"{"high": 0.9}"#, "`high`"),
        (r#"{"beyond": 0.1}"#, "`beyond`"),
        (r#"{"threshold": 0}"#, "`threshold`"),
        (r#"{"unknown_score": 6}"#, "`unknown_score`"),
        (r#"{"variance_penalty": -1}"#, "`variance_penalty`"),
    ] {
        let error = Prpo::needs(&parse(text), &run(1)).unwrap_err();
        assert!(error.contains(key), "{error}");
    }
}

#[test]
fn the_defaults_of_the_schema_are_those_of_the_code() {
    let from_schema = parse(&fixtures::schema_defaults(Prpo::SETTINGS_SCHEMA));
    assert_eq!(format!("{from_schema:?}"), format!("{:?}", Settings::default()));
}
