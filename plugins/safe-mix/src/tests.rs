#![allow(clippy::unwrap_used)]

use risk_policy::prelude::*;
use risk_policy::{fixtures, settings};

use super::*;

fn parse(text: &str) -> Settings {
    settings::parse(text, SafeMix::SETTINGS_SCHEMA).unwrap()
}

fn assess(text: &str, samples: u32) -> Result<Assessment, String> {
    SafeMix::assess(&Call {
        settings: &parse(text),
        run: &fixtures::run(samples),
        parameters: &[],
        state: &[],
        signals: &fixtures::signals(3, samples),
    })
}

#[test]
fn every_step_asks_for_the_share_and_leaves_the_loss_alone() {
    let regularization = assess(r#"{"share": 0.25}"#, 2).unwrap().regularization;
    assert_eq!(regularization.alignment_share, Some(0.25));
    let expected =
        Regularization { alignment_share: Some(0.25), ..Regularization::constant(2, 1.0, 0.0) };
    assert_eq!(regularization, expected);
    assert_eq!(assess("{}", 0).unwrap().regularization.alignment_share, Some(0.1));
}

#[test]
fn the_actuator_is_declared_and_a_share_that_is_none_is_refused() {
    let run = fixtures::run(1);
    let needs = SafeMix::needs(&parse("{}"), &run).unwrap();
    assert_eq!(needs, Needs::new().actuators(Actuators::ALIGNMENT_SHARE));
    for share in ["0", "1", "-0.1", "1.5"] {
        let text = format!("{{\"share\": {share}}}");
        let error = SafeMix::needs(&parse(&text), &run).unwrap_err();
        assert!(error.contains("`share`"), "{error}");
        assert!(assess(&text, 1).is_err());
    }
}

#[test]
fn extra_samples_are_asked_for_in_place_of_the_share() {
    let text = r#"{"extra": 3}"#;
    let regularization = assess(text, 2).unwrap().regularization;
    let task_alone =
        Regularization { alignment_share: Some(0.0), ..Regularization::constant(2, 1.0, 0.0) };
    assert_eq!(regularization, task_alone.alignment_extra(3));
    let needs = SafeMix::needs(&parse(text), &fixtures::run(1)).unwrap();
    let both = Actuators::ALIGNMENT_SHARE | Actuators::ALIGNMENT_EXTRA;
    assert_eq!(needs, Needs::new().actuators(both));
}

#[test]
fn extra_samples_out_of_range_or_beside_a_share_are_refused() {
    for (text, part) in [
        (r#"{"extra": 0}"#, "`extra`: 0 is not in [1, 1024]"),
        (r#"{"extra": 1025}"#, "`extra`: 1025 is not in [1, 1024]"),
        (r#"{"extra": 1, "share": 0.1}"#, "`extra`: is in place of `share`"),
    ] {
        let error = SafeMix::needs(&parse(text), &fixtures::run(1)).unwrap_err();
        assert!(error.contains(part), "{error}");
        assert!(assess(text, 1).is_err());
    }
    assert_eq!(parse(r#"{"extra": 1024}"#).mix(), Ok(Mix::Extra(1024)));
}

#[test]
fn the_default_of_the_schema_is_that_of_the_code() {
    let from_schema = parse(&fixtures::schema_defaults(SafeMix::SETTINGS_SCHEMA));
    assert_eq!(from_schema.mix(), Settings::default().mix());
    assert_eq!(from_schema.mix(), Ok(Mix::Share(SHARE)));
}
