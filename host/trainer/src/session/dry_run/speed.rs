//! How fast this machine is, now, with this model: every part of a step, timed.

use std::time::Instant;

use candle_core::Tensor;
use host_data::{Sample, pack};
use host_model::Config;
use host_model::decoder::{Decoder, HeadRows};
use host_model::lora::Lora;

use crate::config::{TrainConfig, TrainingNoise};
use crate::error::Result;
use crate::parameters::Layout;
use crate::parameters::optimizer::AdamW;
use crate::step::micro_batch::MicroBatch;

/// Timed passes; one more goes before them, for pages and caches.
const PASSES: usize = 3;

/// Seconds per product of a pass through the blocks, per answer token of the loss, and
/// of an update.
#[derive(Debug, Clone, Copy)]
pub struct Speed {
    pub reference: f64,
    pub forward: f64,
    pub backward: f64,
    pub loss: f64,
    pub held_loss: f64,
    pub update: f64,
}

/// Products of a pass through the blocks for one sequence: linear layers and attention.
pub fn products(config: &Config, length: usize) -> f64 {
    let (hidden, q, kv) = (config.hidden_size, config.q_size(), config.kv_size());
    // Scores and mixing over the half below the diagonal.
    let attention = length * q;
    let layer = |layer: usize| {
        let router = config.experts(layer).map_or(0, |experts| experts.count);
        let inner = 3 * config.inner_size(layer) + router;
        hidden * (2 * q + 2 * kv + inner) + attention
    };
    (length * (0..config.num_layers).map(layer).sum::<usize>()) as f64
}

/// Times the parts of a step on some samples.
pub fn measure(
    decoder: &Decoder,
    adapter: &Lora,
    (config, noise): (&TrainConfig, &TrainingNoise),
    samples: &[&Sample],
) -> Result<Speed> {
    let batch = MicroBatch::new(samples).noisy(noise, 0);
    let packed = pack(samples);
    let rows = Tensor::new(packed.rows.as_slice(), decoder.device())?;
    let weights = vec![1.0 / packed.rows.len() as f32; packed.rows.len()];
    let lengths = samples.iter().map(|sample| sample.tokens.len());
    let work: f64 = lengths.map(|length| products(&decoder.config, length)).sum();
    let answers = packed.rows.len() as f64;
    let mut seconds: [Vec<f64>; 5] = Default::default();
    for _ in 0..=PASSES {
        let mut clock = Instant::now();
        let mut parts = seconds.iter_mut();
        let mut lap = || {
            if let Some(part) = parts.next() {
                part.push(clock.elapsed().as_secs_f64());
            }
            clock = Instant::now();
        };
        let reference = decoder.infer(&packed.packed, None, &[])?.hidden;
        lap();
        let forward = batch.forward(decoder, adapter, &[])?;
        lap();
        let reference = reference.index_select(&rows, 0)?;
        let hidden = batch.answer_rows(&forward)?;
        let loss = |reference, kl_weights: &[f32]| {
            decoder.head_loss(HeadRows {
                hidden: &hidden,
                reference,
                labels: &packed.labels,
                task_weights: &weights,
                kl_weights,
                subset: None,
            })
        };
        let plain = loss(None, &vec![0.0; weights.len()])?;
        lap();
        drop(loss(Some(&reference), &weights)?);
        lap();
        drop(plain.loss.backward()?);
        lap();
    }
    let [reference, forward, loss, held_loss, backward] = seconds.map(median);
    Ok(Speed {
        reference: reference / work,
        forward: forward / work,
        backward: backward / work,
        loss: loss / answers,
        held_loss: held_loss / answers,
        update: update(adapter, config)?,
    })
}

/// Of all passes but the first.
fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.remove(0);
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

/// An update that changes nothing.
fn update(adapter: &Lora, config: &TrainConfig) -> Result<f64> {
    let layout = Layout::new(adapter);
    let mut parameters = layout.read()?;
    let gradient = vec![0.0; layout.len()];
    let mut optimizer = AdamW::new(config.adamw(), layout.len());
    let mut seconds = Vec::new();
    for _ in 0..=PASSES {
        let clock = Instant::now();
        optimizer.step(&mut parameters, &gradient, 0.0);
        layout.write(&parameters)?;
        seconds.push(clock.elapsed().as_secs_f64());
    }
    Ok(median(seconds))
}
