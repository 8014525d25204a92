//! What holds for every call: isolation, determinism, and the policy's own refusals.

use crate::support::{Guest, sample, says};
use host_contract::*;
use host_sandbox::{Error, Limits};

#[test]
fn nothing_survives_a_call() {
    let remember =
        "(if (global.get $called) (then unreachable)) (global.set $called (i32.const 1))";
    let policy = Guest::running("assess", remember).load().unwrap();
    let (run, signals, needs) = (sample::run(), sample::signals(), sample::needs());
    let first = policy.assess(sample::call(&run, &signals, &needs)).unwrap();
    for _ in 0..20 {
        let next = policy.assess(sample::call(&run, &signals, &needs)).unwrap();
        assert_eq!((next.assessment, next.fuel), (first.assessment.clone(), first.fuel));
    }
}

#[test]
fn a_policy_works_on_after_a_fault() {
    // Crashes only at step 12.
    let crash =
        "(if (i64.eq (i64.load offset=64 (local.get 0)) (i64.const 12)) (then unreachable))";
    let policy = Guest::running("assess", crash).load().unwrap();
    let (run, mut signals, needs) = (sample::run(), sample::signals(), sample::needs());
    assert!(policy.assess(sample::call(&run, &signals, &needs)).unwrap_err().is_fault());
    signals.step = 13;
    policy.assess(sample::call(&run, &signals, &needs)).unwrap();
}

#[test]
fn policies_run_on_several_threads_at_once() {
    let policy = Guest::new().load().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let (run, signals, needs) = (sample::run(), sample::signals(), sample::needs());
                policy.assess(sample::call(&run, &signals, &needs)).unwrap();
            });
        }
    });
}

#[test]
fn refused_settings_are_no_fault() {
    let refusal = "layer: there is no layer 99\n\u{1b}[31m(red)";
    let guest = Guest { configure: Err(refusal.into()), ..Guest::new() };
    let error = guest.load().unwrap().configure(r#"{"layer": 99}"#, &sample::run()).unwrap_err();
    says(
        &error,
        &["policy fixed (test.wasm), configure", "refused: layer: there is no layer 99 (red)"],
    );
    assert!(!error.is_fault());
}

#[test]
fn settings_must_be_a_json_object() {
    let policy = Guest::new().load().unwrap();
    for (settings, said) in
        [("[1]", "must be a JSON object"), ("{\"a\": ", "no JSON"), ("", "no JSON")]
    {
        let error = policy.configure(settings, &sample::run()).unwrap_err();
        says(&error, &["the settings are refused", said]);
        assert!(!error.is_fault());
    }
    policy.configure(" {} ", &sample::run()).unwrap();
}

#[test]
fn giving_up_in_assess_is_a_fault() {
    let guest = Guest { assess: Err("no activations".into()), ..Guest::new() };
    let policy = guest.load().unwrap();
    let (run, signals, needs) = (sample::run(), sample::signals(), sample::needs());
    let error = policy.assess(sample::call(&run, &signals, &needs)).unwrap_err();
    says(
        &error,
        &["policy fixed (test.wasm), assess at step 12: the policy gave up: no activations"],
    );
    assert!(error.is_fault() && matches!(error, Error::Refused { .. }));
}

#[test]
fn giving_up_in_calibrate_is_none() {
    let guest = Guest { calibrate: Err("all examples are harmful".into()), ..Guest::new() };
    let error =
        guest.load().unwrap().calibrate("{}", &sample::run(), &sample::examples()).unwrap_err();
    says(&error, &["calibrate: the policy gave up: all examples are harmful"]);
    assert!(!error.is_fault());
}

#[test]
fn messages_are_clean_and_bounded() {
    let guest = Guest::answering(|a| {
        a.reasons[0].message = format!("\u{1b}]0;title\u{7}x{}", "y".repeat(2000));
    });
    let policy = guest.load_with(&Limits { text_characters: 20, ..Limits::default() }).unwrap();
    let (run, signals, needs) = (sample::run(), sample::signals(), sample::needs());
    let assessed = policy.assess(sample::call(&run, &signals, &needs)).unwrap();
    assert_eq!(assessed.assessment.reasons[0].message, format!("x{}…", "y".repeat(19)));
}

/// Calibration may need at most what configure asked for.
#[test]
fn calibration_narrows_needs() {
    type Change = fn(&mut Needs);
    let wider: [(Change, &str); 6] = [
        (|n| n.taps[0].layers = vec![9, 11], "needs.taps[0]"),
        (|n| n.taps[0].source = Source::Current, "needs.taps[0]"),
        (|n| n.canary_every = Some(9), "needs.canary-every"),
        (|n| n.drift = true, "needs.drift"),
        (|n| n.actuators = Actuators::EMA, "needs.actuators"),
        (|n| n.judges[0].prefix_words = Some(5), "needs.judges[0]"),
    ];
    for (widen, field) in wider {
        let mut calibration = sample::calibration();
        widen(&mut calibration.needs);
        let guest = Guest { calibrate: Ok(calibration), ..Guest::new() };
        let error =
            guest.load().unwrap().calibrate("{}", &sample::run(), &sample::examples()).unwrap_err();
        says(&error, &["calibrate", field, "goes beyond what configure asked for"]);
        assert!(error.is_fault());
    }
}

#[test]
fn calibration_reports_are_checked() {
    type Change = fn(&mut Calibration);
    let wrong: [(Change, &str); 3] = [
        (
            |c| c.candidates[0].layer = Some(31),
            "candidates[0].layer is 31, and the model has layers 0 to 30",
        ),
        (
            |c| c.candidates[0].metrics[0].value = f64::NAN,
            "candidates[0].metrics[0].value (validation.auroc) is NaN",
        ),
        (|c| c.needs.taps[0].layers.clear(), "needs.taps[0].layers is empty"),
    ];
    for (change, said) in wrong {
        let mut calibration = sample::calibration();
        change(&mut calibration);
        let guest = Guest { calibrate: Ok(calibration), ..Guest::new() };
        let error =
            guest.load().unwrap().calibrate("{}", &sample::run(), &sample::examples()).unwrap_err();
        says(&error, &["policy fixed (test.wasm), calibrate: invalid answer", said]);
    }
}
