//! Gradients against central differences in double precision.

use candle_core::{DType, Device, Tensor};
use host_model::{Config, Decoder, HeadRows, Kernels, Lora, Packed, Target};

use crate::random::{self, Dice, adapter, families, flat};

fn batch(config: &Config) -> Packed {
    let mut dice = Dice::new(11);
    Packed::from_sequences(&[9, 4].map(|length| dice.tokens(length, config.vocab_size)))
}

/// Task and KL loss in the type of the decoder's weights.
fn loss(decoder: &Decoder, lora: &Lora) -> Tensor {
    let batch = batch(&decoder.config);
    let rows = batch.rows();
    let hidden = decoder.forward(&batch, Some(lora), &[]).unwrap().hidden;
    let reference = decoder.forward(&batch, None, &[]).unwrap().hidden;
    let mut dice = Dice::new(12);
    let labels = dice.tokens(rows, decoder.config.vocab_size);
    let weights =
        |dice: &mut Dice| -> Vec<f32> { dice.values(rows, 0.5).iter().map(|x| x.abs()).collect() };
    let (task, kl) = (weights(&mut dice), weights(&mut dice));
    let head = decoder.head_loss(HeadRows {
        hidden: &hidden,
        reference: Some(&reference),
        labels: &labels,
        task_weights: &task,
        kl_weights: &kl,
        subset: None,
    });
    head.unwrap().loss
}

/// The loss with candle's own operations from logits on, in double precision:
/// the head's value is only f32.
fn exact_loss(decoder: &Decoder, lora: &Lora) -> f64 {
    let batch = batch(&decoder.config);
    let rows = batch.rows();
    let log_probs = |lora: Option<&Lora>| {
        let hidden = decoder.forward(&batch, lora, &[]).unwrap().hidden;
        let logits = decoder.logits(&hidden).unwrap();
        assert_eq!(logits.dtype(), DType::F64);
        candle_nn::ops::log_softmax(&logits, 1).unwrap().to_vec2::<f64>().unwrap()
    };
    let (current, reference) = (log_probs(Some(lora)), log_probs(None));
    let mut dice = Dice::new(12);
    let labels = dice.tokens(rows, decoder.config.vocab_size);
    let (task, kl) = (dice.values(rows, 0.5), dice.values(rows, 0.5));
    let mut total = 0.0;
    for row in 0..rows {
        let divergence: f64 =
            current[row].iter().zip(&reference[row]).map(|(q, p)| p.exp() * (p - q)).sum();
        total -= f64::from(task[row].abs()) * current[row][labels[row] as usize];
        total += f64::from(kl[row].abs()) * divergence;
    }
    total
}

/// Moves the adapter along a random direction: the slope of the loss along it
/// must be the scalar product of gradient and direction.
#[test]
fn gradients_match_central_differences_in_every_family() {
    for (name, config) in families() {
        let lora = adapter(&config, &Target::ALL);
        let wide = random::double(&config);
        let fused = random::decoder(&config, Kernels::Fused);
        let wide_gradients = loss(&wide, &lora).backward().unwrap();
        let fused_gradients = loss(&fused, &lora).backward().unwrap();
        for side in ["lora_A", "lora_B"] {
            let mut dice = Dice::new(13);
            // Adapters are f32: the step is a multiple of a power of two, so
            // that moved values lose little, and is measured after rounding.
            let moves: Vec<(&str, Tensor)> = lora
                .named()
                .filter(|(tensor, _)| tensor.contains(side))
                .map(|(tensor, var)| (tensor, dice.tensor(var.dims(), 1.0)))
                .collect();
            let step = 1.0 / 4096.0;
            let (above, up) = moved(&wide, &lora, &moves, step);
            let (below, down) = moved(&wide, &lora, &moves, -step);
            let mut slopes = [0.0; 2];
            for (((tensor, _), up), down) in moves.iter().zip(up).zip(down) {
                let direction = (up - down).unwrap();
                let var = lora.get(tensor).unwrap();
                for (slope, store) in slopes.iter_mut().zip([&wide_gradients, &fused_gradients]) {
                    let gradient = flat(store.get(var).unwrap());
                    let direction = flat(&direction);
                    *slope += gradient.iter().zip(direction).map(|(g, d)| g * d).sum::<f64>();
                }
            }
            let difference = above - below;
            for (kernels, slope) in ["plain f64", "fused"].iter().zip(slopes) {
                let gap = (slope - difference).abs() / difference.abs().max(1e-3);
                assert!(gap < 2e-3, "{name} {side} {kernels}: {slope} for {difference}");
            }
        }
    }
}

/// The loss with the adapter moved, and where its tensors were (in f64).
fn moved(
    decoder: &Decoder,
    lora: &Lora,
    moves: &[(&str, Tensor)],
    step: f64,
) -> (f64, Vec<Tensor>) {
    let mut found = Vec::new();
    let mut before = Vec::new();
    for (tensor, direction) in moves {
        let var = lora.get(tensor).unwrap();
        before.push(var.as_tensor().copy().unwrap());
        let there = (var.as_tensor() + (direction * step).unwrap()).unwrap();
        var.set(&there).unwrap();
        found.push(there.to_dtype(DType::F64).unwrap());
    }
    let value = exact_loss(decoder, lora);
    for ((tensor, _), before) in moves.iter().zip(before) {
        lora.get(tensor).unwrap().set(&before).unwrap();
    }
    (value, found)
}

/// Each tensor's gradient in single precision follows that in double precision.
#[test]
fn single_precision_gradients_follow_double_precision() {
    for (name, config) in families() {
        let lora = adapter(&config, &Target::ALL);
        let wide = loss(&random::double(&config), &lora).backward().unwrap();
        let fused = random::decoder(&config, Kernels::Fused);
        let narrow = loss(&fused, &lora).backward().unwrap();
        for (tensor, var) in lora.named() {
            let gap = random::relative(narrow.get(var).unwrap(), wide.get(var).unwrap());
            assert!(gap < 1e-5, "{name} {tensor}: {gap}");
        }
    }
}

/// The seed fixes an adapter; B is zero and A within its bound.
#[test]
fn a_fresh_adapter_is_drawn_from_its_seed() {
    let config = random::llama();
    let make = |seed: u64, targets: &[Target]| {
        let settings = host_model::LoraConfig::new(4, 8.0, targets);
        Lora::new(&config, settings, seed, &Device::Cpu).unwrap()
    };
    let (all, again, other) =
        (make(1, &Target::ALL), make(1, &[Target::Down]), make(2, &Target::ALL));
    for (name, var) in again.named() {
        let values = flat(var);
        assert_eq!(values, flat(all.get(name).unwrap()));
        if name.contains("lora_A") {
            assert_ne!(values, flat(other.get(name).unwrap()));
            let bound = 1.0 / (config.intermediate_size as f64).sqrt();
            assert!(values.iter().all(|x| x.abs() <= bound));
            assert!(values.iter().any(|x| x.abs() > bound * 0.9));
        } else {
            assert!(values.iter().all(|x| *x == 0.0));
        }
    }
    assert_eq!(all.named().count(), 2 * 7 * config.num_layers);
}
