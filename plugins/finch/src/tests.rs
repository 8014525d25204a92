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
        settings: &parse(r#"{"loss": "past"}"#),
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

/// The answer to a batch whose samples have these losses, under a schedule of 1e-4.
fn assess_batch(losses: &[f64]) -> Result<Assessment, String> {
    let mut signals = fixtures::signals(1, losses.len() as u32);
    signals.sample_loss = Some(losses.to_vec());
    Finch::assess(&Call {
        settings: &parse(r#"{"loss": "batch"}"#),
        run: &fixtures::run(2),
        parameters: &[],
        state: &[],
        signals: &signals,
    })
}

#[test]
fn a_poisoned_batch_slows_its_own_step() {
    let quiet = assess_batch(&[0.25, 0.25]).unwrap();
    assert!((quiet.regularization.learning_rate_scale - 0.2).abs() < 1e-6);
    assert_eq!(quiet.metrics, [Metric::new("loss.batch", 0.25)]);
    assert!(quiet.state.is_empty());
    // Loss 4 gives 1e-5 / 2, which is .05 of 1e-4.
    let poisoned = assess_batch(&[0.25, 7.75]).unwrap();
    assert!((poisoned.regularization.learning_rate_scale - 0.05).abs() < 1e-6);
    // The running mean goes by the step before and sees nothing of it.
    let past = assess(&[], 1e-4, Some(0.25), 2).unwrap();
    assert!((past.regularization.learning_rate_scale - 0.2).abs() < 1e-6);
}

#[test]
fn the_loss_of_the_batch_is_asked_for_only_if_it_is_followed() {
    let run = fixtures::run(1);
    let needs = |text| Finch::needs(&parse(text), &run).unwrap();
    assert!(needs("{}").sample_loss && !needs(r#"{"loss": "past"}"#).sample_loss);
    let expected = Needs::new().sample_loss().actuators(Actuators::LEARNING_RATE);
    assert_eq!(needs(r#"{"loss": "batch"}"#), expected);
}

#[test]
fn without_the_losses_of_the_batch_or_with_a_state_of_another_mode_it_fails() {
    let past = assess(&[], 1e-4, Some(1.0), 1).unwrap();
    let settings = parse(r#"{"loss": "batch"}"#);
    let mut signals = fixtures::signals(1, 1);
    let mut answer = |state: &[u8], losses| {
        signals.sample_loss = losses;
        let run = fixtures::run(1);
        let call =
            Call { settings: &settings, run: &run, parameters: &[], state, signals: &signals };
        Finch::assess(&call).unwrap_err()
    };
    assert!(answer(&[], None).contains("absent"));
    assert!(answer(&[], Some(vec![f64::NAN])).contains("NaN"));
    assert!(answer(&past.state, Some(vec![1.0])).contains("state"));
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
    let needs = Finch::needs(&parse(r#"{"loss": "past"}"#), &run).unwrap();
    assert_eq!(needs, Needs::new().actuators(Actuators::LEARNING_RATE));
    for key in ["k", "cap"] {
        let error = Finch::needs(&parse(&format!("{{\"{key}\": 0}}")), &run).unwrap_err();
        assert!(error.contains(&format!("`{key}`")), "{error}");
    }
}

#[test]
fn the_defaults_of_the_schema_are_those_of_the_code() {
    let from_schema = parse(&fixtures::schema_defaults(Finch::SETTINGS_SCHEMA));
    assert_eq!(format!("{from_schema:?}"), format!("{:?}", Settings::default()));
}
