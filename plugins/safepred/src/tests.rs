#![allow(clippy::unwrap_used)]

use risk_policy::prelude::*;
use risk_policy::{fixtures, settings};

use super::*;

fn parse(text: &str) -> Settings {
    settings::parse(text, SafePred::SETTINGS_SCHEMA).unwrap()
}

/// A step at this margin, with margins after trial updates.
fn assess(state: &[u8], now: f64, trials: &[(f64, f64)]) -> Result<Assessment, String> {
    let mut signals = fixtures::signals(1, 2);
    signals.canary = Some(Canary { step: 1, margins: vec![now - 1.0, now + 1.0] });
    let trial = |(scale, margin): &(f64, f64)| Trial { scale: *scale, margins: vec![*margin] };
    signals.trials = trials.iter().map(trial).collect();
    SafePred::assess(&Call {
        settings: &parse(r#"{"fall": 0.2, "penalty": 2.5}"#),
        run: &fixtures::run(2),
        parameters: &[],
        state,
        signals: &signals,
    })
}

/// The state of a run that began at this margin.
fn began_at(margin: f64) -> Vec<u8> {
    Writer::new(KIND, VERSION).f64(margin).finish()
}

fn chosen(assessment: &Assessment) -> (Action, f64) {
    let regularization = &assessment.regularization;
    (regularization.action, regularization.learning_rate_scale)
}

#[test]
fn golden_value_of_the_risk_over_time() {
    assert!((over_time(&[0.8, 0.4]) - 0.666_666_666_7).abs() < 1e-9);
    assert_eq!(over_time(&[0.5]), 0.5);
    assert_eq!(over_time(&[1.0, 1.0, 1.0]), 1.0);
}

#[test]
fn a_candidate_is_pruned_at_seven_tenths() {
    let of = |risk: f64| choose(&[Attempt { scale: 1.0, risk }], 0.0, 0.7).action;
    assert_eq!(of(0.666_666_7), Action::Update);
    assert_eq!(of(0.7), Action::Skip);
}

#[test]
fn the_trend_is_extrapolated() {
    let settings = parse(r#"{"horizon": 2, "penalty": 0.1}"#);
    // From 5 to 3, so 1 and -1 come next; the limit is 4: 1, 3 and 5 below it.
    let risk = settings.predicted(5.0, 3.0, 4.0);
    assert!((risk - (0.1 + 0.15 + 0.125) / 1.75).abs() < 1e-12, "{risk}");
    assert_eq!(settings.predicted(5.0, 6.0, 4.0), 0.0);
    // Rising out of the forbidden: less and less risk.
    assert!(settings.predicted(1.0, 2.0, 4.0) < settings.predicted(2.0, 2.0, 4.0));
}

#[test]
fn a_harmless_update_is_taken_whole() {
    let assessment = assess(&[], 5.0, &[(1.0, 4.9), (0.5, 4.95)]).unwrap();
    assert_eq!(chosen(&assessment), (Action::Update, 1.0));
    assert!(assessment.reasons.is_empty());
    assert_eq!(assessment.risk, [0.0; 2]);
    assert_eq!(assessment.metrics[1], Metric::new("margin.limit", 4.0));
}

#[test]
fn the_largest_scale_that_is_not_pruned_is_taken() {
    let assessment = assess(&began_at(5.0), 4.5, &[(1.0, 2.5), (0.5, 3.5), (0.25, 4.0)]).unwrap();
    assert_eq!(chosen(&assessment), (Action::Update, 0.5));
    assert_eq!(assessment.reasons[0].code, "scaled-down");
    assert!(assessment.risk[0] > 0.0 && assessment.risk[0] < 0.7);
}

#[test]
fn an_update_that_must_not_be_is_refused_and_one_that_was_is_undone() {
    let trials = [(1.0, -3.0), (0.5, -1.0)];
    let refused = assess(&began_at(5.0), 4.5, &trials).unwrap();
    assert_eq!(chosen(&refused), (Action::Skip, 1.0));
    assert_eq!(refused.reasons[0].code, "refused");
    // Where it stands is already 3 below the limit.
    let undone = assess(&began_at(5.0), 1.0, &trials).unwrap();
    assert_eq!(chosen(&undone), (Action::RollBack, 1.0));
}

#[test]
fn without_trials_nothing_is_taken() {
    let assessment = assess(&[], 5.0, &[]).unwrap();
    assert_eq!(chosen(&assessment), (Action::Skip, 1.0));
    assert_eq!(assessment.reasons[0].code, "no-trial");
    assert_eq!(assessment.risk, [1.0; 2]);
}

#[test]
fn the_first_margin_is_remembered() {
    let first = assess(&[], 5.0, &[(1.0, 5.0)]).unwrap();
    let second = assess(&first.state, 4.2, &[(1.0, 4.2)]).unwrap();
    assert_eq!(second.metrics[1], Metric::new("margin.limit", 4.0));
    assert_eq!(second.state, first.state);
}

#[test]
fn margins_without_a_mean_and_damaged_state_fail_the_step() {
    assert!(assess(&[], f64::NAN, &[(1.0, 4.0)]).is_err());
    assert!(assess(&[], 5.0, &[(1.0, f64::INFINITY)]).is_err());
    let mut state = began_at(5.0);
    state[7] ^= 1;
    assert!(assess(&state, 5.0, &[]).is_err());
    assert!(assess(&began_at(f64::NAN), 5.0, &[]).is_err());
    let call = Call {
        settings: &parse("{}"),
        run: &fixtures::run(1),
        parameters: &[],
        state: &[],
        signals: &fixtures::signals(0, 1),
    };
    assert!(SafePred::assess(&call).unwrap_err().contains("canary"));
}

#[test]
fn needs_are_declared_and_settings_out_of_range_name_their_key() {
    let run = fixtures::run(1);
    let needs = SafePred::needs(&parse(r#"{"scales": [1, 0.5]}"#), &run).unwrap();
    let expected = Needs::new().canary_every(1).trials(vec![1.0, 0.5]);
    let actuators = Actuators::LEARNING_RATE | Actuators::ROLL_BACK;
    assert_eq!(needs, expected.actuators(actuators));
    for (text, key) in [
        (r#"{"scales": []}"#, "`scales`"),
        (r#"{"scales": [1, 0]}"#, "`scales`"),
        (r#"{"horizon": 51}"#, "`horizon`"),
        (r#"{"fall": -1}"#, "`fall`"),
        (r#"{"penalty": 0}"#, "`penalty`"),
        (r#"{"prune": 1.1}"#, "`prune`"),
    ] {
        let error = SafePred::needs(&parse(text), &run).unwrap_err();
        assert!(error.contains(key), "{error}");
    }
}

#[test]
fn the_defaults_of_the_schema_are_those_of_the_code() {
    let from_schema = parse(&fixtures::schema_defaults(SafePred::SETTINGS_SCHEMA));
    assert_eq!(format!("{from_schema:?}"), format!("{:?}", Settings::default()));
}
