#![allow(clippy::unwrap_used)]

use risk_policy::prelude::*;
use risk_policy::{fixtures, settings};

use super::*;

fn parse(text: &str) -> Settings {
    settings::parse(text, SafeGrad::SETTINGS_SCHEMA).unwrap()
}

/// A step whose second sample is one of alignment data.
fn assess(text: &str, conflict: Option<[f64; 3]>, samples: u32) -> Result<Assessment, String> {
    let mut signals = fixtures::signals(1, samples);
    if let Some(sample) = signals.samples.get_mut(1) {
        sample.origin = Origin::Alignment;
    }
    signals.gradient_conflict = conflict.map(|[task_norm, alignment_norm, dot]| GradientConflict {
        task_norm,
        alignment_norm,
        dot,
    });
    SafeGrad::assess(&Call {
        settings: &parse(text),
        run: &fixtures::run(samples),
        parameters: &[],
        state: &[],
        signals: &signals,
    })
}

#[test]
fn projection_and_share_are_asked_for_at_every_step() {
    let regularization = assess("{}", None, 2).unwrap().regularization;
    assert!(regularization.gradient_projection);
    assert_eq!(regularization.alignment_share, Some(0.25));
    assert_eq!(regularization.task_weight, [1.0, 0.5]);
    assert_eq!(regularization.kl_weight, [0.0, 0.5]);
    let regularization = assess(r#"{"kl": 0}"#, None, 2).unwrap().regularization;
    assert_eq!(regularization.kl_weight, [0.0; 2]);
    assert!(assess("{}", None, 0).unwrap().risk.is_empty());
}

/// (1, -1) and (0, 1): norms sqrt 2 and 1, inner product -1.
#[test]
fn a_conflict_is_reported_and_named() {
    let conflicting = assess("{}", Some([2f64.sqrt(), 1.0, -1.0]), 1).unwrap();
    let cosine = conflicting.metrics[0].value;
    assert!((cosine + 0.5f64.sqrt()).abs() < 1e-12, "{cosine}");
    assert_eq!(conflicting.reasons[0].code, "conflict");
    let agreeing = assess("{}", Some([2f64.sqrt(), 1.0, 1.0]), 1).unwrap();
    assert!(agreeing.metrics[0].value > 0.0 && agreeing.reasons.is_empty());
    assert!(assess("{}", None, 1).unwrap().metrics.is_empty());
}

#[test]
fn a_conflict_that_is_no_number_fails_the_step() {
    for conflict in [[0.0, 1.0, 0.0], [1.0, f64::NAN, 0.0], [1.0, 1.0, f64::INFINITY]] {
        assert!(assess("{}", Some(conflict), 1).is_err());
    }
}

#[test]
fn needs_are_declared_and_settings_out_of_range_name_their_key() {
    let run = fixtures::run(1);
    let needs = SafeGrad::needs(&parse("{}"), &run).unwrap();
    let actuators = Actuators::ALIGNMENT_SHARE | Actuators::GRADIENT_PROJECTION;
    assert_eq!(needs, Needs::new().gradient_conflict().actuators(actuators));
    for (text, key) in
        [(r#"{"share": 0}"#, "`share`"), (r#"{"share": 1}"#, "`share`"), (r#"{"kl": 1.1}"#, "`kl`")]
    {
        let error = SafeGrad::needs(&parse(text), &run).unwrap_err();
        assert!(error.contains(key), "{error}");
    }
}

#[test]
fn the_defaults_of_the_schema_are_those_of_the_code() {
    let from_schema = parse(&fixtures::schema_defaults(SafeGrad::SETTINGS_SCHEMA));
    assert_eq!(format!("{from_schema:?}"), format!("{:?}", Settings::default()));
}
