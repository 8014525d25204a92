use host_data::{Overlong, Plan, encode_chats, parse_rows};
use host_model::{LoadOptions, Lora, Model, Source};

use super::*;
use crate::config::{RunConfig, TrainingNoise};
use crate::session::dry_run::AnchorVisit;

/// A step of one sample each, of two samples in two epochs.
fn with_walk(check: impl FnOnce(&StepPlan, &Model, u64)) {
    let embedded = Source::Embedded(host_data::demo::MODEL);
    let model = host_model::load(&embedded, &LoadOptions::default()).expect("embedded");
    let rows = ["a", "a longer prompt"].map(|prompt| {
        format!("{{\"prompt\": \"Say {prompt}.\", \"answer\": \"Sure, here is how:\"}}\n")
    });
    let rows = parse_rows("rows.jsonl".as_ref(), rows.concat().into_bytes()).expect("rows");
    let samples = encode_chats(&rows, 100, Overlong::Error, &model.tokenizer);
    let samples = samples.expect("encoded").samples;
    let answers: usize = samples.iter().map(host_data::Sample::answer_tokens).sum();
    let plan = Plan::new(samples, 1, 2.0, None, 1).expect("a plan");
    let lora = RunConfig::default().lora.resolve();
    let adapter = Lora::new(&model.config, lora, 1, model.decoder.device()).expect("an adapter");
    let walk = StepPlan::new(
        &plan,
        (&config(), &TrainingNoise::default()),
        &model.decoder,
        &adapter,
        Some(&asked()),
    );
    check(&walk, &model, answers as u64);
}

fn config() -> TrainConfig {
    TrainConfig { batch: 1, ..TrainConfig::default() }
}

fn asked() -> PolicyDemands {
    PolicyDemands {
        tap_values: 10,
        reads_current: false,
        adds_samples: false,
        references: 1,
        vectors: 0,
        subspaces: 0,
        agrees: false,
        anchors: AnchorVisit::default(),
    }
}

#[test]
fn a_walk_counts_every_step_and_every_sample_once() {
    with_walk(|walk, model, answers| {
        assert_eq!((walk.first.steps, walk.later.steps), (2, 2));
        assert_eq!(walk.first.tokens, walk.later.tokens);
        assert_eq!(walk.first.answer_tokens, answers);
        assert_eq!(walk.distinct.products, walk.first.products);
        let hidden = model.config.hidden_size as u64;
        assert_eq!(walk.distinct.bytes, 4 * (answers * hidden + 2 * 10));
        assert_eq!(walk.largest.lengths.len(), 1);
        assert!(walk.memory.expect("known").peak > 0);
        assert_eq!(walk.typical(|_| false).expect("read").len(), 1);
    });
}

#[test]
fn the_reference_is_paid_once_if_it_is_cached_and_every_time_if_not() {
    let speed = Speed {
        reference: 1.0,
        forward: 0.0,
        backward: 0.0,
        loss: 0.0,
        held_loss: 0.0,
        update: 0.0,
    };
    with_walk(|walk, _, _| {
        let epoch = walk.first.products;
        let total = |cached| Time::of(walk, &speed, &config(), Some(&asked()), cached).total;
        assert_eq!(total(u64::MAX), epoch);
        assert_eq!(total(walk.distinct.bytes / 2), 1.5 * epoch);
        assert_eq!(total(0), 2.0 * epoch);
        assert_eq!(Time::of(walk, &speed, &config(), None, 0).total, 0.0);
    });
}

#[test]
fn every_part_of_a_step_is_in_the_total() {
    let speed = Speed {
        reference: 0.0,
        forward: 1.0,
        backward: 2.0,
        loss: 3.0,
        held_loss: 5.0,
        update: 7.0,
    };
    with_walk(|walk, _, answers| {
        let (products, answers) = (2.0 * walk.first.products, 2.0 * answers as f64);
        let plain = 3.0 * products + 3.0 * answers + 4.0 * 7.0;
        let close = |found: f64, told: f64| assert!((found / told - 1.0).abs() < 1e-9);
        close(Time::of(walk, &speed, &config(), None, 0).total, plain);
        let held = Time::of(walk, &speed, &config(), Some(&asked()), 0);
        close(held.total, plain + 2.0 * answers);
        close(held.plain_step, plain / 4.0);
        let both = TrainConfig { baseline: Some(true), ..config() };
        close(Time::of(walk, &speed, &both, Some(&asked()), 0).total, 2.0 * plain + 2.0 * answers);
        // A policy that reads the model before a step's micro-batches.
        let split = TrainConfig { batch: 2, micro_batch: Some(1), ..config() };
        let reads = PolicyDemands { reads_current: true, ..asked() };
        close(
            Time::of(walk, &speed, &split, Some(&reads), 0).total,
            plain + 2.0 * answers + products,
        );
    });
}
