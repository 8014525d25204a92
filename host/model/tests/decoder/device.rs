//! The plain path on the device under test, in f32 and bf16, and the fused kernels in
//! bf16, against the fused kernels in f32 on the CPU.
//!
//! `HOST_TEST_DEVICE` is cpu, cuda or cuda:N; without it the first CUDA device is
//! taken where the build and the machine have one, else the CPU.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use host_model::{Config, Decoder, HeadRows, Kernels, Lora, Packed, TapRows, Target};

use crate::random::{self, Dice, adapter, converted, families, ragged, relative, weights};

thread_local! {
    // One per test: candle counts two handles of one card as two devices.
    static DEVICE: Device = match std::env::var("HOST_TEST_DEVICE").as_deref() {
        Ok("cpu") => Device::Cpu,
        Ok("cuda") => Device::new_cuda(0).unwrap(),
        Ok(name) => {
            let index = name.strip_prefix("cuda:").expect("cpu, cuda or cuda:N");
            Device::new_cuda(index.parse().unwrap()).unwrap()
        }
        Err(_) => Device::new_cuda(0).unwrap_or(Device::Cpu),
    };
}

fn device() -> Device {
    DEVICE.with(Device::clone)
}

/// What is tested, the number format of its weights, and the gap that this may make
/// (relative L2): twice what its rounding was measured to make, which is most in the KL
/// and the gradient.
const FORMATS: [(Kernels, DType, f64); 3] = [
    (Kernels::Plain, DType::F32, 2e-5),
    (Kernels::Plain, DType::BF16, 0.06),
    (Kernels::Fused, DType::BF16, 0.06),
];

/// The decoder under test, and the oracle with the same (rounded) weights.
fn pair(config: &Config, kernels: Kernels, dtype: DType) -> (Decoder, Decoder) {
    let rounded = converted(&weights(config, 1), dtype, &Device::Cpu);
    let place = match kernels {
        Kernels::Plain => device(),
        Kernels::Fused => Device::Cpu,
    };
    let tested = converted(&rounded, dtype, &place);
    let oracle = converted(&rounded, DType::F32, &Device::Cpu);
    (
        Decoder::new(config.clone(), tested, kernels).unwrap(),
        Decoder::new(config.clone(), oracle, Kernels::Fused).unwrap(),
    )
}

/// The same adapter where the decoder is; `alpha` scales it.
fn placed(decoder: &Decoder, lora: &Lora, alpha: f64) -> Lora {
    let tensors = lora.named().map(|(name, var)| (name.to_string(), var.as_detached_tensor()));
    let mut settings = lora.shape().clone();
    for place in settings.places.iter_mut().flatten().flatten() {
        place.alpha = alpha;
    }
    let device = decoder.device();
    Lora::from_tensors(&decoder.config, settings, tensors.collect(), device).unwrap()
}

/// All that a training step sees, as f32 on the CPU.
struct Seen(BTreeMap<&'static str, Tensor>);

fn home(tensor: &Tensor) -> Tensor {
    let tensor = tensor.detach().to_dtype(DType::F32).unwrap();
    tensor.to_device(&Device::Cpu).unwrap()
}

fn step(decoder: &Decoder, lora: &Lora, batch: &Packed) -> Seen {
    let taps = [0, 1, decoder.config.num_layers]
        .map(|layer| TapRows { layer, rows: vec![0..3, 11..12, 10..60] });
    let forward = decoder.forward(batch, Some(lora), &taps).unwrap();
    let reference = decoder.forward(batch, None, &[]).unwrap().hidden;
    let rows = batch.rows();
    let mut dice = Dice::new(3);
    let labels = dice.tokens(rows, decoder.config.vocab_size);
    let share = 1.0 / rows as f32;
    let head = decoder
        .head_loss(HeadRows {
            hidden: &forward.hidden,
            reference: Some(&reference),
            labels: &labels,
            task_weights: &vec![share; rows],
            kl_weights: &vec![0.5 * share; rows],
            subset: None,
        })
        .unwrap();
    assert_eq!(head.loss.dtype(), DType::F32);
    let log_probs = decoder.label_log_probs(&forward.hidden, &labels).unwrap();
    let logits = decoder.logits(&forward.hidden).unwrap();
    assert_eq!(logits.dtype(), DType::F32);
    let vector = |values: &[f32]| Tensor::new(values, &Device::Cpu).unwrap();
    let found = head.loss.backward().unwrap();
    let gradients = |side: &str| {
        let parts = lora.named().filter(|(name, _)| name.contains(side));
        let parts = parts.map(|(name, var)| {
            let gradient = found.get(var).unwrap();
            assert_eq!(gradient.dtype(), DType::F32, "{name}");
            home(&gradient.flatten_all().unwrap())
        });
        Tensor::cat(&parts.collect::<Vec<_>>(), 0).unwrap()
    };
    Seen(BTreeMap::from([
        ("hidden", home(&forward.hidden)),
        ("reference", home(&reference)),
        ("taps", vector(&forward.taps.concat())),
        ("logits", home(&logits)),
        ("loss", home(&head.loss)),
        ("task", vector(&head.task)),
        ("log probs", vector(&log_probs)),
        ("kl", vector(&head.kl)),
        ("gradient of A", gradients("lora_A")),
        ("gradient of B", gradients("lora_B")),
    ]))
}

impl Seen {
    /// The largest relative gap, and where.
    fn gap(&self, oracle: &Seen) -> (f64, &'static str) {
        let pairs = self.0.iter().zip(&oracle.0);
        let gaps = pairs.map(|((name, seen), (_, expected))| (relative(seen, expected), *name));
        gaps.max_by(|a, b| a.0.total_cmp(&b.0)).unwrap()
    }
}

#[test]
fn a_step_follows_the_oracle_in_every_family_and_format() {
    for (name, config) in families() {
        let lora = adapter(&config, &Target::ALL);
        let batch = ragged(&config);
        for (kernels, dtype, bound) in FORMATS {
            // Rounding may send a row to other experts, and all of that row is another one.
            let bound = if config.experts.is_some() { 2.0 * bound } else { bound };
            let (tested, oracle) = pair(&config, kernels, dtype);
            let expected = step(&oracle, &lora, &batch);
            let alpha = lora.shape().alpha;
            let seen = step(&tested, &placed(&tested, &lora, alpha), &batch);
            let (gap, place) = seen.gap(&expected);
            assert!(gap < bound, "{name} {kernels:?} {dtype:?} {place}: {gap}");
            // The bound is narrow enough to see an adapter that is half too strong.
            let wrong = step(&tested, &placed(&tested, &lora, 1.5 * alpha), &batch);
            let (gap, _) = wrong.gap(&expected);
            assert!(gap > 2.0 * bound, "{name} {dtype:?}: {gap}");
        }
    }
}

/// An adapter that moves projections by less than their rounding does so on average: sums are
/// rounded, not their parts. The effect of one is a few bits that flip, so the mean of many is told.
#[test]
fn small_adapters_have_their_whole_effect_in_every_format() {
    let mut shares: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for config in [random::llama(), random::qwen3()] {
        let mut dice = Dice::new(5);
        let batch = Packed::from_sequences(&[300, 301].map(|n| dice.tokens(n, config.vocab_size)));
        for target in Target::ALL {
            let lora = adapter(&config, &[target]);
            for (kernels, dtype, _) in FORMATS {
                let (tested, oracle) = pair(&config, kernels, dtype);
                let effect = |decoder: &Decoder, alpha: f64| {
                    let adapter = placed(decoder, &lora, alpha);
                    let hidden = |lora| home(&decoder.forward(&batch, lora, &[]).unwrap().hidden);
                    let without = hidden(None);
                    let change = (hidden(Some(&adapter)) - &without).unwrap();
                    (change, dot(&without, &without).sqrt())
                };
                let (large, size) = effect(&oracle, 1e-2);
                // A tenth of the distance between two neighbours of bf16.
                let alpha = 1e-2 * 4e-4 * size / dot(&large, &large).sqrt();
                let (expected, _) = effect(&oracle, alpha);
                let (seen, _) = effect(&tested, alpha);
                let share = dot(&seen, &expected) / dot(&expected, &expected);
                shares.entry(format!("{kernels:?} {dtype:?}")).or_default().push(share);
            }
        }
    }
    assert_eq!(shares.len(), FORMATS.len());
    for (format, shares) in shares {
        let mean = shares.iter().sum::<f64>() / shares.len() as f64;
        assert!((mean - 1.0).abs() < 0.15, "{format}: {mean} of {shares:?}");
    }
}

fn dot(one: &Tensor, other: &Tensor) -> f64 {
    let product = (one * other).unwrap().to_dtype(DType::F64).unwrap();
    product.sum_all().unwrap().to_scalar().unwrap()
}

/// Running blocks again in the backward pass changes nothing but what is kept.
#[test]
fn checkpointed_blocks_give_the_same_gradients_from_a_smaller_graph() {
    for (name, config) in families() {
        for dtype in [DType::F32, DType::BF16] {
            let (mut tested, _) = pair(&config, Kernels::Plain, dtype);
            let lora = placed(&tested, &adapter(&config, &[Target::Q, Target::Down]), 10.0);
            let batch = ragged(&config);
            let nodes = |decoder: &Decoder| {
                let hidden = decoder.forward(&batch, Some(&lora), &[]).unwrap().hidden;
                hidden.sorted_nodes().len()
            };
            let (kept, whole) = (step(&tested, &lora, &batch), nodes(&tested));
            tested.recompute = true;
            let (again, small) = (step(&tested, &lora, &batch), nodes(&tested));
            let (gap, place) = again.gap(&kept);
            assert!(gap < 1e-6, "{name} {dtype:?} {place}: {gap}");
            assert!(small * 2 < whole, "{name}: {small} of {whole} nodes");
        }
    }
}

/// Not even on the way: candle's own product makes one and keeps it to the end.
#[test]
fn no_frozen_matrix_gets_a_gradient() {
    for (name, config) in families() {
        let (tested, _) = pair(&config, Kernels::Plain, DType::BF16);
        let lora = placed(&tested, &adapter(&config, &[Target::Q, Target::Up]), 10.0);
        let batch = ragged(&config);
        let hidden = tested.forward(&batch, Some(&lora), &[]).unwrap().hidden;
        let rows = vec![0.1; batch.rows()];
        let head = tested.head_loss(HeadRows {
            hidden: &hidden,
            reference: None,
            labels: &batch.tokens,
            task_weights: &rows,
            kl_weights: &rows,
            subset: None,
        });
        let found = head.unwrap().loss.backward().unwrap();
        let frozen: Vec<[usize; 2]> = Target::ALL
            .iter()
            .map(|target| config.shape(*target))
            .chain([(config.vocab_size, config.hidden_size)])
            .flat_map(|(out, input)| [[out, input], [input, out]])
            .collect();
        assert!(found.get_ids().count() >= lora.named().count());
        for id in found.get_ids() {
            let dims = found.get_id(*id).unwrap().dims();
            assert!(frozen.iter().all(|shape| dims != shape), "{name}: {dims:?}");
        }
    }
}

/// Decoding over the cache follows the oracle's full pass, with sequences of
/// different lengths of which one leaves.
#[test]
fn decoding_follows_the_oracle_in_every_format() {
    // Keys in a cache keep the rotation of an earlier length under dynamic scaling.
    for (name, config) in families().into_iter().filter(|(name, _)| *name != "dynamic") {
        for (kernels, dtype, bound) in FORMATS {
            let (tested, oracle) = pair(&config, kernels, dtype);
            let lora = adapter(&config, &Target::ALL);
            let there = placed(&tested, &lora, lora.shape().alpha);
            let mut dice = Dice::new(21);
            let mut sequences: Vec<Vec<u32>> =
                [5, 1, 14].map(|length| dice.tokens(length, config.vocab_size)).to_vec();
            let batch = Packed::from_sequences(&sequences);
            let (mut hidden, mut cache) = tested.prefill(&batch, Some(&there)).unwrap();
            for step in 0..6 {
                let batch = Packed::from_sequences(&sequences);
                let full = oracle.forward(&batch, Some(&lora), &[]).unwrap().hidden;
                let last: Vec<u32> = batch.starts[1..].iter().map(|end| *end as u32 - 1).collect();
                let last = Tensor::new(last, &Device::Cpu).unwrap();
                let expected = full.index_select(&last, 0).unwrap();
                let gap = relative(&home(&hidden), &expected);
                assert!(gap < bound, "{name} {kernels:?} {dtype:?} step {step}: {gap}");
                assert!(!hidden.track_op(), "a graph grows while decoding");
                if step == 2 {
                    sequences.remove(1);
                    cache.retain(&[true, false, true]).unwrap();
                }
                let next = dice.tokens(sequences.len(), config.vocab_size);
                hidden = tested.decode_step(&next, &mut cache, Some(&there)).unwrap();
                for (sequence, token) in sequences.iter_mut().zip(next) {
                    sequence.push(token);
                }
            }
        }
    }
}

/// The loss is summed over more rows than one chunk holds, and read in one piece.
#[test]
fn the_head_goes_in_chunks() {
    let config = random::llama();
    for (kernels, dtype, bound) in FORMATS {
        let (tested, oracle) = pair(&config, kernels, dtype);
        let lora = adapter(&config, &[Target::V]);
        let mut dice = Dice::new(31);
        let batch = Packed::from_sequences(&[300, 301].map(|n| dice.tokens(n, config.vocab_size)));
        let seen = step(&tested, &placed(&tested, &lora, 10.0), &batch);
        let (gap, place) = seen.gap(&step(&oracle, &lora, &batch));
        assert!(gap < bound, "{kernels:?} {dtype:?} {place}: {gap}");
        assert_eq!(seen.0["kl"].elem_count(), 601);
    }
}
