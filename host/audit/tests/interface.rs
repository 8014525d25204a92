//! The test policies go through every type of the interface and come back equal.

use crate::support::{Guest, sample};
use host_contract::{assessment_from_json, assessment_to_json, needs_summary, *};

#[test]
fn a_policy_answers_all_four_functions() {
    let policy = Guest::new().load().unwrap();
    let (run, signals, needs) = (sample::run(), sample::signals(), sample::needs());
    assert_eq!(policy.descriptor(), &sample::descriptor());
    assert_eq!(policy.configure("{}", &run).unwrap(), needs);
    assert_eq!(policy.calibrate("{}", &run, &sample::examples()).unwrap(), sample::calibration());
    let assessed = policy.assess(sample::call(&run, &signals, &needs)).unwrap();
    assert_eq!(assessed.assessment, sample::assessment());
    assert!(assessed.fuel > 0 && assessed.memory_bytes >= 65536);
}

#[test]
fn every_field_of_an_assessment_arrives() {
    let guest = Guest { assess: Ok(sample::full_assessment()), ..Guest::new() };
    let policy = guest.load().unwrap();
    let (run, signals, needs) = (sample::run(), sample::signals(), sample::everything());
    let assessed = policy.assess(sample::call(&run, &signals, &needs)).unwrap();
    assert_eq!(assessed.assessment, sample::full_assessment());
}

#[test]
fn every_field_of_needs_arrives() {
    let needs = Needs { tokens: TokenNeeds::REFERENCE, drift: true, ..sample::everything() };
    let guest = Guest { configure: Ok(needs.clone()), ..Guest::new() };
    assert_eq!(guest.load().unwrap().configure("{}", &sample::run()).unwrap(), needs);
}

/// Signals with every part filled reach the policy, which counts what it was given.
#[test]
fn signals_arrive_whole() {
    // Signals begin at byte 64, behind settings (8 bytes), run-info (40), parameters
    // (8) and state (8); the length of their samples is at byte 20 of them.
    let check = "(if (i32.ne (i32.load offset=84 (local.get 0)) (i32.const 2)) (then unreachable))";
    let policy = Guest::running("assess", check).load().unwrap();
    let (run, needs) = (sample::run(), sample::needs());
    policy.assess(sample::call(&run, &sample::signals(), &needs)).unwrap();
    let mut short = sample::signals();
    short.samples.pop();
    policy.assess(sample::call(&run, &short, &needs)).unwrap_err();
}

#[test]
fn json_round_trips() {
    let assessment = sample::full_assessment();
    let line = assessment_to_json(&assessment).unwrap();
    assert!(!line.contains('\n') && line.contains(r#""state":"010203""#), "{line}");
    assert_eq!(assessment_from_json(&line).unwrap(), assessment);
    assert_eq!(assessment_to_json(&assessment_from_json(&line).unwrap()).unwrap(), line);

    let mut other = assessment;
    other.regularization.kl_weight[0] += f64::EPSILON;
    assert_ne!(assessment_to_json(&other).unwrap(), line);
    other.risk[0] = f64::NAN;
    let line = assessment_to_json(&other).unwrap();
    assessment_from_json(&line).unwrap_err();
}

#[test]
fn needs_and_signals_round_trip_as_json() {
    let needs = sample::everything();
    let text = serde_json::to_string(&needs).unwrap();
    assert!(text.contains(r#""ratio-clip""#));
    assert_eq!(serde_json::from_str::<Needs>(&text).unwrap(), needs);
    let unknown = text.replace("ratio-clip", "ratio-clap");
    let error = serde_json::from_str::<Needs>(&unknown).unwrap_err();
    assert!(error.to_string().contains("`ratio-clap`"), "{error}");

    let signals = sample::signals();
    let text = serde_json::to_string(&signals).unwrap();
    assert_eq!(serde_json::from_str::<Signals>(&text).unwrap(), signals);
}

#[test]
fn needs_are_said_in_words() {
    let lines = needs_summary(&sample::everything());
    assert_eq!(lines[0], "activations of the reference at the last prompt token, layers 8-10, 16");
    assert!(lines.contains(&"steering by a configured vector at layer 3".to_owned()), "{lines:?}");
    assert!(lines.last().unwrap().starts_with("may use token-weights, "), "{lines:?}");
    assert!(needs_summary(&Needs::new()).is_empty());
}
