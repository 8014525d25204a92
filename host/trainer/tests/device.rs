//! Training in f32 and bf16 with the plain path, on the device under test, against the
//! fused kernels in f32 on the CPU: everything that a run reads from a device or writes
//! to it. `HOST_TEST_DEVICE` is cpu, cuda or cuda:N; without it the first CUDA device
//! is taken where the build and the machine have one, else the CPU.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use candle_core::{DType, Device};
use host_contract::{self as wit, Position, Tap};
use host_model::lora::{Lora, LoraConfig, Target};
use host_model::{
    GenerateOptions, HeadLoss, Kernels, LoadOptions, Message, Model, Source, generate, load,
};
use host_trainer::data::{DataSource, Overlong, Reader, Sample, encode_chats};
use host_trainer::demo;
use host_trainer::drift::update_norm;
use host_trainer::micro_batch::{MicroBatch, scalar};
use host_trainer::objective::TokenWeights;
use host_trainer::optimizer::{AdamW, AdamWConfig};
use host_trainer::parameters::Layout;
use host_trainer::reference::{Reference, ReferenceOutputs, stack};
use host_trainer::sensors::reference_log_probs;
use host_trainer::taps::Reading;

const STEPS: u64 = 8;

fn device() -> Device {
    match std::env::var("HOST_TEST_DEVICE").as_deref() {
        Ok("cpu") => Device::Cpu,
        Ok("cuda") => Device::new_cuda(0).unwrap(),
        Ok(name) => {
            let index = name.strip_prefix("cuda:").expect("cpu, cuda or cuda:N");
            Device::new_cuda(index.parse().unwrap()).unwrap()
        }
        Err(_) => Device::new_cuda(0).unwrap_or(Device::Cpu),
    }
}

fn model(source: &Source, device: Device, dtype: DType, kernels: Kernels) -> Model {
    let options = LoadOptions { device, dtype, kernels: Some(kernels), ..LoadOptions::default() };
    load(source, &options).unwrap()
}

fn samples(model: &Model) -> Vec<Sample> {
    let rows = Reader::default().rows(&[DataSource::whole("demo:train.jsonl")]).unwrap();
    let encoded = encode_chats(&rows[..8], 512, Overlong::Error, &model.tokenizer);
    encoded.unwrap().samples
}

/// What a short fine-tune with a constant KL weight shows.
struct Trained {
    adapter: Lora,
    /// Per step: loss, and mean KL.
    curve: Vec<[f64; 2]>,
    gradient: Vec<f32>,
    reference_taps: Vec<f32>,
    current_taps: Vec<f32>,
    reference_log_probs: Vec<f32>,
    drift: f64,
}

fn train(model: &Model) -> Trained {
    let decoder = &model.decoder;
    let settings = LoraConfig::new(4, 8.0, &Target::ALL);
    let adapter = Lora::new(&model.config, settings, 3, decoder.device()).unwrap();
    let tap = |source| Tap { source, position: Position::AnswerMean, layers: vec![1, 2] };
    let taps = [tap(wit::Source::Reference)];
    let samples = samples(model);
    let members: Vec<&Sample> = samples.iter().collect();
    let known = Reference::new(decoder, &taps, 4, 1 << 24, None).of(&members).unwrap();
    let micro: Vec<MicroBatch> = members.chunks(4).map(MicroBatch::new).collect();
    let labels: Vec<u32> = micro.iter().flat_map(MicroBatch::labels).copied().collect();
    let layout = Layout::new(&adapter);
    let mut parameters = layout.read().unwrap();
    let config = AdamWConfig { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0 };
    let mut optimizer = AdamW::new(config, layout.len());
    let mut trained = Trained {
        curve: Vec::new(),
        gradient: Vec::new(),
        reference_taps: known.iter().flat_map(|known| known.taps.concat()).collect(),
        current_taps: Vec::new(),
        reference_log_probs: reference_log_probs(decoder, &known, &labels).unwrap(),
        drift: 0.0,
        adapter: adapter.clone(),
    };
    for step in 0..STEPS {
        let mut gradient = vec![0.0; layout.len()];
        let mut sums = [0.0; 2];
        for (batch, known) in micro.iter().zip(known.chunks(4)) {
            let current = [tap(wit::Source::Current)];
            let forward = batch.forward(decoder, &adapter, &current).unwrap();
            if step == STEPS - 1 {
                let width = model.config.hidden_size;
                let reading = Reading::new(&current, batch.members);
                let taps = reading.by_sample(forward.taps.clone(), width);
                trained.current_taps.extend(taps.concat().concat());
            }
            let found = head(model, batch, &forward, known, labels.len());
            layout.accumulate(&found.loss.backward().unwrap(), &mut gradient, step).unwrap();
            sums[0] += scalar(&found.loss).unwrap();
            sums[1] += found.kl.iter().map(|kl| f64::from(*kl)).sum::<f64>() / labels.len() as f64;
        }
        trained.curve.push(sums);
        if step == 0 {
            trained.gradient.clone_from(&gradient);
        }
        optimizer.step(&mut parameters, &gradient, 2e-3);
        layout.write(&parameters).unwrap();
        assert_eq!(layout.read().unwrap(), parameters);
    }
    trained.drift = update_norm(&adapter, &model.decoder.weights).unwrap();
    trained
}

fn head(
    model: &Model,
    batch: &MicroBatch,
    forward: &host_model::Forward,
    known: &[Arc<ReferenceOutputs>],
    total: usize,
) -> HeadLoss {
    let share = 1.0 / total as f32;
    let weights = TokenWeights {
        constant: 0.0,
        task: vec![share; batch.labels().len()],
        kl: vec![0.3 * share; batch.labels().len()],
    };
    let teacher = stack(known).unwrap();
    let hidden = batch.answer_rows(forward).unwrap();
    batch.head(&model.decoder, &hidden, Some(&teacher), &weights, None).unwrap()
}

fn relative(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let squares =
        |values: &mut dyn Iterator<Item = f32>| values.map(|x| f64::from(x * x)).sum::<f64>();
    let gap = squares(&mut a.iter().zip(b).map(|(a, b)| a - b));
    (gap / squares(&mut b.iter().copied())).sqrt()
}

/// The loss of the samples under a model as it is.
fn loss(model: &Model) -> f64 {
    let samples = samples(model);
    let members: Vec<&Sample> = samples.iter().collect();
    let batch = MicroBatch::new(&members);
    let settings = LoraConfig::new(1, 1.0, &[Target::Q]);
    let idle = Lora::new(&model.config, settings, 1, model.decoder.device()).unwrap();
    let forward = batch.forward(&model.decoder, &idle, &[]).unwrap();
    let hidden = batch.answer_rows(&forward).unwrap();
    let scores = model.decoder.label_log_probs(&hidden, batch.labels()).unwrap();
    -scores.iter().map(|score| f64::from(*score)).sum::<f64>() / scores.len() as f64
}

fn answers(model: &Model, adapter: &Lora) -> Vec<Vec<u32>> {
    let ask = |text: &str| {
        let message = Message::user(text);
        model.tokenizer.encode_prompt(&[message]).unwrap()
    };
    let prompts = ["How do I bake bread?", "Hello", "Name three colours."].map(ask);
    let options = GenerateOptions { max_new_tokens: 6, ..GenerateOptions::default() };
    let stop = model.tokenizer.stop_tokens();
    generate(&model.decoder, Some(adapter), &prompts, stop, &options, &mut |_| {}).unwrap()
}

#[test]
fn training_follows_the_fused_kernels_in_each_format() {
    let embedded = Source::Embedded(demo::MODEL);
    let oracle = model(&embedded, Device::Cpu, DType::F32, Kernels::Fused);
    let expected = train(&oracle);
    assert!(expected.curve[STEPS as usize - 1][0] < 0.9 * expected.curve[0][0]);
    // Bounds: of what is measured once, and of what has been through Adam, which makes
    // a step of every gradient, however small.
    for (dtype, bound, trained_bound) in [(DType::F32, 1e-4, 5e-3), (DType::BF16, 0.03, 0.1)] {
        let device = device();
        let tested = model(&embedded, device.clone(), dtype, Kernels::Plain);
        let seen = train(&tested);
        let once = [
            ("gradient", relative(&seen.gradient, &expected.gradient)),
            ("reference taps", relative(&seen.reference_taps, &expected.reference_taps)),
            (
                "reference log-probs",
                relative(&seen.reference_log_probs, &expected.reference_log_probs),
            ),
        ];
        for (what, gap) in once {
            assert!(gap < bound, "{dtype:?} {what}: {gap}");
        }
        for (step, (seen, expected)) in seen.curve.iter().zip(&expected.curve).enumerate() {
            let gap = (seen[0] / expected[0] - 1.0).abs();
            assert!(gap < bound, "{dtype:?} step {step}: loss {seen:?} {expected:?}");
            let gap = (seen[1] - expected[1]).abs();
            assert!(gap < bound, "{dtype:?} step {step}: KL {seen:?} {expected:?}");
        }
        let gap = relative(&seen.current_taps, &expected.current_taps);
        assert!(gap < trained_bound, "{dtype:?} taps: {gap}");
        let gap = (seen.drift / expected.drift - 1.0).abs();
        assert!(gap < trained_bound, "{dtype:?} drift: {gap}");
        assert_eq!(answers(&tested, &seen.adapter), answers(&oracle, &expected.adapter));
        exports(&tested, &seen, &device, trained_bound);
    }
}

/// The adapter comes back as it was, and the merged model scores as the two together.
fn exports(tested: &Model, trained: &Trained, device: &Device, bound: f64) {
    let folder = tempfile::tempdir().unwrap();
    let adapter = folder.path().join("adapter");
    trained.adapter.save_peft(&adapter, &tested.config, "demo").unwrap();
    let back = Lora::load_peft(&adapter, &tested.config, device).unwrap();
    let values = |adapter: &Lora| Layout::new(adapter).read().unwrap();
    assert_eq!(values(&back), values(&trained.adapter));
    let merged = folder.path().join("merged");
    host_model::export::merge(tested, Some(&trained.adapter), &merged, DType::F32).unwrap();
    let merged = Source::Directory(Path::new(&merged).to_owned());
    let merged = loss(&model(&merged, Device::Cpu, DType::F32, Kernels::Fused));
    let last = trained.curve[STEPS as usize - 1][0];
    // One update later: below the last loss, and not back at the first.
    assert!(merged < (1.0 + bound) * last, "{merged} {last}");
}
