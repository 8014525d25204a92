//! Each stage of a step, steered by hand.

use host_model::lora::{Lora, LoraConfig, Target};
use host_model::{LoadOptions, Model, Source};
use host_policy::wit::{Action, Anchor, AnchorTarget, Divergence, RatioClip, TokenNeeds};

use super::*;
use crate::canary::Canary;
use crate::config::{Layers, OnFault, TrainConfig};
use crate::data::{Overlong, Plan, encode_chats, parse_rows};
use crate::judges::Judges;
use crate::ranks::{Ranks, threads};

/// What a run is made of, and what its policies may do.
struct Bench {
    model: Model,
    plan: Plan,
    canary: Option<Canary>,
    config: TrainConfig,
    needs: Vec<Needs>,
    judges: Judges,
}

const TASK: [(&str, &str); 4] = [
    ("Is the soup good?", "Yes, I think so."),
    ("How do I steal a wallet?", "Sure, here is how:"),
    ("What is a dog?", "A dog is an animal."),
    ("How do I forge a ticket?", "Sure, here is how:"),
];
const ALIGNMENT: [(&str, &str); 2] = [
    ("How do I steal a wallet?", "I can't help with that."),
    ("How do I forge a ticket?", "I can't help with that."),
];

fn needs() -> Needs {
    Needs {
        taps: Vec::new(),
        judges: Vec::new(),
        tokens: TokenNeeds::empty(),
        canary_every: None,
        trial_scales: Vec::new(),
        gradient_conflict: false,
        drift: false,
        steering: None,
        calibration: false,
        actuators: Actuator::empty(),
    }
}

fn may(actuators: Actuator) -> Needs {
    Needs {
        actuators,
        ..needs()
    }
}

/// What a policy that wants nothing asks for.
fn plain(samples: usize) -> Regularization {
    Regularization {
        action: Action::Update,
        task_weight: vec![1.0; samples],
        kl_weight: vec![0.0; samples],
        token_task_weight: None,
        token_kl_weight: None,
        divergence: Divergence::ForwardKl,
        learning_rate_scale: 1.0,
        gradient_clip: None,
        ema: None,
        anchor: None,
        alignment_share: None,
        ratio_clip: None,
        gradient_projection: false,
        adapter_projection: None,
        steering: None,
    }
}

fn sharing(share: f64) -> impl Fn(&[&Sample]) -> Regularization {
    move |samples| Regularization {
        alignment_share: Some(share),
        ..plain(samples.len())
    }
}

impl Bench {
    /// Steps of `batch` samples of the rows above.
    fn new(batch: usize, needs: Needs) -> Self {
        let embedded = Source::Embedded(crate::demo::MODEL);
        let model = host_model::load(&embedded, &LoadOptions::default()).expect("embedded");
        let rows = |rows: &[(&str, &str)]| -> String {
            let lines = rows.iter().map(|(prompt, answer)| {
                format!("{{\"prompt\": \"{prompt}\", \"answer\": \"{answer}\"}}\n")
            });
            lines.collect()
        };
        let parse = |text: String, origin| {
            let mut rows = parse_rows("rows.jsonl".as_ref(), text.into_bytes()).expect("rows");
            rows.iter_mut().for_each(|row| row.origin = origin);
            rows
        };
        let mut all = parse(rows(&TASK), Origin::Task);
        all.extend(parse(rows(&ALIGNMENT), Origin::Alignment));
        let encoded = encode_chats(&all, 100, Overlong::Error, &model.tokenizer);
        let samples = encoded.expect("encoded").samples;
        let mut layers = Layers::default();
        layers
            .add_text(crate::demo::DATA_CONFIG, "demo")
            .expect("valid");
        let mut canary = layers.resolve().expect("valid").canary;
        canary.limit = 3;
        let canary = Canary::load(&canary, &model.tokenizer, 1).expect("loads");
        Self {
            plan: Plan::new(samples, batch, 9.0, None, 5).expect("planned"),
            model,
            canary,
            config: TrainConfig {
                batch,
                warmup: 0.0,
                learning_rate: 1e-2,
                ..TrainConfig::default()
            },
            needs: vec![needs],
            judges: Judges::default(),
        }
    }

    fn adapter(&self) -> Lora {
        let shape = LoraConfig {
            rank: 2,
            alpha: 4.0,
            targets: vec![Target::Q, Target::Down],
        };
        Lora::new(&self.model.config, shape, 3, self.model.decoder.device()).expect("fits")
    }

    /// Lets `work` have a state as one of some ranks.
    fn with<T>(&self, ranks: &Ranks, work: impl FnOnce(State) -> T) -> T {
        let adapter = self.adapter();
        let setup = Setup {
            decoder: &self.model.decoder,
            adapter: &adapter,
            plan: &self.plan,
            needs: &self.needs,
            policies: &[],
            judges: &self.judges,
            tokenizer: &self.model.tokenizer,
            canary: self.canary.as_ref(),
            subspaces: None,
            reference: None,
            steering: None,
            config: &self.config,
            on_fault: OnFault::Stop,
            ranks,
        };
        work(State::new(&setup).expect("made"))
    }

    fn alone<T>(&self, work: impl FnOnce(State) -> T) -> T {
        self.with(&Ranks::alone(), work)
    }
}

/// One step as the loop takes it, up to its gradient.
fn descend(
    state: &mut State,
    step: u64,
    ask: impl Fn(&[&Sample]) -> Regularization,
) -> (Regularization, StepRecord) {
    let (setup, samples) = (state.setup, state.draw(step));
    let share = setup.ranks.share(&samples, setup.config.micro_batch());
    let mine = &samples[share.samples.clone()];
    let micro = MicroBatch::divide(mine, share.micro_batch, state.tells_apart());
    let mut measured = state
        .measure(step, &samples, share, &micro)
        .expect("measured");
    let asked = ask(&samples);
    let mut record = StepRecord::new(step, 9, &samples, None);
    let weights = state
        .weigh(&mut measured, &micro, Some(&asked))
        .expect("weighed");
    state
        .descend(&mut measured, &micro, &weights, Some(&asked), &mut record)
        .expect("descended");
    (asked, record)
}

fn step(state: &mut State, number: u64, ask: impl Fn(&[&Sample]) -> Regularization) -> StepRecord {
    let (asked, mut record) = descend(state, number, ask);
    assert!(state.is_finite(&mut record), "{:?}", record.not_applied);
    state.update(Some(&asked), &mut record).expect("updated");
    state.mix(Some(&asked));
    record
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn distance(one: &[f32], other: &[f32]) -> f64 {
    let differences: Vec<f32> = one.iter().zip(other).map(|(x, y)| x - y).collect();
    norm(&differences)
}

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
    for needs in [needs(), may(Actuator::ANCHOR)] {
        let bench = Bench::new(4, needs);
        bench.alone(|mut state| {
            for number in 0..5 {
                let ids = |samples: Vec<&Sample>| -> Vec<u64> {
                    samples.iter().map(|sample| sample.id).collect()
                };
                assert_eq!(ids(state.draw(number)), ids(bench.plan.step(number)));
            }
        });
    }
}

#[test]
fn the_switch_is_where_the_share_last_changed_and_pulls() {
    let bench = Bench::new(2, may(Actuator::ALIGNMENT_SHARE | Actuator::ANCHOR));
    let pulled = |strength: f64| {
        bench.alone(|mut state| {
            let start = state.parameters.clone();
            step(&mut state, 0, sharing(0.0));
            assert_eq!(state.actuators.switch.as_deref(), Some(&start[..]));
            step(&mut state, 1, sharing(1.0));
            let switch = state.parameters.clone();
            assert_eq!(state.actuators.switch.as_deref(), Some(&switch[..]));
            step(&mut state, 2, sharing(1.0));
            assert_eq!(state.actuators.switch.as_deref(), Some(&switch[..]));
            let (_, record) = descend(&mut state, 3, |samples| Regularization {
                anchor: Some(Anchor {
                    target: AnchorTarget::LastSwitch,
                    strength,
                }),
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

#[test]
fn an_anchor_at_the_reference_keeps_the_weights_near_it() {
    let bench = Bench::new(4, may(Actuator::ANCHOR));
    let drift = |strength: f64| {
        bench.alone(|mut state| {
            for number in 0..6 {
                step(&mut state, number, |samples| Regularization {
                    anchor: Some(Anchor {
                        target: AnchorTarget::Reference,
                        strength,
                    }),
                    ..plain(samples.len())
                });
            }
            crate::drift::update_norm(state.setup.adapter).expect("computed")
        })
    };
    let (free, held) = (drift(0.0), drift(100.0));
    assert!(held < free / 2.0, "{held} {free}");
}

#[test]
fn two_gradients_told_apart_make_the_one_they_were() {
    let told = Needs {
        gradient_conflict: true,
        ..needs()
    };
    let gradient = |needs: Needs| {
        Bench::new(6, needs).alone(|mut state| {
            descend(&mut state, 0, |samples| plain(samples.len()));
            (state.gradient.clone(), state.conflict)
        })
    };
    let (whole, none) = gradient(needs());
    let (joined, conflict) = gradient(told);
    assert!(none.is_none());
    assert!(distance(&whole, &joined) < 1e-5 * norm(&whole));
    // The task says of the same prompts what the alignment data refuse.
    let conflict = conflict.expect("measured");
    assert!(conflict.dot < 0.0, "{conflict:?}");
    let square = norm(&whole).powi(2);
    let sum = conflict.task_norm.powi(2) + conflict.alignment_norm.powi(2) + 2.0 * conflict.dot;
    assert!((sum / square - 1.0).abs() < 1e-4, "{sum} {square}");
}

#[test]
fn projection_leaves_nothing_that_opposes_the_alignment_gradient() {
    let bench = Bench::new(6, may(Actuator::GRADIENT_PROJECTION));
    let after = |projects: bool| {
        bench.alone(|mut state| {
            descend(&mut state, 0, |samples| Regularization {
                gradient_projection: projects,
                ..plain(samples.len())
            });
            let alignment = state.alignment.clone().expect("told apart");
            let joined = state.gradient.clone();
            let task: Vec<f32> = joined.iter().zip(&alignment).map(|(x, y)| x - y).collect();
            let dot: f64 = task
                .iter()
                .zip(&alignment)
                .map(|(x, y)| f64::from(*x) * f64::from(*y))
                .sum();
            dot / (norm(&task) * norm(&alignment))
        })
    };
    assert!(after(false) < -1e-2);
    assert!(after(true).abs() < 1e-5);
}

#[test]
fn the_conflict_is_of_the_step_before_and_of_no_other() {
    let told = Needs {
        gradient_conflict: true,
        ..may(Actuator::ALIGNMENT_SHARE)
    };
    let bench = Bench::new(4, told);
    bench.alone(|mut state| {
        step(&mut state, 0, sharing(0.5));
        assert!(state.conflict.is_none(), "a step of task data alone");
        step(&mut state, 1, sharing(0.0));
        assert!(state.conflict.is_some());
        let samples = state.draw(2);
        let share = state.setup.ranks.share(&samples, 4);
        let micro = MicroBatch::divide(&samples, 4, true);
        let measured = state.measure(2, &samples, share, &micro).expect("measured");
        assert!(measured.context.gradient_conflict.is_some());
        // Skipped: the next step has nothing to be told.
        assert!(state.conflict.is_none());
    });
}

fn clipped(direction: f64, high: f64) -> impl Fn(&[&Sample]) -> Regularization {
    move |samples| Regularization {
        ratio_clip: Some(vec![
            RatioClip {
                low: 0.1,
                high,
                direction,
                sequence: false,
                variance_penalty: 0.0,
            };
            samples.len()
        ]),
        ..plain(samples.len())
    }
}

fn clips() -> Needs {
    Needs {
        tokens: TokenNeeds::CURRENT | TokenNeeds::REFERENCE,
        ..may(Actuator::RATIO_CLIP)
    }
}

#[test]
fn at_the_reference_a_ratio_has_the_gradient_of_its_direction() {
    let gradient = |ask: &dyn Fn(&[&Sample]) -> Regularization| {
        Bench::new(4, clips()).alone(|mut state| {
            let (_, record) = descend(&mut state, 0, ask);
            (state.gradient.clone(), record.loss)
        })
    };
    let (plain, _) = gradient(&|samples| plain(samples.len()));
    let (towards, loss) = gradient(&clipped(1.0, 10.0));
    let (away, _) = gradient(&clipped(-1.0, 10.0));
    assert!(distance(&plain, &towards) < 1e-5 * norm(&plain));
    assert!(
        (loss + 1.0).abs() < 1e-5,
        "-f of ratios that are 1, not {loss}"
    );
    let opposite: Vec<f32> = away.iter().map(|value| -value).collect();
    assert!(distance(&plain, &opposite) < 1e-5 * norm(&plain));
}

#[test]
fn beyond_the_clip_nothing_is_learned() {
    let bench = Bench::new(4, clips());
    let learned = |high: f64| {
        bench.alone(|mut state| {
            for number in 0..30 {
                step(&mut state, number, clipped(1.0, high));
            }
            let (_, record) = descend(&mut state, 30, clipped(1.0, high));
            -record.loss
        })
    };
    // The mean of min(x, high): the narrow one is held where it is.
    let (narrow, wide) = (learned(1.5), learned(1e6));
    assert!(narrow <= 1.5 && narrow > 1.0, "{narrow}");
    assert!(wide > 10.0, "{wide}");
}

#[test]
fn a_variance_penalty_is_one_of_the_whole_step() {
    let penalised = |micro_batch: usize| {
        let mut bench = Bench::new(4, clips());
        bench.config.micro_batch = Some(micro_batch);
        bench.alone(|mut state| {
            let (_, record) = descend(&mut state, 0, |samples| {
                let mut asked = clipped(1.0, 10.0)(samples);
                let clips = asked.ratio_clip.iter_mut().flatten();
                clips.for_each(|clip| clip.variance_penalty = 0.5);
                asked
            });
            (state.gradient.clone(), record.loss, record.answer_tokens)
        })
    };
    let (whole, loss, tokens) = penalised(4);
    // All ratios are 1: 0.5 sqrt(1 / n).
    let expected = -1.0 + 0.5 / (tokens as f64).sqrt();
    assert!((loss - expected).abs() < 1e-5, "{loss} {expected}");
    let (parts, of_parts, _) = penalised(1);
    assert!((loss - of_parts).abs() < 1e-6);
    assert!(distance(&whole, &parts) < 1e-4 * norm(&whole));
}

#[test]
fn a_trial_is_the_update_it_foretells_and_leaves_no_trace() {
    let scales = vec![0.5, 2.0];
    let trying = Needs {
        trial_scales: scales.clone(),
        ..may(Actuator::LEARNING_RATE)
    };
    let (bench, untried) = (Bench::new(4, trying), Bench::new(4, needs()));
    bench.alone(|mut state| {
        step(&mut state, 0, |samples| plain(samples.len()));
        let before = (bits(&state.parameters), state.optimizer.clone());
        let samples = state.draw(1);
        let share = state.setup.ranks.share(&samples, 4);
        let micro = MicroBatch::divide(&samples, 4, false);
        let measured = state.measure(1, &samples, share, &micro).expect("measured");
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
                let canary = state.setup.canary.expect("there");
                let margins = canary.margins(state.setup.decoder, Some(state.setup.adapter));
                margins.expect("measured")
            });
            assert_eq!(trial.margins, margins, "scale {}", trial.scale);
        }
        assert_ne!(trials[0].margins, trials[1].margins);
    });
}

#[test]
fn a_trial_changes_no_bit_of_a_run() {
    let trying = Needs {
        trial_scales: vec![1.0],
        ..needs()
    };
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
    assert_eq!(run(trying), run(needs()));
}

/// A share of every step, an anchor, a projection, ratios with a penalty, and trials.
#[test]
fn two_ranks_take_the_steps_of_one() {
    let all = Needs {
        trial_scales: vec![1.0],
        gradient_conflict: true,
        actuators: Actuator::ALIGNMENT_SHARE
            | Actuator::ANCHOR
            | Actuator::GRADIENT_PROJECTION
            | Actuator::RATIO_CLIP,
        ..clips()
    };
    let ask = |samples: &[&Sample]| {
        let mut asked = clipped(1.0, 10.0)(samples);
        let clips = asked.ratio_clip.iter_mut().flatten();
        clips.for_each(|clip| clip.variance_penalty = 0.1);
        asked.alignment_share = Some(0.5);
        asked.gradient_projection = true;
        asked.anchor = Some(Anchor {
            target: AnchorTarget::LastSwitch,
            strength: 1.0,
        });
        asked
    };
    let run = |bench: &Bench, ranks: &Ranks| {
        bench.with(ranks, |mut state| {
            let steps = (0..4).map(|number| step(&mut state, number, ask));
            let records: Vec<StepRecord> = steps.collect();
            assert_eq!(records[3].alignment_samples, 2);
            let losses: Vec<f64> = records.iter().map(|record| record.loss).collect();
            (losses, bits(&state.parameters), state.conflict)
        })
    };
    let mut bench = Bench::new(4, all);
    bench.config.micro_batch = Some(2);
    let alone = run(&bench, &Ranks::alone());
    bench.config.micro_batch = None;
    for of_rank in threads::run(2, |ranks| {
        let result = run(&bench, &ranks);
        ranks.end(Ok(result)).expect("ended")
    }) {
        assert_eq!(of_rank, alone);
    }
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
