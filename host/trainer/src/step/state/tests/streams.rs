//! Task and alignment data, mixed by a share, and the switch from one to the other.

use host_contract::{Anchor, AnchorTarget};

use super::*;

#[test]
fn a_share_decides_over_the_next_step() {
    let bench = Bench::new(4, may(Actuator::ALIGNMENT_SHARE));
    bench.alone(|mut state| {
        let mut found = Vec::new();
        for (number, share) in [0.5, 1.0, 0.0, 0.0].into_iter().enumerate() {
            let record = step(&mut state, number as u64, sharing(share));
            found.push((record.samples, record.alignment_samples));
        }
        assert_eq!(found, [(4, 0), (4, 2), (4, 4), (4, 0)]);
    });
}

#[test]
fn without_a_policy_that_mixes_the_plan_is_what_it_was() {
    for needs in [Needs::new(), may(Actuator::ANCHOR)] {
        let bench = Bench::new(4, needs);
        bench.alone(|mut state| {
            for number in 0..5 {
                let batch = state.next_batch(number).expect("read");
                assert_eq!(batch, bench.planned(number));
            }
        });
    }
}

#[test]
fn the_switch_is_where_the_share_last_changed_and_pulls() {
    let bench = Bench::new(2, may(Actuator::ALIGNMENT_SHARE | Actuator::ANCHOR));
    fn switch_of<'s>(state: &'s State<'_>) -> Option<&'s [f32]> {
        let mut kept = state.actuators.iter().flat_map(|actuator| actuator.kept());
        kept.find_map(|(name, values)| (name == "switch").then_some(values))
    }
    let pulled = |strength: f64| {
        bench.alone(|mut state| {
            let start = state.parameters.clone();
            step(&mut state, 0, sharing(0.0));
            assert_eq!(switch_of(&state), Some(&start[..]));
            step(&mut state, 1, sharing(1.0));
            let switch = state.parameters.clone();
            assert_eq!(switch_of(&state), Some(&switch[..]));
            step(&mut state, 2, sharing(1.0));
            assert_eq!(switch_of(&state), Some(&switch[..]));
            let (_, record) = descend(&mut state, 3, |samples| Regularization {
                anchor: Some(Anchor { target: AnchorTarget::LastSwitch, strength }),
                ..sharing(1.0)(samples)
            });
            let differences = state.parameters.iter().zip(&switch);
            let differences: Vec<f32> = differences.map(|(x, y)| x - y).collect();
            (state.gradient.clone(), differences, record.loss)
        })
    };
    let (free, away, loss) = pulled(0.0);
    let (held, _, held_loss) = pulled(1.0);
    assert!(norm(&away) > 0.0);
    for ((free, held), away) in free.iter().zip(&held).zip(&away) {
        assert!((held - free - away).abs() <= 1e-6 * free.abs().max(1.0));
    }
    let added = norm(&away).powi(2) / 2.0;
    assert!((held_loss - loss - added).abs() < 1e-9 * added.max(1.0));
}
