#![allow(clippy::unwrap_used)]

use risk_policy::prelude::*;
use risk_policy::{fixtures, settings};

use super::{GradShield, Settings};

fn parse(text: &str) -> Settings {
    settings::parse(text, GradShield::SETTINGS_SCHEMA).unwrap()
}

/// Task rows of these agreements and one alignment sample at the end.
fn step(agreements: &[f64], alignment: f64) -> Signals {
    let mut signals = fixtures::signals(3, agreements.len() as u32 + 1);
    signals.samples[agreements.len()].origin = Origin::Alignment;
    signals.gradient_agreement = Some([agreements, &[alignment]].concat());
    signals
}

fn assess(text: &str, state: &[u8], signals: &Signals) -> Result<Assessment, String> {
    let run = fixtures::run(signals.samples.len() as u32);
    let settings = parse(text);
    GradShield::assess(&Call { settings: &settings, run: &run, parameters: &[], state, signals })
}

fn close(got: &[f64], want: &[f64]) {
    assert_eq!(got.len(), want.len());
    for (g, w) in got.iter().zip(want) {
        assert!((g - w).abs() < 1e-4, "{got:?} is not {want:?}");
    }
}

#[test]
fn rows_that_oppose_the_alignment_gradient_lose_their_weight() {
    let assessment = assess("{}", &[], &step(&[3.0, -0.1, -1.1, -2.0, -9.0], 2.0)).unwrap();
    close(&assessment.risk, &[0.0, 0.0, 0.5, 1.0, 1.0, 0.0]);
    let regularization = &assessment.regularization;
    close(&regularization.task_weight, &[1.0, 1.0, 0.5, 0.0, 0.0, 0.1]);
    close(&regularization.kl_weight, &[0.0; 6]);
    assert_eq!(regularization.alignment_extra, Some(2));
    assert_eq!(regularization.alignment_share, Some(0.0));
    let named: Vec<_> = assessment.reasons.iter().map(|one| one.sample.unwrap()).collect();
    assert_eq!(named, [2, 3, 4]);
}

#[test]
fn the_unit_follows_the_alignment_samples() {
    let first = assess("{}", &[], &step(&[-1.0], 2.0)).unwrap();
    // 0.9 * 2 + 0.1 * 12 = 3
    let second = assess("{}", &first.state, &step(&[-1.65], 12.0)).unwrap();
    close(&second.risk, &[0.5, 0.0]);
    // A step whose alignment gradient is none keeps it.
    let third = assess("{}", &second.state, &step(&[-1.65], 0.0)).unwrap();
    close(&third.risk, &[0.5, 0.0]);
    assert!(assess("{}", b"else", &step(&[0.0], 1.0)).is_err());
}

#[test]
fn until_there_is_an_alignment_gradient_every_row_is_learned() {
    let assessment = assess("{}", &[], &fixtures::signals(0, 2)).unwrap();
    assert_eq!(assessment.risk, [0.0, 0.0]);
    assert_eq!(assessment.regularization.task_weight, [1.0, 1.0]);
    let mut nan = step(&[f64::NAN], 1.0);
    assert!(assess("{}", &[], &nan).unwrap_err().contains("sample 0 is NaN"));
    nan.gradient_agreement = Some(vec![1.0]);
    assert!(assess("{}", &[], &nan).unwrap_err().contains("1 gradient agreements"));
}

#[test]
fn needs_and_settings_out_of_range() {
    let run = fixtures::run(1);
    let needs = GradShield::needs(&parse("{}"), &run).unwrap();
    assert!(needs.gradient_agreement);
    assert_eq!(needs.actuators, Actuators::ALIGNMENT_SHARE | Actuators::ALIGNMENT_EXTRA);
    for (text, key) in [
        (r#"{"alignment_rows": 0}"#, "`alignment_rows`"),
        (r#"{"alignment_weight": 0}"#, "`alignment_weight`"),
        (r#"{"tolerance": -1}"#, "`tolerance`"),
    ] {
        let error = GradShield::needs(&parse(text), &run).unwrap_err();
        assert!(error.contains(key), "{error}");
    }
}

#[test]
fn the_defaults_of_the_schema_are_those_of_the_code() {
    let from_schema = parse(&fixtures::schema_defaults(GradShield::SETTINGS_SCHEMA));
    assert_eq!(format!("{from_schema:?}"), format!("{:?}", Settings::default()));
}
