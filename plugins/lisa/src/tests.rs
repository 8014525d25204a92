#![allow(clippy::unwrap_used)]

use risk_policy::prelude::*;
use risk_policy::{fixtures, settings};

use super::*;

fn parse(text: &str) -> Settings {
    settings::parse(text, Lisa::SETTINGS_SCHEMA).unwrap()
}

fn assess(text: &str, step: u64, samples: u32) -> Regularization {
    let assessment = Lisa::assess(&Call {
        settings: &parse(text),
        run: &fixtures::run(samples),
        parameters: &[],
        state: &[],
        signals: &fixtures::signals(step, samples),
    });
    assessment.unwrap().regularization
}

#[test]
fn turns_change_after_so_many_steps() {
    let text = r#"{"task_steps": 3, "alignment_steps": 2}"#;
    let shares = (0..10).map(|step| assess(text, step, 1).alignment_share.unwrap());
    // Of the steps 1 to 10.
    let expected = [0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0];
    assert_eq!(shares.collect::<Vec<_>>(), expected);
}

/// rho/2 |theta - theta_switch|^2 with rho = 1.
#[test]
fn every_step_pulls_towards_the_last_switch() {
    let regularization = assess("{}", 4, 2);
    let anchor = regularization.anchor.unwrap();
    assert_eq!((anchor.target, anchor.strength), (AnchorTarget::LastSwitch, 1.0));
    assert_eq!(regularization.task_weight, [1.0; 2]);
    assert_eq!(regularization.kl_weight, [0.0; 2]);
    assert!(assess("{}", 4, 0).task_weight.is_empty());
}

#[test]
fn actuators_are_declared_and_settings_out_of_range_name_their_key() {
    let run = fixtures::run(1);
    let needs = Lisa::needs(&parse("{}"), &run).unwrap();
    let expected = Actuators::ALIGNMENT_SHARE | Actuators::ANCHOR;
    assert_eq!(needs, Needs::new().actuators(expected));
    for (text, key) in [
        (r#"{"task_steps": 0}"#, "`task_steps`"),
        (r#"{"alignment_steps": 0}"#, "`alignment_steps`"),
        (r#"{"rho": -1}"#, "`rho`"),
    ] {
        let error = Lisa::needs(&parse(text), &run).unwrap_err();
        assert!(error.contains(key), "{error}");
    }
}

#[test]
fn the_defaults_of_the_schema_are_those_of_the_code() {
    let from_schema = parse(&fixtures::schema_defaults(Lisa::SETTINGS_SCHEMA));
    assert_eq!(format!("{from_schema:?}"), format!("{:?}", Settings::default()));
}
