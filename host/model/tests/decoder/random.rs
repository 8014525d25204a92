//! Tiny models of every family with seeded weights.

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};
use host_model::{
    Config, Decoder, ExpertWeights, Experts, GatedWeights, Kernels, LayerWeights, Linear, Lora,
    LoraConfig, Matrix, MlpWeights, Packed, Target, Weights,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub use crate::configs::*;

pub struct Dice(ChaCha8Rng);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    pub fn values(&mut self, count: usize, bound: f32) -> Vec<f32> {
        (0..count).map(|_| self.0.random_range(-bound..bound)).collect()
    }

    pub fn tensor(&mut self, shape: &[usize], bound: f32) -> Tensor {
        let values = self.values(shape.iter().product(), bound);
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    /// As the files of a model have it.
    fn norm(&mut self, size: usize, config: &Config) -> Tensor {
        (self.tensor(&[size], 0.3) + (1.0 - config.norm_offset)).unwrap()
    }

    fn linear(&mut self, (out, input): (usize, usize), bias: bool) -> Linear {
        Linear {
            weight: self.tensor(&[out, input], (3.0 / input as f32).sqrt()).into(),
            bias: bias.then(|| self.tensor(&[out], 0.5)),
        }
    }

    fn experts(&mut self, experts: &Experts, hidden: usize) -> ExpertWeights {
        let inner = experts.intermediate_size;
        let mut expert = || GatedWeights {
            gate: self.linear((inner, hidden), false),
            up: self.linear((inner, hidden), false),
            down: self.linear((hidden, inner), false),
        };
        ExpertWeights {
            experts: (0..experts.count).map(|_| expert()).collect(),
            router: self.tensor(&[experts.count, hidden], 0.3),
        }
    }

    pub fn tokens(&mut self, count: usize, vocabulary: usize) -> Vec<u32> {
        (0..count).map(|_| self.0.random_range(0..vocabulary as u32)).collect()
    }
}

pub fn weights(config: &Config, seed: u64) -> Weights {
    let mut dice = Dice::new(seed);
    let hidden = config.hidden_size;
    let layers = (0..config.num_layers)
        .map(|index| {
            let mut linear = |target: Target, bias: bool| dice.linear(config.shape(target), bias);
            let q = linear(Target::Q, config.qkv_bias);
            let k = linear(Target::K, config.qkv_bias);
            let v = linear(Target::V, config.qkv_bias);
            let o = linear(Target::O, config.o_bias);
            let mlp = match config.experts(index) {
                None => MlpWeights::Dense(GatedWeights {
                    gate: linear(Target::Gate, config.mlp_bias),
                    up: linear(Target::Up, config.mlp_bias),
                    down: linear(Target::Down, config.mlp_bias),
                }),
                Some(experts) => MlpWeights::Experts(dice.experts(experts, hidden)),
            };
            let [attn_norm, attn_out_norm, mlp_norm, mlp_out_norm] =
                config.norms.names().map(|name| name.map(|_| dice.norm(hidden, config)));
            let [q_norm, k_norm] =
                [0, 1].map(|i| config.qk_norm_sizes().map(|sizes| dice.norm(sizes[i], config)));
            LayerWeights {
                attn_norm,
                attn_out_norm,
                q,
                k,
                v,
                o,
                q_norm,
                k_norm,
                mlp_norm,
                mlp_out_norm,
                mlp,
            }
        })
        .collect();
    Weights {
        embed: dice.tensor(&[config.vocab_size, hidden], 1.0).into(),
        layers,
        final_norm: dice.norm(hidden, config),
        head: (!config.tie_embeddings)
            .then(|| dice.tensor(&[config.vocab_size, hidden], 0.3).into()),
    }
}

pub fn decoder(config: &Config, kernels: Kernels) -> Decoder {
    Decoder::new(config.clone(), weights(config, 1), kernels).unwrap()
}

/// The same weights in double precision, as the oracle's oracle.
pub fn double(config: &Config) -> Decoder {
    let weights = converted(&weights(config, 1), DType::F64, &Device::Cpu);
    Decoder::new(config.clone(), weights, Kernels::Plain).unwrap()
}

/// The same weights in another number format, on a device.
pub fn converted(weights: &Weights, dtype: DType, device: &Device) -> Weights {
    let change = |tensor: &Tensor| tensor.to_dtype(dtype).unwrap().to_device(device).unwrap();
    let matrix = |matrix: &Matrix| change(&matrix.tensor().unwrap()).into();
    let linear = |linear: &Linear| Linear {
        weight: matrix(&linear.weight),
        bias: linear.bias.as_ref().map(change),
    };
    let gated = |mlp: &GatedWeights| GatedWeights {
        gate: linear(&mlp.gate),
        up: linear(&mlp.up),
        down: linear(&mlp.down),
    };
    let layers = weights
        .layers
        .iter()
        .map(|layer| LayerWeights {
            attn_norm: layer.attn_norm.as_ref().map(change),
            attn_out_norm: layer.attn_out_norm.as_ref().map(change),
            q: linear(&layer.q),
            k: linear(&layer.k),
            v: linear(&layer.v),
            o: linear(&layer.o),
            q_norm: layer.q_norm.as_ref().map(change),
            k_norm: layer.k_norm.as_ref().map(change),
            mlp_norm: layer.mlp_norm.as_ref().map(change),
            mlp_out_norm: layer.mlp_out_norm.as_ref().map(change),
            mlp: match &layer.mlp {
                MlpWeights::Dense(mlp) => MlpWeights::Dense(gated(mlp)),
                MlpWeights::Experts(mlp) => MlpWeights::Experts(ExpertWeights {
                    router: change(&mlp.router),
                    experts: mlp.experts.iter().map(gated).collect(),
                }),
            },
        })
        .collect();
    Weights {
        embed: matrix(&weights.embed),
        layers,
        final_norm: change(&weights.final_norm),
        head: weights.head.as_ref().map(matrix),
    }
}

/// An adapter on those targets that the model has, whose B is not zero.
pub fn adapter(config: &Config, targets: &[Target]) -> Lora {
    let served = config.targets();
    let targets: Vec<Target> =
        targets.iter().copied().filter(|target| served.contains(target)).collect();
    filled(config, LoraConfig::new(5, 10.0, &targets))
}

/// Likewise, of any shape.
pub fn filled(config: &Config, settings: LoraConfig) -> Lora {
    let lora = Lora::new(config, settings, 7, &Device::Cpu).unwrap();
    let mut dice = Dice::new(8);
    for (name, var) in lora.named() {
        if name.contains("lora_B") {
            var.set(&dice.tensor(var.dims(), 0.2)).unwrap();
        }
    }
    lora
}

/// Sequences of different lengths, one longer than a block of attention rows.
pub fn ragged(config: &Config) -> Packed {
    let mut dice = Dice::new(9);
    let lengths = [11, 1, 83, 11, 40];
    Packed::from_sequences(&lengths.map(|length| dice.tokens(length, config.vocab_size)))
}

/// Weights under the names candle's models load them by.
pub fn named<'w>(config: &Config, weights: &'w Weights) -> HashMap<String, Tensor> {
    let mut found = HashMap::new();
    let mut put = |name: String, tensor: &Tensor| {
        found.insert(name, tensor.clone());
    };
    put("model.embed_tokens.weight".into(), &weights.embed.tensor().unwrap());
    put("model.norm.weight".into(), &weights.final_norm);
    if let Some(head) = &weights.head {
        put("lm_head.weight".into(), &head.tensor().unwrap());
    }
    for (index, layer) in weights.layers.iter().enumerate() {
        let name = |part: &str| format!("model.layers.{index}.{part}.weight");
        for (part, norm) in config.norms.names().into_iter().zip(layer.norms()) {
            if let (Some(part), Some(norm)) = (part, norm) {
                put(name(part), norm);
            }
        }
        let modules = config.family.modules().iter();
        for module in modules.filter(|module| module.is_stacked()) {
            let parts: Vec<_> = module
                .parts
                .iter()
                .map(|part| layer.linear(*part).unwrap().weight.tensor().unwrap())
                .collect();
            put(name(module.path), &Tensor::cat(&parts, 0).unwrap());
        }
        let linears = [
            ("self_attn.q_proj", &layer.q),
            ("self_attn.k_proj", &layer.k),
            ("self_attn.v_proj", &layer.v),
            ("self_attn.o_proj", &layer.o),
        ];
        let mut linears = linears.map(|(part, linear)| (part.to_owned(), linear)).to_vec();
        let mut add = |mlp: &'w GatedWeights, names: [String; 3]| {
            linears.extend(names.into_iter().zip([&mlp.gate, &mlp.up, &mlp.down]));
        };
        match &layer.mlp {
            MlpWeights::Dense(mlp) => {
                add(mlp, ["gate", "up", "down"].map(|part| format!("mlp.{part}_proj")));
            }
            MlpWeights::Experts(mlp) => {
                let names = config.family.expert_names().unwrap();
                put(name(names.router), &mlp.router);
                for (number, expert) in mlp.experts.iter().enumerate() {
                    add(expert, [0, 1, 2].map(|part| names.module(number, part)));
                }
            }
        }
        for (part, linear) in &linears {
            put(name(part), &linear.weight.tensor().unwrap());
            if let Some(bias) = &linear.bias {
                put(format!("model.layers.{index}.{part}.bias"), bias);
            }
        }
        for (part, norm) in [("q_norm", &layer.q_norm), ("k_norm", &layer.k_norm)] {
            if let Some(norm) = norm {
                put(name(&format!("self_attn.{part}")), norm);
            }
        }
    }
    found
}

pub fn flat(tensor: &Tensor) -> Vec<f64> {
    let tensor = tensor.to_dtype(DType::F64).unwrap();
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// |a - b| / |b|
pub fn relative(a: &Tensor, b: &Tensor) -> f64 {
    let (a, b) = (flat(a), flat(b));
    assert_eq!(a.len(), b.len());
    let gap: f64 = a.iter().zip(&b).map(|(a, b)| (a - b).powi(2)).sum();
    let size: f64 = b.iter().map(|b| b * b).sum();
    (gap / size.max(1e-300)).sqrt()
}

pub fn largest_gap(a: &Tensor, b: &Tensor) -> f64 {
    let (a, b) = (flat(a), flat(b));
    assert_eq!(a.len(), b.len());
    let gaps = a.iter().zip(&b).map(|(a, b)| (a - b).abs());
    gaps.fold(0.0, f64::max)
}
