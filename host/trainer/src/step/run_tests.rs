//! Steps whose numbers are not finite.

use std::path::Path;

use candle_core::Tensor;
use host_data::Plan;
use host_data::{Overlong, Sample, encode_chats, parse_rows};
use host_model::decoder::{Decoder, Kernels};
use host_model::lora::Lora;
use host_model::lora::{LoraConfig, Target};
use host_model::{LoadOptions, Model, Source};

use super::*;
use crate::config::CheckpointConfig;
use crate::config::{OnFault, TrainConfig, TrainingNoise};
use crate::error::Error;
use crate::parameters::Layout;
use crate::ranks::Ranks;
use crate::records::checkpoint::Checkpoints;
use crate::records::checkpoint::Stored;
use crate::records::observer::Silent;
use crate::records::run_dir::RunDir;
use crate::step::context::RunContext;

pub(super) fn model() -> Model {
    let embedded = Source::Embedded(host_data::demo::MODEL);
    host_model::load(&embedded, &LoadOptions::default()).expect("embedded")
}

pub(super) fn samples(model: &Model, answers: &[&str]) -> Vec<Sample> {
    let rows: String = answers
        .iter()
        .map(|answer| format!("{{\"prompt\": \"Say it.\", \"answer\": \"{answer}\"}}\n"))
        .collect();
    let rows = parse_rows("rows.jsonl".as_ref(), rows.into_bytes()).expect("rows");
    let encoded = encode_chats(&rows, 100, Overlong::Error, &model.tokenizer);
    encoded.expect("encoded").samples
}

/// The model with NaN where it looks up a token that only the last sample has.
fn broken_at(model: &Model, samples: &[Sample]) -> Decoder {
    let (last, others) = samples.split_last().expect("samples");
    let is_own = |token: &&u32| others.iter().all(|other| !other.tokens.contains(token));
    let token = last.tokens[..last.tokens.len() - 1].iter().find(is_own);
    let token = *token.expect("a token of its own") as usize;
    let mut weights = model.decoder.weights.clone();
    let mut rows: Vec<Vec<f32>> = weights.embed.tensor().expect("dense").to_vec2().expect("rows");
    rows[token].fill(f32::NAN);
    // The output head shares the matrix: keep it whole.
    weights.head = Some(weights.head_matrix().clone());
    weights.embed = Tensor::new(rows, weights.device()).expect("matrix").into();
    let mut config = (*model.config).clone();
    config.tie_embeddings = false;
    Decoder::new(config, weights, Kernels::Fused).expect("fits")
}

struct Ran {
    totals: Result<Totals>,
    metrics: Vec<serde_json::Value>,
    parameters: Vec<f32>,
    checkpoints: Vec<Stored>,
}

/// Trains plainly, a sample a step.
fn train(model: &Model, decoder: Decoder, samples: Vec<Sample>, epochs: f64, at: &Path) -> Ran {
    let shape = LoraConfig::new(2, 4.0, &[Target::Q, Target::Down]);
    let adapter = Lora::new(&model.config, shape, 3, decoder.device()).expect("fits");
    let plan = Plan::new(samples, 1, epochs, None, 5).expect("planned");
    let config = TrainConfig { batch: 1, ..TrainConfig::default() };
    let context = RunContext::new(Model { decoder, ..self::model() }, plan);
    let spec = TrainingSpec {
        context: &context,
        config: &config,
        noise: TrainingNoise::default(),
        adapter: &adapter,
        needs: &[],
        policies: &[],
        on_fault: OnFault::Stop,
        require: host_contract::Guardrails::none(),
        ranks: &Ranks::alone(),
        evaluations: None,
    };
    let folder = RunDir::create(&at.join("run"), "").expect("fresh");
    let mut records = folder.records(None).expect("made");
    let mut checkpoints = Checkpoints::new(&folder, &CheckpointConfig::default());
    let ended = run(
        &spec,
        None,
        Some(RunRecorder { records: &mut records, checkpoints: &mut checkpoints }),
        &mut Silent,
        &AtomicBool::new(false),
    );
    let metrics = std::fs::read_to_string(folder.file("metrics.jsonl")).expect("written");
    let metrics = metrics.lines().map(serde_json::from_str);
    Ran {
        totals: ended.map(|ended| ended.totals),
        metrics: metrics.collect::<Result<_, _>>().expect("lines"),
        parameters: Layout::new(&adapter).read().expect("values"),
        checkpoints: checkpoints.newest_first(),
    }
}

#[test]
fn one_bad_sample_costs_its_step_and_nothing_else() {
    let (model, folder) = (model(), tempfile::tempdir().expect("temp"));
    let samples = samples(&model, &["one", "two", "three", "zebra"]);
    let decoder = broken_at(&model, &samples);
    let ran = train(&model, decoder, samples, 2.0, folder.path());
    let totals = ran.totals.expect("finished");
    assert_eq!((totals.steps, totals.not_applied), (8, 2));
    let refused = ran.metrics.iter().filter_map(|line| line.get("not_applied"));
    let refused: Vec<&str> = refused.filter_map(|why| why.as_str()).collect();
    assert_eq!(refused, ["the loss is NaN"; 2]);
    let steps = ran.metrics.iter();
    let refused = |line: &&serde_json::Value| line.get("not_applied").is_some();
    for line in steps.filter(refused) {
        assert_eq!(line["learning_rate"], 0.0);
    }
    assert!(ran.parameters.iter().all(|value| value.is_finite()));
}

#[test]
fn three_in_a_row_end_the_run_at_the_last_good_state() {
    let (model, folder) = (model(), tempfile::tempdir().expect("temp"));
    let samples = samples(&model, &["one", "zebra"]);
    let decoder = broken_at(&model, &samples);
    let bad = vec![samples[1].clone()];
    let ran = train(&model, decoder, bad, 9.0, folder.path());
    let error = ran.totals.expect_err("came apart");
    let text = error.to_string();
    assert!(
        matches!(error, Error::NotFinite { step: 2, .. }) && text.contains("step-000003"),
        "{text}"
    );
    assert_eq!(ran.metrics.len(), 3);
    let run = RunDir::open(&folder.path().join("run")).expect("there");
    let checkpoints = Checkpoints::new(&run, &CheckpointConfig::default());
    let saved = checkpoints.read(&ran.checkpoints[0]).expect("whole");
    assert_eq!(saved.tensors["parameters"], ran.parameters);
    assert_eq!((saved.progress.updates, saved.progress.not_finite), (0, 3));
}
