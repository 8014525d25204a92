//! Needs that make no sense, and needs that this run can't meet.

use crate::support::{Guest, sample, says};
use host_contract::{exceeds, validate_needs, *};

type Change = fn(&mut Needs);

/// Change, what is said, and whether it is only this run that lacks something.
const WRONG: [(Change, &str, bool); 14] = [
    (
        |n| n.taps[0].layers = vec![31],
        "needs.taps[0].layers has layer 31, and the model has layers 0 to 30",
        true,
    ),
    (|n| n.taps[0].layers = vec![], "needs.taps[0].layers is empty", false),
    (
        |n| n.taps[0].layers = vec![4, 4],
        "has 4 after 4; layers must be ascending without repeats",
        false,
    ),
    (|n| n.taps[0].layers = vec![5, 4], "has 4 after 5", false),
    (
        |n| n.taps = vec![n.taps[0].clone(); 65],
        "needs.taps has 65 entries; at most 64 are allowed",
        false,
    ),
    (
        |n| n.judges[0].judge = "oracle".into(),
        "needs.judges[0] asks for the judge `oracle`, and this run has critic, keywords",
        true,
    ),
    (|n| n.judges[0].prefix_words = Some(0), "needs.judges[0].prefix-words is 0", false),
    (
        |n| n.judges.push(n.judges[0].clone()),
        "needs.judges[1] names the judge `critic` a second time",
        false,
    ),
    (|n| n.canary_every = Some(0), "needs.canary-every is 0", false),
    (
        |n| n.trial_scales[1] = 0.0,
        "needs.trial-scales[1] is 0; it must be above 0 and at most 10",
        false,
    ),
    (|n| n.trial_scales[1] = f64::NAN, "needs.trial-scales[1] is NaN", false),
    (|n| n.trial_scales[1] = 0.5, "needs.trial-scales[1] repeats 0.5", false),
    (
        |n| {
            n.steering =
                Some(SteeringNeed { vector: SteeringVector::RefusalDirection, layers: vec![] });
        },
        "needs.steering.layers is empty",
        false,
    ),
    (
        |n| {
            n.steering =
                Some(SteeringNeed { vector: SteeringVector::RefusalDirection, layers: vec![31] });
        },
        "needs.steering.layers has layer 31",
        true,
    ),
];

#[test]
fn wrong_needs_are_named() {
    for (change, said, unmet) in WRONG {
        let mut needs = sample::needs();
        change(&mut needs);
        let invalid = validate_needs(&needs, &sample::run()).unwrap_err();
        says(&invalid, &[said]);
        assert_eq!(invalid.unmet, unmet, "{invalid}");
    }
}

#[test]
fn right_needs_pass() {
    let right: [Change; 5] = [
        |_| {},
        |n| n.taps[0].layers = (0..=30).collect(),
        |n| n.taps.clear(),
        |n| n.judges[0].prefix_words = Some(5),
        |n| {
            n.steering =
                Some(SteeringNeed { vector: SteeringVector::RefusalDirection, layers: vec![30] });
        },
    ];
    for change in right {
        let mut needs = sample::needs();
        change(&mut needs);
        validate_needs(&needs, &sample::run()).unwrap();
        assert_eq!(exceeds(&needs, &needs), None);
    }
}

/// The policy's fault, or the run's: the exit code depends on it.
#[test]
fn configure_checks_needs() {
    for (change, said, unmet) in WRONG.into_iter().filter(|(_, said, _)| !said.contains("NaN")) {
        let mut needs = sample::needs();
        change(&mut needs);
        let guest = Guest { configure: Ok(needs), ..Guest::new() };
        let error = guest.load().unwrap().configure("{}", &sample::run()).unwrap_err();
        says(&error, &["policy fixed (test.wasm), configure: ", said]);
        assert_eq!(error.is_fault(), !unmet, "{error}");
    }
    let none = RunInfo { judges: vec![], ..sample::run() };
    let error = Guest::new().load().unwrap().configure("{}", &none).unwrap_err();
    says(
        &error,
        &["this run can't give the policy what it needs", "`critic`, and this run has none"],
    );
}
