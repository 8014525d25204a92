//! Every rule of an assessment, broken once and kept once.

use crate::support::{Guest, sample, says};
use host_contract::{Expected, validate_assessment, *};

type Change = fn(&mut Assessment);

#[track_caller]
fn check(change: Change, needs: &Needs) -> Result<(), host_contract::Invalid> {
    let mut assessment = sample::full_assessment();
    change(&mut assessment);
    validate_assessment(
        &assessment,
        Expected { samples: &sample::samples(), needs, layers: sample::LAYERS },
    )
}

#[test]
fn valid_assessments_pass() {
    let at_the_edge: [Change; 8] = [
        |_| {},
        |a| a.risk = vec![0.0, 1.0],
        |a| a.regularization.task_weight = vec![0.0, 10.0],
        |a| a.regularization.learning_rate_scale = 0.0,
        |a| a.regularization.ema.as_mut().unwrap().decay = 0.0,
        |a| a.regularization.adapter_projection = Some(-1.0),
        |a| a.regularization.ratio_clip.as_mut().unwrap()[0].high = 0.1,
        |a| a.metrics.clear(),
    ];
    for change in at_the_edge {
        check(change, &sample::everything()).unwrap();
    }
}

#[test]
fn invalid_values_are_named() {
    let cases: [(Change, &str); 33] = [
        (|a| a.risk.truncate(1), "risk has 1 values; it must have 2, one per sample"),
        (|a| a.risk.push(0.0), "risk has 3 values"),
        (|a| a.risk[1] = f64::NAN, "risk[1] is NaN; it must be a number from 0 to 1"),
        (|a| a.risk[0] = -0.1, "risk[0] is -0.1"),
        (|a| a.risk[0] = 1.5, "risk[0] is 1.5"),
        (|a| a.regularization.task_weight.clear(), "regularization.task-weight has 0 values"),
        (
            |a| a.regularization.task_weight[0] = f64::INFINITY,
            "regularization.task-weight[0] is inf",
        ),
        (
            |a| a.regularization.task_weight[1] = 10.5,
            "task-weight[1] is 10.5; it must be a number from 0 to 10",
        ),
        (|a| a.regularization.kl_weight.push(1.0), "regularization.kl-weight has 3 values"),
        (|a| a.regularization.kl_weight[1] = -1.0, "regularization.kl-weight[1] is -1"),
        (
            |a| a.regularization.token_task_weight.as_mut().unwrap().truncate(4),
            "token-task-weight has 4 values; it must have 5, one per answer token",
        ),
        (
            |a| a.regularization.token_task_weight.as_mut().unwrap()[4] = 11.0,
            "token-task-weight[4] is 11",
        ),
        (
            |a| a.regularization.token_kl_weight.as_mut().unwrap()[2] = f32::NAN,
            "token-kl-weight[2] is NaN",
        ),
        (|a| a.regularization.learning_rate_scale = f64::NAN, "learning-rate-scale is NaN"),
        (|a| a.regularization.learning_rate_scale = 11.0, "learning-rate-scale is 11"),
        (|a| a.regularization.gradient_clip = Some(0.0), "gradient-clip is 0; it must be above 0"),
        (|a| a.regularization.gradient_clip = Some(f64::INFINITY), "gradient-clip is inf"),
        (
            |a| a.regularization.ema.as_mut().unwrap().decay = 1.0,
            "ema.decay is 1; it must be at least 0 and below 1",
        ),
        (
            |a| a.regularization.anchor.as_mut().unwrap().strength = -1.0,
            "anchor.strength is -1; it must be a finite number of at least 0",
        ),
        (|a| a.regularization.alignment_share = Some(1.1), "alignment-share is 1.1"),
        (|a| a.regularization.ratio_clip.as_mut().unwrap().truncate(1), "ratio-clip has 1 values"),
        (
            |a| a.regularization.ratio_clip.as_mut().unwrap()[1].low = -1.0,
            "ratio-clip[1].low is -1",
        ),
        (
            |a| a.regularization.ratio_clip.as_mut().unwrap()[1].high = 0.05,
            "ratio-clip[1].high is 0.05; it must be a finite number of at least 0.1",
        ),
        (
            |a| a.regularization.ratio_clip.as_mut().unwrap()[0].direction = f64::NAN,
            "ratio-clip[0].direction is NaN",
        ),
        (
            |a| a.regularization.ratio_clip.as_mut().unwrap()[0].variance_penalty = -1.0,
            "ratio-clip[0].variance-penalty",
        ),
        (
            |a| a.regularization.adapter_projection = Some(1.5),
            "adapter-projection is 1.5; it must be a number from -1 to 1",
        ),
        (
            |a| a.regularization.steering.as_mut().unwrap().coefficient = f64::NEG_INFINITY,
            "steering.coefficient is -inf",
        ),
        (|a| a.reasons[0].sample = Some(2), "reasons[0].sample is 2, and the step has 2 samples"),
        (|a| a.reasons[0].code = "High risk".into(), "reasons[0].code is \"High risk\""),
        (|a| a.reasons[0].code.clear(), "reasons[0].code is \"\""),
        (|a| a.metrics[0].name = "\u{1b}[2J".into(), "metrics[0].name is \"\""),
        (|a| a.metrics.push(a.metrics[0].clone()), "metrics[1].name repeats \"risk.mean\""),
        (|a| a.metrics[0].value = f64::NAN, "metrics[0].value (risk.mean) is NaN"),
    ];
    for (change, said) in cases {
        says(&check(change, &sample::everything()).unwrap_err(), &[said]);
    }
}

/// Without the declaration each use is refused; with that one alone it passes.
#[test]
fn undeclared_actuators_are_refused() {
    let uses: [(Change, Actuators, &str); 12] = [
        (
            |a| a.regularization.token_task_weight = Some(vec![1.0; 5]),
            Actuators::TOKEN_WEIGHTS,
            "token-task-weight is used, but needs.actuators does not declare token-weights",
        ),
        (
            |a| a.regularization.token_kl_weight = Some(vec![1.0; 5]),
            Actuators::TOKEN_WEIGHTS,
            "token-kl-weight is used",
        ),
        (
            |a| a.regularization.divergence = Divergence::LabelK2,
            Actuators::LABEL_DIVERGENCE,
            "label-divergence",
        ),
        (|a| a.regularization.learning_rate_scale = 0.5, Actuators::LEARNING_RATE, "learning-rate"),
        (|a| a.regularization.gradient_clip = Some(1.0), Actuators::GRADIENT_CLIP, "gradient-clip"),
        (
            |a| a.regularization.ema = Some(Ema { decay: 0.9, in_path: false }),
            Actuators::EMA,
            "ema",
        ),
        (
            |a| {
                a.regularization.anchor =
                    Some(Anchor { target: AnchorTarget::Reference, strength: 1.0 });
            },
            Actuators::ANCHOR,
            "anchor",
        ),
        (
            |a| a.regularization.alignment_share = Some(0.5),
            Actuators::ALIGNMENT_SHARE,
            "alignment-share",
        ),
        (
            |a| a.regularization.ratio_clip = sample::full_assessment().regularization.ratio_clip,
            Actuators::RATIO_CLIP,
            "ratio-clip",
        ),
        (
            |a| a.regularization.gradient_projection = true,
            Actuators::GRADIENT_PROJECTION,
            "gradient-projection",
        ),
        (
            |a| a.regularization.adapter_projection = Some(0.35),
            Actuators::ADAPTER_PROJECTION,
            "adapter-projection",
        ),
        (|a| a.regularization.action = Action::RollBack, Actuators::ROLL_BACK, "roll-back"),
    ];
    for (change, actuator, said) in uses {
        let mut assessment = sample::assessment();
        change(&mut assessment);
        let check = |actuators| {
            let needs = Needs { actuators, ..sample::needs() };
            validate_assessment(
                &assessment,
                Expected { samples: &sample::samples(), needs: &needs, layers: sample::LAYERS },
            )
        };
        check(actuator).unwrap();
        says(
            &check(Actuators::all() & !actuator).unwrap_err(),
            &["is used, but needs.actuators does not declare", said],
        );
    }
}

#[test]
fn undeclared_steering_is_refused() {
    let needs = Needs { steering: None, ..sample::everything() };
    says(
        &check(|_| {}, &needs).unwrap_err(),
        &["regularization.steering is used, but needs.steering does not declare it"],
    );
}

/// Through the sandbox: the message names policy, file, step, field and value.
#[test]
fn the_message_names_everything() {
    let policy = Guest::answering(|a| a.risk[1] = f64::NAN).load().unwrap();
    let (run, signals, needs) = (sample::run(), sample::signals(), sample::needs());
    let error = policy.assess(sample::call(&run, &signals, &needs)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "policy fixed (test.wasm), assess at step 12: invalid answer: risk[1] is NaN; it must be a number from 0 to 1"
    );
    assert!(error.is_fault());
    assert_eq!(error.place().unwrap().step, Some(12));
}
