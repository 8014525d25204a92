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
fn the_defaults_of_the_schema_are_those_of_the_code() {
    let from_schema = parse(&fixtures::schema_defaults(SafeMix::SETTINGS_SCHEMA));
    assert_eq!(format!("{from_schema:?}"), format!("{:?}", Settings::default()));
}
