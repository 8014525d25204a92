#![allow(clippy::unwrap_used)]

use risk_policy::prelude::*;
use risk_policy::{fixtures, settings};

use super::*;

fn parse(text: &str) -> Settings {
    settings::parse(text, SafeLora::SETTINGS_SCHEMA).unwrap()
}

/// What is asked for at each of ten steps.
fn projections(text: &str) -> Vec<Option<f64>> {
    let of_step = |step| {
        let assessment = SafeLora::assess(&Call {
            settings: &parse(text),
            run: &fixtures::run(2),
            parameters: &[],
            state: &[],
            signals: &fixtures::signals(step, 2),
        });
        let regularization = assessment.unwrap().regularization;
        assert_eq!(regularization.task_weight, [1.0; 2]);
        assert!(regularization.adapter_projection_count.is_none());
        regularization.adapter_projection
    };
    (0..10).map(of_step).collect()
}

#[test]
fn the_last_step_projects() {
    let found = projections(r#"{"threshold": 0.35}"#);
    assert_eq!(found[..9], [None; 9]);
    assert_eq!(found[9], Some(0.35));
}

#[test]
fn by_default_the_ten_matrices_of_the_lowest_cosine_are_projected() {
    let at = |step| {
        let settings = parse("{}");
        let (run, signals) = (fixtures::run(2), fixtures::signals(step, 2));
        let call =
            Call { settings: &settings, run: &run, parameters: &[], state: &[], signals: &signals };
        let regularization = SafeLora::assess(&call).unwrap().regularization;
        assert_eq!(regularization.adapter_projection, None);
        regularization.adapter_projection_count
    };
    assert_eq!((at(8), at(9)), (None, Some(10)));
    let error = SafeLora::needs(&parse(r#"{"matrices": 0}"#), &fixtures::run(1)).unwrap_err();
    assert!(error.contains("`matrices`"), "{error}");
}

#[test]
fn so_do_every_so_many_steps_before_it() {
    let found = projections(r#"{"every": 4, "threshold": 0.5}"#);
    let at: Vec<usize> = (0..10).filter(|step| found[*step] == Some(0.5)).collect();
    assert_eq!(at, [3, 7, 9]);
}

#[test]
fn a_step_without_samples_is_answered() {
    let call = Call {
        settings: &parse("{}"),
        run: &fixtures::run(0),
        parameters: &[],
        state: &[],
        signals: &fixtures::signals(9, 0),
    };
    assert!(SafeLora::assess(&call).unwrap().risk.is_empty());
}

#[test]
fn the_actuator_is_declared_and_a_cosine_that_is_none_is_refused() {
    let run = fixtures::run(1);
    let needs = SafeLora::needs(&parse("{}"), &run).unwrap();
    assert_eq!(needs, Needs::new().actuators(Actuators::ADAPTER_PROJECTION));
    for text in [r#"{"threshold": 1.1}"#, r#"{"threshold": -1.1}"#] {
        let error = SafeLora::needs(&parse(text), &run).unwrap_err();
        assert!(error.contains("`threshold`"), "{error}");
    }
}

#[test]
fn the_defaults_of_the_schema_are_those_of_the_code() {
    let from_schema = parse(&fixtures::schema_defaults(SafeLora::SETTINGS_SCHEMA));
    assert_eq!(format!("{from_schema:?}"), format!("{:?}", Settings::default()));
}
