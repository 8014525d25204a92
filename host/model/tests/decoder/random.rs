//! Tiny models of every family with seeded weights.

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};
use host_model::config::{Activation, LogitFinish, NormPlacement, QkNorm, Rope, Scales};
use host_model::families::{
    Gemma2, Gemma3, Granite, Llama, Mistral, Olmo2, Phi3, Qwen2, Qwen3, SmolLm3,
};
use host_model::{
    Config, Decoder, Kernels, LayerWeights, Linear, Lora, LoraConfig, Matrix, Packed, RopeScaling,
    Target, Weights,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

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

    pub fn tokens(&mut self, count: usize, vocabulary: usize) -> Vec<u32> {
        (0..count).map(|_| self.0.random_range(0..vocabulary as u32)).collect()
    }
}

pub fn llama() -> Config {
    Config { max_position: 512, ..Llama::sized(97, [48, 80], 3, [6, 2]) }
}

pub fn llama3() -> Config {
    let mut config = llama();
    config.tie_embeddings = false;
    config.rope.scaling = RopeScaling::Llama3 {
        factor: 8.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_position: 64,
    };
    config
}

pub fn yarn() -> Config {
    let mut config = llama();
    config.rope.scaling = RopeScaling::Yarn {
        factor: 4.0,
        original_max_position: 64,
        attention_factor: 1.14,
        beta_fast: 32.0,
        beta_slow: 1.0,
        truncate: true,
    };
    config
}

/// Most sequences of the tests are longer than its original context.
pub fn dynamic() -> Config {
    let mut config = llama();
    config.rope.scaling = RopeScaling::Dynamic { factor: 4.0, original_max_position: 6 };
    config
}

pub fn mistral() -> Config {
    Config { family: &Mistral, sliding_window: Some(7), ..llama() }
}

pub fn qwen2() -> Config {
    Config { family: &Qwen2, qkv_bias: true, ..llama() }
}

pub fn qwen3() -> Config {
    Config { family: &Qwen3, head_dim: 16, qk_norm: QkNorm::Head, ..llama() }
}

pub fn phi3() -> Config {
    Config { family: &Phi3, tie_embeddings: false, partial_rotary_factor: 0.75, ..llama() }
}

pub fn gemma2() -> Config {
    Config {
        family: &Gemma2,
        head_dim: 16,
        activation: Activation::GeluTanh,
        norms: NormPlacement::Around,
        norm_offset: 1.0,
        scales: Scales { embedding: 48f64.sqrt(), attention: Some(0.3), residual: 1.0 },
        // Near enough to the scores and logits of random weights to bend them.
        attention_cap: Some(2.0),
        logits: LogitFinish { divisor: 1.0, cap: Some(3.0) },
        sliding_window: Some(7),
        window_layers: Some(vec![true, false, true]),
        ..llama()
    }
}

pub fn gemma3() -> Config {
    Config {
        family: &Gemma3,
        qk_norm: QkNorm::Head,
        attention_cap: None,
        logits: LogitFinish::default(),
        rope: Rope { theta: 1e6, scaling: RopeScaling::Linear { factor: 8.0 } },
        local_rope: Some(Rope { theta: 1e4, scaling: RopeScaling::None }),
        ..gemma2()
    }
}

pub fn olmo2() -> Config {
    Config {
        family: &Olmo2,
        norms: NormPlacement::After,
        qk_norm: QkNorm::Whole,
        tie_embeddings: false,
        ..llama()
    }
}

pub fn smollm3() -> Config {
    Config { family: &SmolLm3, rotated_layers: Some(vec![true, false, true]), ..llama() }
}

pub fn granite() -> Config {
    Config {
        family: &Granite,
        scales: Scales { embedding: 3.0, attention: Some(0.25), residual: 0.4 },
        logits: LogitFinish { divisor: 2.5, cap: None },
        ..llama()
    }
}

/// Every bias, a window in the upper layers only, heads of their own keys.
pub fn mixed() -> Config {
    Config {
        qkv_bias: true,
        o_bias: true,
        mlp_bias: true,
        num_kv_heads: 6,
        sliding_window: Some(5),
        window_layers: Some(vec![false, true, true]),
        ..llama()
    }
}

pub fn families() -> Vec<(&'static str, Config)> {
    vec![
        ("llama", llama()),
        ("llama3", llama3()),
        ("yarn", yarn()),
        ("dynamic", dynamic()),
        ("mistral", mistral()),
        ("qwen2", qwen2()),
        ("qwen3", qwen3()),
        ("phi3", phi3()),
        ("gemma2", gemma2()),
        ("gemma3", gemma3()),
        ("olmo2", olmo2()),
        ("smollm3", smollm3()),
        ("granite", granite()),
        ("mixed", mixed()),
    ]
}

pub fn weights(config: &Config, seed: u64) -> Weights {
    let mut dice = Dice::new(seed);
    let hidden = config.hidden_size;
    let layers = (0..config.num_layers)
        .map(|_| {
            let mut linear = |target: Target, bias: bool| {
                let (out, input) = config.shape(target);
                Linear {
                    weight: dice.tensor(&[out, input], (3.0 / input as f32).sqrt()).into(),
                    bias: bias.then(|| dice.tensor(&[out], 0.5)),
                }
            };
            let q = linear(Target::Q, config.qkv_bias);
            let k = linear(Target::K, config.qkv_bias);
            let v = linear(Target::V, config.qkv_bias);
            let o = linear(Target::O, config.o_bias);
            let gate = linear(Target::Gate, config.mlp_bias);
            let up = linear(Target::Up, config.mlp_bias);
            let down = linear(Target::Down, config.mlp_bias);
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
                gate,
                up,
                down,
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
            gate: linear(&layer.gate),
            up: linear(&layer.up),
            down: linear(&layer.down),
        })
        .collect();
    Weights {
        embed: matrix(&weights.embed),
        layers,
        final_norm: change(&weights.final_norm),
        head: weights.head.as_ref().map(matrix),
    }
}

/// An adapter on every target whose B is not zero.
pub fn adapter(config: &Config, targets: &[Target]) -> Lora {
    let lora = Lora::new(
        config,
        LoraConfig { rank: 5, alpha: 10.0, targets: targets.to_vec() },
        7,
        &Device::Cpu,
    )
    .unwrap();
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
pub fn named(config: &Config, weights: &Weights) -> HashMap<String, Tensor> {
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
                .map(|part| layer.linear(*part).weight.tensor().unwrap())
                .collect();
            put(name(module.path), &Tensor::cat(&parts, 0).unwrap());
        }
        let linears = [
            ("self_attn.q_proj", &layer.q),
            ("self_attn.k_proj", &layer.k),
            ("self_attn.v_proj", &layer.v),
            ("self_attn.o_proj", &layer.o),
            ("mlp.gate_proj", &layer.gate),
            ("mlp.up_proj", &layer.up),
            ("mlp.down_proj", &layer.down),
        ];
        for (part, linear) in linears {
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
