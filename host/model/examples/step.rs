//! Times one training step and greedy decoding at the shape of SmolLM2-135M,
//! with random weights: `step [SEQUENCES] [LENGTH] [STEPS]`.

use std::time::{Duration, Instant};

use candle_core::{Device, Tensor};
use host_model::{
    Architecture, Config, Decoder, HeadRows, Kernels, LayerWeights, Linear, Lora, LoraConfig,
    Packed, Rope, RopeScaling, Target, Weights,
};

fn config() -> Config {
    Config {
        architecture: Architecture::Llama,
        vocab_size: 49152,
        hidden_size: 576,
        intermediate_size: 1536,
        num_layers: 30,
        num_heads: 9,
        num_kv_heads: 3,
        head_dim: 64,
        rms_norm_eps: 1e-5,
        rope: Rope {
            theta: 100_000.0,
            scaling: RopeScaling::None,
        },
        max_position: 8192,
        tie_embeddings: true,
        qkv_bias: false,
        o_bias: false,
        mlp_bias: false,
        qk_norm: false,
        sliding_window: None,
        window_from_layer: 0,
        partial_rotary_factor: 1.0,
        bos: None,
        eos: vec![],
    }
}

fn weights(config: &Config) -> candle_core::Result<Weights> {
    let device = Device::Cpu;
    let random = |shape: (usize, usize)| Tensor::randn(0f32, 0.04, shape, &device);
    let ones = || Tensor::ones(config.hidden_size, candle_core::DType::F32, &device);
    let linear = |target: Target| -> candle_core::Result<Linear> {
        Ok(Linear {
            weight: random(target.shape(config))?,
            bias: None,
        })
    };
    let layers = (0..config.num_layers)
        .map(|_| {
            Ok(LayerWeights {
                attn_norm: ones()?,
                q: linear(Target::Q)?,
                k: linear(Target::K)?,
                v: linear(Target::V)?,
                o: linear(Target::O)?,
                q_norm: None,
                k_norm: None,
                mlp_norm: ones()?,
                gate: linear(Target::Gate)?,
                up: linear(Target::Up)?,
                down: linear(Target::Down)?,
            })
        })
        .collect::<candle_core::Result<Vec<_>>>()?;
    Ok(Weights {
        embed: random((config.vocab_size, config.hidden_size))?,
        layers,
        final_norm: ones()?,
        head: None,
    })
}

/// Seconds of the parts of one step.
#[derive(Default)]
struct Times {
    reference: Duration,
    forward: Duration,
    head: Duration,
    backward: Duration,
}

fn step(decoder: &Decoder, lora: &Lora, batch: &Packed, kl: bool) -> host_model::Result<Times> {
    let mut times = Times::default();
    // The second half of every sequence is its answer.
    let rows: Vec<u32> = batch
        .sequences()
        .flat_map(|rows| (rows.start + rows.len() / 2..rows.end).map(|row| row as u32))
        .collect();
    let labels: Vec<u32> = rows.iter().map(|row| batch.tokens[*row as usize]).collect();
    let index = Tensor::new(rows.as_slice(), &Device::Cpu)?;
    let weight = vec![1.0 / rows.len() as f32; rows.len()];
    let start = Instant::now();
    let reference = match kl {
        true => Some(
            decoder
                .forward(batch, None, &[])?
                .hidden
                .index_select(&index, 0)?,
        ),
        false => None,
    };
    times.reference = start.elapsed();
    let start = Instant::now();
    let hidden = decoder.forward(batch, Some(lora), &[])?.hidden;
    times.forward = start.elapsed();
    let start = Instant::now();
    let head = decoder.head_loss(HeadRows {
        hidden: &hidden.index_select(&index, 0)?,
        reference: reference.as_ref(),
        labels: &labels,
        task_weights: &weight,
        kl_weights: &weight,
    })?;
    times.head = start.elapsed();
    let start = Instant::now();
    let gradients = head.loss.backward()?;
    times.backward = start.elapsed();
    assert!(lora.named().all(|(_, var)| gradients.get(var).is_some()));
    Ok(times)
}

fn decode(decoder: &Decoder, lora: &Lora, sequences: usize) -> host_model::Result<f64> {
    let prompts = vec![(0..32).collect::<Vec<u32>>(); sequences];
    let (hidden, mut cache) = decoder.prefill(&Packed::from_sequences(&prompts), Some(lora))?;
    let mut hidden = hidden;
    let start = Instant::now();
    for _ in 0..16 {
        let next = decoder.logits(&hidden)?.argmax(1)?.to_vec1::<u32>()?;
        hidden = decoder.decode_step(&next, &mut cache, Some(lora))?;
    }
    Ok((16 * sequences) as f64 / start.elapsed().as_secs_f64())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |default: usize| -> Result<usize, std::num::ParseIntError> {
        arguments.next().map_or(Ok(default), |text| text.parse())
    };
    let (sequences, length, steps) = (next(4)?, next(128)?, next(3)?);
    let config = config();
    let weights = weights(&config)?;
    let decoder = Decoder::new(config.clone(), weights, Kernels::Fused)?;
    let settings = LoraConfig {
        rank: 16,
        alpha: 32.0,
        targets: Target::ALL.to_vec(),
    };
    let lora = Lora::new(&config, settings, 1, &Device::Cpu)?;
    let tokens: Vec<Vec<u32>> = (0..sequences as u32)
        .map(|s| {
            (0..length as u32)
                .map(|t| (s * 7919 + t * 104_729) % 49152)
                .collect()
        })
        .collect();
    let batch = Packed::from_sequences(&tokens);
    println!("{sequences} x {length}: reference + forward + head + backward = step");
    for kl in [false, true] {
        for _ in 0..steps {
            let start = Instant::now();
            let times = step(&decoder, &lora, &batch, kl)?;
            println!(
                "{}: {:.3} + {:.3} + {:.3} + {:.3} = {:.3} s",
                if kl { "SFT+KL" } else { "SFT   " },
                times.reference.as_secs_f64(),
                times.forward.as_secs_f64(),
                times.head.as_secs_f64(),
                times.backward.as_secs_f64(),
                start.elapsed().as_secs_f64(),
            );
        }
    }
    for sequences in [1, 4, 8, 16] {
        let rate = decode(&decoder, &lora, sequences)?;
        println!("greedy, {sequences} sequences: {rate:.0} tokens/s");
    }
    Ok(())
}
