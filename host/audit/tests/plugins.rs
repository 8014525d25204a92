//! The policies that come with the host, as they are committed.

use crate::support::sample;
use host_contract::{needs_summary, *};
use host_sandbox::{Call, Engine, Limits, Policy};

fn plugin(name: &str) -> Policy {
    let path = format!("{}/../../plugins/{name}.wasm", env!("CARGO_MANIFEST_DIR"));
    Policy::load(&Engine::new(&Limits::default()).unwrap(), path).unwrap()
}

fn assess(policy: &Policy, settings: &str) -> Assessment {
    let (run, signals) = (sample::run(), sample::signals());
    let needs = policy.configure(settings, &run).unwrap();
    let call = Call { settings, ..sample::call(&run, &signals, &needs) };
    policy.assess(call).unwrap().assessment
}

#[test]
fn sft_leaves_training_alone() {
    let policy = plugin("sft");
    assert_eq!(policy.name(), "sft");
    assert!(needs_summary(&policy.configure("{}", &sample::run()).unwrap()).is_empty());
    let regularization = assess(&policy, "{}").regularization;
    assert_eq!(regularization.task_weight, [1.0, 1.0]);
    assert_eq!(regularization.kl_weight, [0.0, 0.0]);
}

#[test]
fn fixed_kl_holds_every_sample_alike() {
    let regularization = assess(&plugin("fixed-kl"), "{}").regularization;
    assert!(regularization.kl_weight[0] > 0.0);
    assert_eq!(regularization.kl_weight[0], regularization.kl_weight[1]);
}

/// Harmful examples have a large first unit on layer 9 and on no other.
fn activations(tap: &Tap, harmful: &[bool]) -> Activations {
    let mut values = Vec::new();
    for (i, harmful) in harmful.iter().enumerate() {
        for layer in &tap.layers {
            let signal = if *harmful && *layer == 9 { 2.0 } else { 0.0 };
            let noise = |unit: usize| ((i * 31 + unit * 17) % 11) as f32 / 11.0;
            values.extend([signal + noise(0), noise(1), noise(2), noise(3)]);
        }
    }
    let (samples, layers) = (harmful.len() as u32, tap.layers.len() as u32);
    Activations { tap: tap.clone(), samples, layers, hidden: 4, values }
}

#[test]
fn probe_is_calibrated_and_tells_harmful_prompts() {
    let policy = plugin("probe");
    let run = sample::run();
    let settings = r#"{"layers": [8, 9]}"#;
    let needs = policy.configure(settings, &run).unwrap();
    assert!(needs.calibration);

    let harmful: Vec<bool> = (0..90).map(|i| i % 2 == 0).collect();
    let split = |i: usize| [Split::Training, Split::Validation, Split::Test][i / 2 % 3];
    let example = |(i, harmful): (usize, &bool)| Example { harmful: *harmful, split: split(i) };
    let examples = Examples {
        examples: harmful.iter().enumerate().map(example).collect(),
        activations: needs.taps.iter().map(|tap| activations(tap, &harmful)).collect(),
        ..Examples::default()
    };
    let calibration = policy.calibrate(settings, &run, &examples).unwrap();
    let chosen: Vec<_> = calibration.candidates.iter().filter(|c| c.chosen).collect();
    assert_eq!(chosen.iter().map(|c| c.layer).collect::<Vec<_>>(), [Some(9)]);

    let needs = calibration.needs;
    let taps = needs.taps.iter().map(|tap| activations(tap, &[true, false])).collect();
    let signals = Signals { activations: taps, ..sample::signals() };
    let parameters = &calibration.parameters;
    let call =
        Call { settings, run: &run, parameters, state: &[], signals: &signals, needs: &needs };
    let assessed = policy.assess(call).unwrap().assessment;
    assert!(assessed.risk[0] > 0.8 && assessed.risk[1] < 0.2, "{:?}", assessed.risk);
    let kl = assessed.regularization.kl_weight;
    assert!(kl[0] > kl[1], "{kl:?}");
}
