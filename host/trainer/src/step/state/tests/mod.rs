//! Each stage of a step, steered by hand.

mod extra;
mod gradients;
mod holds;
mod ratios;
mod starts;
mod streams;
mod trials;

use std::borrow::Cow;

use host_contract::{Divergence, RatioClip, TokenNeeds};
use host_data::{Origin, Overlong, Plan, encode_chats, parse_rows};
use host_eval::canary::Canary;
use host_model::decoder::TokenSubset;
use host_model::lora::{Lora, LoraConfig, Target};
use host_model::{LoadOptions, Source};

use super::*;
use crate::actuators::objective;
use crate::config::{Layers, OnFault, TrainConfig, TrainingNoise};
use crate::parameters::norm;
use crate::ranks::Ranks;
use crate::step::context::RunContext;
use crate::step::micro_batch::MicroBatch;

/// What a run is made of, and what its policies may do.
struct Bench {
    context: RunContext,
    config: TrainConfig,
    needs: Vec<Needs>,
    shape: LoraConfig,
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

/// Weights, the action, and these.
fn may(actuators: Actuator) -> Needs {
    Needs { actuators, ..Needs::new() }
}

/// What a policy that wants nothing asks for.
fn plain(samples: usize) -> Regularization {
    Regularization::weights(vec![1.0; samples], vec![0.0; samples])
}

fn sharing(share: f64) -> impl Fn(&[&Sample]) -> Regularization {
    move |samples| Regularization { alignment_share: Some(share), ..plain(samples.len()) }
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
                beyond: 0.0,
            };
            samples.len()
        ]),
        ..plain(samples.len())
    }
}

fn clips() -> Needs {
    Needs { tokens: TokenNeeds::CURRENT | TokenNeeds::REFERENCE, ..may(Actuator::RATIO_CLIP) }
}

impl Bench {
    /// Steps of `batch` samples of the rows above.
    fn new(batch: usize, needs: Needs) -> Self {
        let embedded = Source::Embedded(host_data::demo::MODEL);
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
        layers.add_text(host_data::demo::DATA_CONFIG, "demo").expect("valid");
        let mut canary = layers.resolve().expect("valid").canary;
        canary.limit = 3;
        let canary = Canary::load(&canary, &model, &host_data::Reader::default()).expect("loads");
        let plan = Plan::new(samples, batch, 9.0, None, 5).expect("planned");
        Self {
            context: RunContext { canary, ..RunContext::new(model, plan) },
            config: TrainConfig {
                batch,
                warmup: 0.0,
                learning_rate: 1e-2,
                ..TrainConfig::default()
            },
            needs: vec![needs],
            shape: LoraConfig::new(2, 4.0, &[Target::Q, Target::Down]),
        }
    }

    fn adapter(&self) -> Lora {
        let (model, shape) = (&self.context.model, self.shape.clone());
        Lora::for_weights(&model.config, &model.decoder.weights, shape, 3).expect("fits")
    }

    /// The samples of a step of the plan.
    fn planned(&self, step: u64) -> Vec<Cow<'_, Sample>> {
        let plan = &self.context.plan;
        plan.samples().read_all(&plan.step(step)).expect("read")
    }

    /// Lets `work` have a state as one of some ranks.
    fn with<T>(&self, ranks: &Ranks, work: impl FnOnce(State) -> T) -> T {
        let adapter = self.adapter();
        let spec = TrainingSpec {
            context: &self.context,
            config: &self.config,
            noise: TrainingNoise::default(),
            adapter: &adapter,
            needs: &self.needs,
            policies: &[],
            on_fault: OnFault::Stop,
            require: host_contract::Guardrails::none(),
            ranks,
            evaluations: None,
        };
        work(State::new(&spec).expect("made"))
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
    let (spec, batch) = (state.spec, state.next_batch(step).expect("read"));
    let samples = host_data::borrowed(&batch);
    let shard = spec.ranks.shard(&samples, spec.config.micro_batch());
    let mine = &samples[shard.samples.clone()];
    let micro = MicroBatch::divide(mine, shard.micro_batch, state.tells_apart());
    let mut measured = state.measure(step, &samples, shard, &micro).expect("measured");
    let asked = ask(&samples);
    let mut record = StepRecord::new(step, 9, &samples, None);
    let weights = state.loss_weights(&mut measured, &micro, Some(&asked)).expect("weighed");
    state.backward(&mut measured, &micro, &weights, Some(&asked), &mut record).expect("descended");
    (asked, record)
}

fn step(state: &mut State, number: u64, ask: impl Fn(&[&Sample]) -> Regularization) -> StepRecord {
    let (asked, mut record) = descend(state, number, ask);
    assert!(state.is_finite(&mut record), "{:?}", record.not_applied);
    state.update(Some(&asked), &mut record).expect("updated");
    state.set_alignment(Some(&asked));
    record
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn distance(one: &[f32], other: &[f32]) -> f64 {
    let differences: Vec<f32> = one.iter().zip(other).map(|(x, y)| x - y).collect();
    norm(&differences)
}
