#![allow(clippy::unwrap_used)]

use risk_policy::prelude::*;
use risk_policy::{fixtures, settings};

use super::*;

fn parse(text: &str) -> Settings {
    settings::parse(text, Finch::SETTINGS_SCHEMA).unwrap()
}

/// The answer at this scheduled rate after a step with this loss.
fn assess(state: &[u8], rate: f64, loss: Option<f64>, samples: u32) -> Result<Assessment, String> {
    let mut signals = fixtures::signals(1, samples);
    signals.learning_rate = rate;
    signals.previous = loss.map(|task_loss| Outcome {
        step: 0,
        action: Action::Update,
        task_loss,
        kl: None,
        gradient_norm: 1.0,
        learning_rate: rate,
    });
    Finch::assess(&Call {
        settings: &Settings::default(),
        run: &fixtures::run(samples),
        parameters: &[],
        state,
        signals: &signals,
    })
}

fn scale(rate: f64, loss: Option<f64>) -> f64 {
    let regularization = assess(&[], rate, loss, 1).unwrap().regularization;
    assert_eq!(regularization.task_weight, [1.0]);
    regularization.learning_rate_scale
}

#[test]
fn golden_values_of_the_rate() {
    let settings = Settings::default();
    assert!((settings.learning_rate(0.25) - 2e-5).abs() < 1e-11);
    assert_eq!(settings.learning_rate(0.01), 5e-5);
    assert_eq!(settings.learning_rate(0.0), 5e-5);
}

#[test]
fn the_scale_turns_the_schedule_into_that_rate() {
    assert!((scale(1e-4, Some(0.25)) - 0.2).abs() < 1e-6);
    assert_eq!(scale(1e-9, Some(0.25)), LARGEST_SCALE);
    assert_eq!(scale(0.0, Some(0.25)), 1.0);
    assert_eq!(scale(1e-4, None), 0.5);
    assert_eq!(scale(1e-5, None), 1.0);
}

#[test]
fn the_mean_goes_on_from_its_state() {
    let first = assess(&[], 1e-4, Some(1.0), 1).unwrap();
    let second = assess(&first.state, 1e-4, Some(2.0), 1).unwrap();
    assert!((second.metrics[0].value - 1.1).abs() < 1e-12);
}

#[test]
fn a_loss_that_is_no_number_fails_the_step() {
    for loss in [f64::NAN, f64::INFINITY, -1.0] {
        assert!(assess(&[], 1e-4, Some(loss), 1).is_err());
    }
}

#[test]
fn damaged_or_impossible_state_is_refused() {
    let mut state = assess(&[], 1e-4, Some(1.0), 1).unwrap().state;
    state[7] ^= 1;
    assert!(assess(&state, 1e-4, None, 1).is_err());
    let negative = Writer::new(KIND, VERSION).f64(-1.0).finish();
    assert!(assess(&negative, 1e-4, None, 1).is_err());
}

#[test]
fn a_step_without_samples_is_answered() {
    assert!(assess(&[], 1e-4, Some(1.0), 0).unwrap().risk.is_empty());
}

#[test]
fn the_actuator_is_declared_and_settings_out_of_range_name_their_key() {
    let run = fixtures::run(1);
    let needs = Finch::needs(&parse("{}"), &run).unwrap();
    assert_eq!(needs, Needs::new().actuators(Actuators::LEARNING_RATE));
    for key in ["k", "cap"] {
        let error = Finch::needs(&parse(&format!("{{\"{key}\": 0}}")), &run).unwrap_err();
        assert!(error.contains(&format!("`{key}`")), "{error}");
    }
}

#[test]
fn the_defaults_of_the_schema_are_those_of_the_code() {
    let schema: serde_json::Value = serde_json::from_str(Finch::SETTINGS_SCHEMA).unwrap();
    let value = |key: &str| schema["properties"][key]["default"].as_f64().unwrap();
    let settings = Settings::default();
    assert_eq!((value("k"), value("cap")), (settings.k, settings.cap));
}
