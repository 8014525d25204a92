//! Alignment samples in addition to the batch.

use super::*;
use crate::ranks::threads;

fn adding(count: u32) -> impl Fn(&[&Sample]) -> Regularization {
    move |samples| Regularization { alignment_extra: Some(count), ..plain(samples.len()) }
}

#[test]
fn samples_are_added_from_the_next_step_on_until_the_number_changes() {
    let bench = Bench::new(4, may(Actuator::ALIGNMENT_EXTRA));
    bench.alone(|mut state| {
        let silent = |samples: &[&Sample]| plain(samples.len());
        let mut found: Vec<usize> = vec![step(&mut state, 0, adding(3)).samples];
        found.push(step(&mut state, 1, silent).samples);
        found.push(step(&mut state, 2, adding(0)).samples);
        found.push(step(&mut state, 3, silent).samples);
        let batch = |step| bench.context.plan.step(step).len();
        assert_eq!(found, [batch(0), batch(1) + 3, batch(2) + 3, batch(3)]);
    });
}

/// What the rest of a step holds doesn't depend on them.
#[test]
fn added_samples_come_last_and_the_batch_stays_as_it_is() {
    let together = Actuator::ALIGNMENT_EXTRA | Actuator::GRADIENT_PROJECTION;
    for actuators in [Actuator::ALIGNMENT_EXTRA, together] {
        let bench = Bench::new(4, may(actuators));
        bench.alone(|mut state| {
            state.set_alignment(Some(&adding(5)(&[])));
            for number in 0..4 {
                let mut batch = bench.planned(number);
                let samples = state.next_batch(number).expect("read");
                let (first, added) = samples.split_at(batch.len());
                if state.tells_apart() {
                    batch.sort_by_key(|sample| sample.origin);
                }
                assert_eq!(first, batch);
                assert_eq!(added.len(), 5);
                assert!(added.iter().all(|sample| sample.origin == Origin::Alignment));
            }
        });
    }
}

#[test]
fn two_ranks_make_the_same_update_with_added_samples() {
    let bench = Bench::new(3, may(Actuator::ALIGNMENT_EXTRA));
    let train = |mut state: State| {
        for number in 0..3 {
            step(&mut state, number, adding(3));
        }
        state.parameters.clone()
    };
    let alone = bench.alone(train);
    let both = threads::run(2, |ranks| {
        let parameters = bench.with(&ranks, train);
        ranks.end(Ok(parameters)).expect("trained")
    });
    assert_eq!(bits(&both[0]), bits(&both[1]));
    assert!(distance(&alone, &both[0]) < 1e-4 * norm(&alone));
}
