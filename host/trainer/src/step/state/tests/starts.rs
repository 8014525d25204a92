//! What an adapter starts from, over the steps.

use host_contract::{Anchor, AnchorTarget, Ema};
use host_model::lora::Init;

use super::holds::pulls_back;
use super::*;

fn pissa() -> Bench {
    let mut bench = Bench::new(4, may(Actuator::EMA | Actuator::ANCHOR));
    bench.config.weight_decay = 0.1;
    bench.shape.init = Init::Pissa;
    bench
}

/// Decay, averages, a pull to the reference and trials are for what is trained.
#[test]
fn half_of_every_rank_stays_what_it_was() {
    let mut bench = pissa();
    bench.needs[0].trial_scales = vec![1.0];
    bench.alone(|mut state| {
        let before = state.parameters.clone();
        let drift = |state: &State| {
            let weights = &state.spec.context.model.decoder.weights;
            crate::parameters::distance::update_norm(state.spec.adapter, weights).expect("computed")
        };
        let start = drift(&state);
        for number in 0..4 {
            let asked = |samples: &[&Sample]| Regularization {
                ema: Some(Ema { decay: 0.5, in_path: true }),
                anchor: Some(Anchor { target: AnchorTarget::Reference, strength: 0.1 }),
                ..plain(samples.len())
            };
            step(&mut state, number, asked);
            let mut held = before.clone();
            state.layout.hold(&state.parameters, &mut held);
            assert!(held.iter().zip(&before).all(|(x, y)| x.to_bits() == y.to_bits()), "{number}");
            let mut gradient = state.gradient.clone();
            state.layout.hold_gradient(&mut gradient);
            assert_eq!(gradient, state.gradient);
        }
        assert!(norm(&state.gradient) > 0.0 && drift(&state) > 10.0 * start, "{start}");
        let (mut moved, mut count) = (0, 0);
        for pair in state.layout.pairs() {
            let half = pair.a.len() / 2;
            for at in pair.a.clone().take(half) {
                moved += usize::from(state.parameters[at] != before[at]);
                count += 1;
            }
        }
        assert!(moved > count * 9 / 10, "{moved} of {count}");
    });
}

#[test]
fn magnitudes_are_pulled_to_the_lengths_of_the_reference() {
    let mut bench = Bench::new(4, may(Actuator::ANCHOR));
    bench.shape.magnitudes = true;
    let pulling = |strength: f64| {
        move |samples: &[&Sample]| Regularization {
            anchor: Some(Anchor { target: AnchorTarget::Reference, strength }),
            ..Regularization::weights(vec![0.0; samples.len()], vec![0.0; samples.len()])
        }
    };
    bench.alone(|mut state| {
        for number in 0..4 {
            step(&mut state, number, |samples| plain(samples.len()));
        }
        pulls_back(&mut state, &pulling, 2e-2);
    });
}
