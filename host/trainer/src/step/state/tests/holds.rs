//! What holds a model beside its batch: safety anchors, the alignment subspace, blocks that are
//! frozen; and the agreement of samples with the alignment gradient.

use candle_core::{Device, Tensor};
use host_contract::{AnchorDivergence, AnchorNeed};

use super::*;
use crate::actuators::adapter_projection::Subspaces;
use crate::actuators::safety_anchors::{AnchorPrompt, AnchorPrompts};
use crate::ranks::threads;
use crate::step::Base;

/// Two anchors a visit, of four.
fn anchored(divergence: AnchorDivergence) -> Bench {
    let need = AnchorNeed { harmful: 1, harmless: 1, answer_tokens: 4, divergence };
    let needs = Needs { anchors: Some(need), ..may(Actuator::SAFETY_ANCHORS) };
    let mut bench = Bench::new(4, needs);
    let samples = bench.context.plan.samples();
    let samples = samples.read_all(&samples.iter().collect::<Vec<_>>()).expect("read");
    let anchor = |sample: &Sample| AnchorPrompt {
        tokens: sample.tokens[..sample.prompt_len + need.tokens()].to_vec(),
        prompt: sample.prompt_len,
    };
    let of = |all: &[usize]| all.iter().map(|i| anchor(&samples[*i])).collect();
    let prompts = AnchorPrompts { need, harmful: of(&[4, 5]), harmless: of(&[0, 2]) };
    bench.context.anchors = Some(prompts.into());
    bench
}

const BOTH: [AnchorDivergence; 2] = [AnchorDivergence::ForwardKl, AnchorDivergence::HiddenDistance];

/// Nothing is learned from the batch; the anchors alone.
fn hold(weight: f64) -> impl Fn(&[&Sample]) -> Regularization {
    move |samples| Regularization {
        anchor_weight: Some(weight),
        ..Regularization::weights(vec![0.0; samples.len()], vec![0.0; samples.len()])
    }
}

fn holding(weight: f64) -> impl Fn(&[&Sample]) -> Regularization {
    move |samples| Regularization { anchor_weight: Some(weight), ..plain(samples.len()) }
}

/// Largest difference of a gradient to the slope of the loss along some directions, as a share.
fn worst_slope(state: &mut State, ask: &dyn Fn(&[&Sample]) -> Regularization) -> f64 {
    let number = state.anchors.as_ref().map_or(0, |anchors| anchors.visits);
    let (_, _) = descend(state, 1, ask);
    let gradient = state.gradient.clone();
    let at = state.parameters.clone();
    let mut loss = |moved: &[f32]| {
        state.layout.write(moved).expect("written");
        state.anchors.iter_mut().for_each(|anchors| anchors.visits = number);
        descend(state, 1, ask).1.loss
    };
    let mut worst: f64 = 0.0;
    for direction in 0..3 {
        let along: Vec<f32> = (0..at.len())
            .map(|i| ((i * 7 + direction * 31) as f32).sin() * gradient[i].abs().sqrt())
            .collect();
        let size = norm(&along);
        let e = 2e-2 / size;
        let moved = |sign: f64| -> Vec<f32> {
            let pairs = at.iter().zip(&along);
            pairs.map(|(x, d)| (f64::from(*x) + sign * e * f64::from(*d)) as f32).collect()
        };
        let slope = (loss(&moved(1.0)) - loss(&moved(-1.0))) / (2.0 * e);
        let pairs = gradient.iter().zip(&along);
        let expected: f64 = pairs.map(|(g, d)| f64::from(*g) * f64::from(*d)).sum();
        worst = worst.max((slope - expected).abs() / (norm(&gradient) * size));
    }
    state.layout.write(&at).expect("written");
    worst
}

#[test]
fn the_gradient_of_the_anchors_is_the_slope_of_their_loss() {
    for divergence in BOTH {
        anchored(divergence).alone(|mut state| {
            // At the reference both divergences have their least value, 0.
            let (_, record) = descend(&mut state, 0, hold(1.0));
            assert!(record.loss.abs() < 1e-6, "{record:?}");
            assert!(norm(&state.gradient) < 1e-4);
            for number in 0..4 {
                step(&mut state, number, |samples| plain(samples.len()));
            }
            let worst = worst_slope(&mut state, &hold(2.0));
            assert!(worst < 2e-2, "{divergence:?}: {worst}");
        });
    }
}

/// With the last micro-batch, and in a pass of their own where gradients are told apart.
#[test]
fn anchors_beside_the_samples_give_the_gradient_of_their_own_pass() {
    let cases = BOTH.into_iter().flat_map(|one| [(one, None), (one, Some(3))]);
    for (divergence, micro_batch) in cases {
        let gradient = |apart: bool| {
            let mut bench = anchored(divergence);
            bench.config.micro_batch = micro_batch;
            bench.needs[0].gradient_conflict = apart;
            bench.alone(|mut state| {
                let samples = bench.planned(4);
                let batch = host_data::borrowed(&samples);
                let last = MicroBatch::new(&batch[micro_batch.unwrap_or(0)..]);
                let visit = state.anchors.as_ref().map(|all| all.next(state.spec, 3.0));
                assert_eq!(
                    visit.map(|visit| visit.fits_beside(&last)),
                    Some(micro_batch.is_none())
                );
                for number in 0..4 {
                    step(&mut state, number, |samples| plain(samples.len()));
                }
                let (_, record) = descend(&mut state, 4, holding(3.0));
                let seen = state.anchors.and_then(|anchors| anchors.seen).expect("visited");
                (state.gradient, record.loss, seen.divergence)
            })
        };
        let (together, apart) = (gradient(false), gradient(true));
        assert!(distance(&together.0, &apart.0) < 1e-4 * norm(&apart.0));
        assert!((together.1 - apart.1).abs() < 1e-5, "{} {}", together.1, apart.1);
        for (one, other) in together.2.iter().zip(&apart.2) {
            assert!(*one > 0.0 && (one - other).abs() < 1e-5, "{one} {other}");
        }
    }
}

#[test]
fn anchors_hold_the_model_where_the_batch_pulls_it_away() {
    for divergence in BOTH {
        let moved = |weight: f64| {
            anchored(divergence).alone(|mut state| {
                for number in 0..8 {
                    step(&mut state, number, holding(weight));
                }
                let seen = state.anchors.and_then(|anchors| anchors.seen).expect("visited");
                assert_eq!((seen.step, seen.harmful), (7, vec![true, false]));
                seen.divergence.iter().sum::<f64>()
            })
        };
        // A weight too small to matter still visits.
        let (free, held) = (moved(1e-9), moved(20.0));
        assert!(held < free / 3.0, "{divergence:?}: {held} {free}");
    }
}

#[test]
fn a_step_without_a_weight_visits_none_and_the_batch_is_what_it_was() {
    let bench = anchored(AnchorDivergence::ForwardKl);
    let parameters = |weight: Option<f64>| {
        bench.alone(|mut state| {
            let record = step(&mut state, 0, |samples| Regularization {
                anchor_weight: weight,
                ..plain(samples.len())
            });
            let visits = state.anchors.as_ref().map(|anchors| anchors.visits);
            (visits, record.anchor_tokens > 0, bits(&state.parameters))
        })
    };
    let (none, zero) = (parameters(None), parameters(Some(0.0)));
    assert_eq!(none, zero);
    assert_eq!((none.0, none.1), (Some(0), false));
    let visited = parameters(Some(1.0));
    assert_eq!((visited.0, visited.1), (Some(1), true));
}

/// Of two anchors each of two ranks has one, as two micro-batches; of four, two have none.
#[test]
fn several_ranks_visit_what_one_visits() {
    for (divergence, size) in BOTH.into_iter().flat_map(|one| [(one, 2), (one, 4)]) {
        let mut bench = anchored(divergence);
        let train = |mut state: State| {
            let steps = (0..3).map(|number| step(&mut state, number, holding(1.0)).loss);
            (steps.collect::<Vec<f64>>(), bits(&state.parameters))
        };
        bench.config.micro_batch = Some(2);
        let alone = bench.alone(train);
        bench.config.micro_batch = None;
        let all = threads::run(size, |ranks| {
            let result = bench.with(&ranks, train);
            ranks.end(Ok(result)).expect("trained")
        });
        assert!(all.iter().all(|one| *one == all[0]));
        for (one, other) in alone.0.iter().zip(&all[0].0) {
            assert!((one - other).abs() < 1e-4, "{one} {other}");
        }
    }
}

/// By a step along the alignment gradient as by the inner product of the two gradients.
#[test]
fn the_agreement_of_a_sample_is_the_inner_product_of_its_gradient() {
    let bench = Bench::new(6, Needs { gradient_agreement: true, ..Needs::new() });
    bench.alone(|mut state| {
        assert!(state.direction.as_ref().is_some_and(Vec::is_empty));
        step(&mut state, 0, |samples| plain(samples.len()));
        let direction = state.direction.clone().expect("kept");
        assert!((norm(&direction) - 1.0).abs() < 1e-4);
        let batch = state.next_batch(1).expect("read");
        let samples = host_data::borrowed(&batch);
        let shard = state.spec.ranks.shard(&samples, 6);
        let micro = MicroBatch::divide(&samples, 6, true);
        let measured = state.measure(1, &samples, shard, &micro).expect("measured");
        let found = measured.context.gradient_agreement.clone().expect("measured");
        let mut largest: f64 = 0.0;
        for (sample, found) in samples.iter().zip(&found) {
            let alone = [*sample];
            let batch = MicroBatch::new(&alone);
            let decoder = &bench.context.model.decoder;
            let forward = batch.forward(decoder, state.spec.adapter, &[]).expect("forward");
            let offsets = [0, sample.answer_tokens() as u32];
            let weights = objective::plain(&offsets, bench.config.loss);
            let hidden = batch.answer_rows(&forward).expect("rows");
            let head = batch.head(decoder, &hidden, None, &weights, None).expect("a loss");
            let mut gradient = vec![0.0; state.layout.len()];
            let grads = head.loss.backward().expect("back");
            state.layout.accumulate(&grads, &mut gradient, 1).expect("whole");
            let pairs = gradient.iter().zip(&direction);
            let expected: f64 = pairs.map(|(g, u)| f64::from(*g) * f64::from(*u)).sum();
            assert!((found - expected).abs() < 0.05 * norm(&gradient), "{found} {expected}");
            largest = largest.max(found.abs());
        }
        assert!(largest > 0.02, "{found:?}");
        // What refuses agrees with the alignment data, and what complies does not.
        let of = |origin| {
            let both = samples.iter().zip(&found);
            both.filter(|(sample, _)| sample.origin == origin).map(|(_, found)| *found).sum::<f64>()
        };
        assert!(of(Origin::Alignment) > of(Origin::Task));
    });
}

#[test]
fn a_frozen_block_stays_and_a_slowed_one_moves_less() {
    let bench = Bench::new(4, may(Actuator::LAYER_SCALE));
    let blocks = bench.context.model.config.num_layers;
    let after = |scales: Option<Vec<f64>>| {
        bench.alone(|mut state| {
            let before = state.parameters.clone();
            step(&mut state, 0, |samples| Regularization {
                layer_scale: scales.clone(),
                ..plain(samples.len())
            });
            let moved = |block: usize| {
                let ranges = state.layout.layers().filter(|(layer, _)| *layer == block);
                ranges
                    .map(|(_, range)| distance(&before[range.clone()], &state.parameters[range]))
                    .sum::<f64>()
            };
            (0..blocks).map(moved).collect::<Vec<f64>>()
        })
    };
    let whole = after(None);
    let mut scales = vec![1.0; blocks];
    (scales[0], scales[1]) = (0.0, 0.5);
    let scaled = after(Some(scales));
    assert!(whole.iter().all(|moved| *moved > 0.0));
    assert_eq!((scaled[0], &scaled[2..]), (0.0, &whole[2..]));
    assert!((scaled[1] / whole[1] - 0.5).abs() < 1e-3, "{scaled:?} {whole:?}");
}

/// The model before an "alignment" that changed every query matrix.
fn with_base(bench: &mut Bench) {
    let weights = &bench.context.model.decoder.weights;
    let mut base = weights.clone();
    for (number, layer) in base.layers.iter_mut().enumerate() {
        let (rows, columns) = layer.q.weight.dims2().expect("a matrix");
        // Of rank 1, so that most of an update lies outside.
        let of = |i: usize| ((i / columns + number) as f32).sin() * ((i % columns) as f32).cos();
        let change: Vec<f32> = (0..rows * columns).map(of).collect();
        let change = Tensor::from_vec(change, (rows, columns), &Device::Cpu).expect("shaped");
        let before = layer.q.weight.tensor().expect("dense");
        layer.q.weight = (before + (change * 0.01).expect("scaled")).expect("sum").into();
    }
    let subspaces = Subspaces::new(weights, &base, bench.adapter().shape()).expect("differ");
    bench.context.base = Some(Base { digest: String::new(), subspaces });
}

#[test]
fn the_pull_into_the_alignment_subspace_is_the_slope_of_its_value() {
    let pulling = |strength: f64| {
        move |samples: &[&Sample]| Regularization {
            alignment_complement: Some(strength),
            ..Regularization::weights(vec![0.0; samples.len()], vec![0.0; samples.len()])
        }
    };
    let mut bench = Bench::new(4, may(Actuator::ALIGNMENT_COMPLEMENT));
    with_base(&mut bench);
    bench.alone(|mut state| {
        let (_, record) = descend(&mut state, 0, pulling(1.0));
        assert_eq!(record.loss, 0.0, "an update of zero has no part outside");
        for number in 0..4 {
            step(&mut state, number, |samples| plain(samples.len()));
        }
        pulls_back(&mut state, &pulling, 1e-2);
    });
}

/// The gradient of a pull is the slope of its value, and following it alone, the value shrinks.
pub(super) fn pulls_back<P>(state: &mut State, pulling: &impl Fn(f64) -> P, tolerance: f64)
where
    P: Fn(&[&Sample]) -> Regularization,
{
    let (_, before) = descend(state, 1, pulling(1.0));
    assert!(before.loss > 0.0);
    let worst = worst_slope(state, &pulling(3.0));
    assert!(worst < tolerance, "{worst}");
    for number in 4..12 {
        step(state, number, pulling(10.0));
    }
    let (_, after) = descend(state, 1, pulling(1.0));
    assert!(after.loss < before.loss / 2.0, "{} {}", after.loss, before.loss);
}

/// Over all tokens at temperature 1 it is the KL; over a few it pulls at those alone.
#[test]
fn safety_tokens_are_held_by_the_divergence_over_them() {
    let mut bench = Bench::new(4, Needs::new());
    let vocabulary = bench.context.model.config.vocab_size;
    let set = |ids: Vec<u32>| Some(TokenSubset::new(ids, 1.0, vocabulary).expect("a set"));
    let pull = |bench: &Bench, divergence| {
        bench.alone(|mut state| {
            for number in 0..6 {
                step(&mut state, number, |samples| plain(samples.len()));
            }
            let (zero, one) = (|n| vec![0.0; n], |n| vec![1.0; n]);
            descend(&mut state, 6, |samples| Regularization {
                divergence,
                ..Regularization::weights(zero(samples.len()), one(samples.len()))
            });
            state.gradient.clone()
        })
    };
    let kl = pull(&bench, Divergence::ForwardKl);
    bench.context.token_set = set((0..vocabulary as u32).collect());
    let whole = pull(&bench, Divergence::TokenSetKl);
    assert!(distance(&kl, &whole) < 1e-2 * norm(&kl), "{} {}", norm(&kl), norm(&whole));
    bench.context.token_set = set(vec![3, 5, 9]);
    let few = pull(&bench, Divergence::TokenSetKl);
    assert!(norm(&few) > 0.0 && distance(&kl, &few) > 0.1 * norm(&kl));
}
