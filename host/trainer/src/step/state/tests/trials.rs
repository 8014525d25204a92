//! Updates that are tried, and ones that are undone.

use super::*;

#[test]
fn a_trial_is_the_update_it_foretells_and_leaves_no_trace() {
    let scales = vec![0.5, 2.0];
    let trying = Needs { trial_scales: scales.clone(), ..may(Actuator::LEARNING_RATE) };
    let (bench, untried) = (Bench::new(4, trying), Bench::new(4, Needs::new()));
    bench.alone(|mut state| {
        step(&mut state, 0, |samples| plain(samples.len()));
        let before = (bits(&state.parameters), state.optimizer.clone());
        let batch = state.next_batch(1).expect("read");
        let samples = host_data::borrowed(&batch);
        let shard = state.spec.ranks.shard(&samples, 4);
        let micro = MicroBatch::divide(&samples, 4, false);
        let measured = state.measure(1, &samples, shard, &micro).expect("measured");
        assert_eq!((bits(&state.parameters), state.optimizer.clone()), before);
        assert_eq!(bits(&state.layout.read().expect("values")), before.0);
        let trials = &measured.context.trials;
        assert_eq!(trials.len(), 2);
        for trial in trials {
            let margins = untried.alone(|mut state| {
                step(&mut state, 0, |samples| plain(samples.len()));
                step(&mut state, 1, |samples| Regularization {
                    learning_rate_scale: trial.scale,
                    ..plain(samples.len())
                });
                let canary = state.spec.context.canary.as_ref().expect("there");
                let margins =
                    canary.margins(&state.spec.context.model.decoder, Some(state.spec.adapter));
                margins.expect("measured")
            });
            assert_eq!(trial.margins, margins, "scale {}", trial.scale);
        }
        assert_ne!(trials[0].margins, trials[1].margins);
    });
}

#[test]
fn a_trial_changes_no_bit_of_a_run() {
    let trying = Needs { trial_scales: vec![1.0], ..Needs::new() };
    // The second half of the steps asks for a loss that is not the trial's.
    let ask = |number: u64| {
        move |samples: &[&Sample]| Regularization {
            kl_weight: vec![if number < 2 { 0.0 } else { 0.5 }; samples.len()],
            ..plain(samples.len())
        }
    };
    let run = |needs: Needs| {
        Bench::new(4, needs).alone(|mut state| {
            let records = (0..4).map(|number| step(&mut state, number, ask(number)));
            let losses: Vec<f64> = records.map(|record| record.loss).collect();
            (losses, bits(&state.parameters))
        })
    };
    assert_eq!(run(trying), run(Needs::new()));
}

#[test]
fn what_was_done_is_undone_to_the_bit() {
    let bench = Bench::new(4, may(Actuator::ROLL_BACK));
    bench.alone(|mut state| {
        step(&mut state, 0, |samples| plain(samples.len()));
        let before = (bits(&state.parameters), state.optimizer.clone());
        step(&mut state, 1, |samples| plain(samples.len()));
        assert_ne!(bits(&state.parameters), before.0);
        state.roll_back().expect("undone");
        assert_eq!((bits(&state.parameters), state.optimizer.clone()), before);
        assert_eq!(bits(&state.layout.read().expect("values")), before.0);
        // Only one step: a second time there is nothing to undo.
        state.roll_back().expect("nothing");
        assert_eq!(bits(&state.parameters), before.0);
    });
}
