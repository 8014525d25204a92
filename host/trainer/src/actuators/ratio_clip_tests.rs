use super::*;

fn clip(low: f64, high: f64, direction: f64) -> RatioClip {
    RatioClip { low, high, direction, sequence: false, variance_penalty: 0.0, beyond: 0.0 }
}

#[test]
fn golden_values_of_the_clip() {
    let close = |found: (f64, f64), f: f64, slope: f64| {
        assert!(
            (found.0 - f).abs() < 1e-12 && (found.1 - slope).abs() < 1e-12,
            "{found:?} is not {:?}",
            (f, slope)
        );
    };
    close(clipped(&clip(0.1, 10.0, 1.0), 15.0), 10.0, 0.0);
    close(clipped(&clip(0.1, 10.0, -1.0), 0.05), -0.1, 0.0);
    close(clipped(&clip(0.1, 10.0, 1.0), 0.5), 0.5, 0.5);
    // The other end of the clip is none.
    close(clipped(&clip(0.1, 10.0, 1.0), 0.05), 0.05, 0.05);
    close(clipped(&clip(0.1, 10.0, -1.0), 15.0), -15.0, -15.0);
    close(clipped(&clip(0.1, 10.0, 0.5), 4.0), 2.0, 2.0);
}

/// Four samples: tokens within and beyond the clip, answers as a whole, both directions.
fn clips(variance_penalty: f64) -> Vec<RatioClip> {
    let whole = |one: RatioClip| RatioClip { sequence: true, ..one };
    let all = [
        clip(0.1, 1.5, 1.0),
        clip(0.5, 2.0, -0.7),
        whole(clip(0.1, 10.0, 1.0)),
        whole(clip(0.1, 10.0, -2.0)),
    ];
    all.map(|one| RatioClip { variance_penalty, ..one }).to_vec()
}

const OFFSETS: [u32; 5] = [0, 3, 5, 7, 8];
const REFERENCE: [f32; 8] = [-1.0, -2.0, -0.5, -3.0, -1.0, -2.0, -1.5, -0.7];
const CURRENT: [f32; 8] = [-0.9, -1.0, -2.5, -3.2, -2.0, -1.6, -1.4, -1.1];

/// The weights that a policy would have, divided by the tokens.
fn weights() -> TokenWeights {
    TokenWeights {
        task: [0.8, 0.8, 0.8, 1.0, 1.0, 0.5, 0.5, 0.9].map(|weight: f32| weight / 8.0).to_vec(),
        kl: vec![0.0; 8],
        constant: 0.0,
    }
}

fn rewritten(current: &[f32], variance_penalty: f64) -> TokenWeights {
    let clips = clips(variance_penalty);
    let ratios = Ratios { clips: &clips, offsets: &OFFSETS, current, reference: &REFERENCE };
    let penalty = Penalty { squares: ratios.squares(), count: count(&clips, &OFFSETS) };
    let mut weights = weights();
    ratios.clip(&mut weights, penalty);
    weights.constant += penalty.value();
    weights
}

/// The objective: what the weighted cross-entropy says and what the constant adds.
fn value(current: &[f32], variance_penalty: f64) -> f64 {
    let weights = rewritten(current, variance_penalty);
    let pairs = weights.task.iter().zip(current);
    let losses = pairs.map(|(weight, ln)| -f64::from(*weight) * f64::from(*ln));
    losses.sum::<f64>() + weights.constant
}

#[test]
fn the_value_is_that_of_the_formula() {
    let x = |token: usize| f64::from(CURRENT[token] - REFERENCE[token]).exp();
    let eighth = 1.0 / 8.0;
    let tokens = [0, 1, 2].map(|token| x(token).min(1.5)).iter().sum::<f64>();
    let held = [3, 4].map(|token| x(token).max(0.5)).iter().sum::<f64>() * -0.7;
    let answers = [(x(5) * x(6)).min(10.0), x(7).max(0.1) * -2.0];
    let expected = -eighth * (0.8 * tokens + held + 0.5 * answers[0] + 0.9 * answers[1]);
    let found = value(&CURRENT, 0.0);
    assert!((found - expected).abs() < 1e-6, "{found} {expected}");

    // Seven ratios; the penalty is 0.3 sqrt(mean of squares / 7).
    let ratios = [x(0), x(1), x(2), x(3), x(4), x(5) * x(6), x(7)];
    let squares = ratios.map(|x| (0.3 * x).powi(2)).iter().sum::<f64>();
    let penalty = (squares / 7.0 / 7.0).sqrt();
    let found = value(&CURRENT, 0.3);
    assert!((found - expected - penalty).abs() < 1e-6, "{found}");
}

#[test]
fn the_weights_are_the_gradient_of_the_value() {
    for variance_penalty in [0.0, 0.3] {
        let weights = rewritten(&CURRENT, variance_penalty);
        for token in 0..8 {
            let at = |change: f32| {
                let mut current = CURRENT;
                current[token] += change;
                value(&current, variance_penalty)
            };
            let slope = (at(1e-3) - at(-1e-3)) / 2e-3;
            let found = -f64::from(weights.task[token]);
            assert!((slope - found).abs() < 2e-4, "{token}: {slope} {found}");
        }
    }
}

#[test]
fn at_the_reference_a_direction_of_one_is_plain_fine_tuning() {
    let ratios = Ratios {
        clips: &[clip(0.1, 10.0, 1.0); 4],
        offsets: &OFFSETS,
        current: &REFERENCE,
        reference: &REFERENCE,
    };
    let (mut found, expected) = (weights(), weights());
    let none = Penalty { squares: 0.0, count: 8 };
    ratios.clip(&mut found, none);
    assert_eq!(found.task, expected.task);
}

#[test]
fn a_ratio_that_would_overflow_stays_finite() {
    let ratios = Ratios {
        clips: &[clip(0.1, 10.0, -1.0)],
        offsets: &[0, 1],
        current: &[-1.0],
        reference: &[-1e6],
    };
    let mut weights = TokenWeights { task: vec![1.0], kl: vec![0.0], constant: 0.0 };
    let none = Penalty { squares: 0.0, count: 1 };
    ratios.clip(&mut weights, none);
    assert!(weights.task[0].is_finite() && weights.task[0] < -1e20);
    assert!(weights.constant.is_finite());
}
