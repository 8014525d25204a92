#![allow(clippy::unwrap_used)]

use risk_policy::prelude::*;
use risk_policy::{fixtures, settings};

use super::{Average, Settings};

fn parse(text: &str) -> Result<Settings, String> {
    settings::parse(text, Average::SETTINGS_SCHEMA)
}

fn assess(text: &str, samples: u32) -> Regularization {
    let (run, signals) = (fixtures::run(samples), fixtures::signals(0, samples));
    let call = Call {
        settings: &parse(text).unwrap(),
        run: &run,
        parameters: &[],
        state: &[],
        signals: &signals,
    };
    Average::assess(&call).unwrap().regularization
}

#[test]
fn the_average_is_asked_for_and_the_loss_is_left_alone() {
    let regularization = assess("{}", 2);
    assert_eq!(regularization.task_weight, [1.0; 2]);
    assert_eq!(regularization.kl_weight, [0.0; 2]);
    let ema = regularization.ema.unwrap();
    assert_eq!((ema.decay, ema.in_path), (0.9, false));
    let ema = assess(r#"{"decay": 0.5, "mode": "in-path"}"#, 0).ema.unwrap();
    assert_eq!((ema.decay, ema.in_path), (0.5, true));
}

/// d = .9, average 1, parameters 2 -> 1.1, as the contract defines the record.
#[test]
fn the_golden_step_of_the_average() {
    let ema = assess("{}", 1).ema.unwrap();
    let average = ema.decay * 1.0 + (1.0 - ema.decay) * 2.0;
    assert!((average - 1.1f64).abs() < 1e-12);
}

#[test]
fn the_actuator_is_declared_and_decays_out_of_range_are_refused() {
    let run = fixtures::run(1);
    let needs = Average::needs(&parse("{}").unwrap(), &run).unwrap();
    assert_eq!(needs, Needs::new().actuators(Actuators::EMA));
    for text in [r#"{"decay": 1}"#, r#"{"decay": -0.1}"#] {
        let error = Average::needs(&parse(text).unwrap(), &run).unwrap_err();
        assert!(error.contains("`decay`"), "{error}");
    }
    assert!(parse(r#"{"mode": "both"}"#).unwrap_err().contains("`mode`"));
    assert!(parse(r#"{"decay": null}"#).unwrap_err().contains("`decay`"));
}

#[test]
fn the_defaults_of_the_schema_are_those_of_the_code() {
    let schema: serde_json::Value = serde_json::from_str(Average::SETTINGS_SCHEMA).unwrap();
    assert_eq!(schema["properties"]["decay"]["default"], 0.9);
    assert_eq!(schema["properties"]["mode"]["default"], "shadow");
    let built_in = parse("{}").unwrap().ema().unwrap();
    assert_eq!((built_in.decay, built_in.in_path), (0.9, false));
}
