//! Tiny random models in the layout of real ones.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use host_model::{LayerWeights, Linear, Matrix, MlpWeights, Target};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use tokenizers::models::bpe::BPE;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, Tokenizer};

pub const HIDDEN: usize = 32;
pub const INNER: usize = 48;
pub const LAYERS: usize = 2;
pub const HEADS: usize = 4;
pub const KV_HEADS: usize = 2;
pub const HEAD_DIM: usize = 8;
/// 256 bytes and three special tokens, and a few rows that no token uses.
pub const VOCAB: usize = 264;
pub const IM_END: u32 = 258;

pub const FAMILIES: [&str; 15] = [
    "llama",
    "mistral",
    "qwen2",
    "qwen3",
    "phi3",
    "gemma",
    "gemma2",
    "gemma3_text",
    "olmo2",
    "olmo3",
    "smollm3",
    "granite",
    "granitemoehybrid",
    "mixtral",
    "qwen3_moe",
];
/// Those whose head is the embedding.
const TIED: [&str; 5] = ["qwen2", "gemma", "gemma2", "gemma3_text", "smollm3"];

pub const EXPERTS: usize = 4;
pub const EXPERTS_PER_TOKEN: usize = 2;
/// Whole blocks.
pub const EXPERT_INNER: usize = 32;

pub const CHATML: &str = "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/// A folder with a tiny model of the family.
pub fn folder(family: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), family);
    dir
}

pub fn write(dir: &Path, family: &str) {
    write_json(&dir.join("config.json"), &config(family));
    safetensors::serialize_to_file(tensors(family), None, &dir.join("model.safetensors")).unwrap();
    write_tokenizer(dir);
}

pub fn write_json(path: &Path, value: &Value) {
    std::fs::write(path, value.to_string()).unwrap();
}

pub fn write_tokenizer(dir: &Path) {
    tokenizer().save(dir.join("tokenizer.json"), false).unwrap();
    write_json(
        &dir.join("tokenizer_config.json"),
        &json!({ "eos_token": { "content": "<|im_end|>" }, "bos_token": null, "chat_template": CHATML }),
    );
}

pub fn config(family: &str) -> Value {
    let mut config = json!({
        "model_type": family,
        "vocab_size": VOCAB,
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "max_position_embeddings": 128,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": TIED.contains(&family),
        "eos_token_id": IM_END,
        "torch_dtype": "float32",
    });
    let own = match family {
        "qwen3" => json!({ "head_dim": HEAD_DIM }),
        "qwen3_moe" => json!({
            "head_dim": HEAD_DIM,
            "num_experts": EXPERTS,
            "moe_intermediate_size": EXPERT_INNER,
            "num_experts_per_tok": EXPERTS_PER_TOKEN,
            "norm_topk_prob": true,
        }),
        "mixtral" => json!({
            "num_local_experts": EXPERTS,
            "intermediate_size": EXPERT_INNER,
            "num_experts_per_tok": EXPERTS_PER_TOKEN,
        }),
        "gemma" => json!({ "head_dim": HEAD_DIM, "hidden_activation": "gelu_pytorch_tanh" }),
        "gemma2" => json!({
            "head_dim": HEAD_DIM,
            "hidden_activation": "gelu_pytorch_tanh",
            "query_pre_attn_scalar": HEAD_DIM,
            "attn_logit_softcapping": 5.0,
            "final_logit_softcapping": 8.0,
            "sliding_window": 6,
            "layer_types": ["sliding_attention", "full_attention"],
        }),
        "gemma3_text" => json!({
            "head_dim": HEAD_DIM,
            "hidden_activation": "gelu_pytorch_tanh",
            "query_pre_attn_scalar": HEAD_DIM,
            "rope_local_base_freq": 100.0,
            "sliding_window": 6,
        }),
        "olmo3" => json!({
            "sliding_window": 6,
            "rope_scaling": { "rope_type": "linear", "factor": 4.0 },
        }),
        "granite" => json!({
            "embedding_multiplier": 3.0,
            "attention_multiplier": 0.25,
            "residual_multiplier": 0.5,
            "logits_scaling": 2.0,
        }),
        "granitemoehybrid" => json!({
            "embedding_multiplier": 3.0,
            "residual_multiplier": 0.5,
            "intermediate_size": 2 * INNER,
            "shared_intermediate_size": INNER,
            "num_local_experts": 0,
            "layer_types": ["attention", "attention"],
            "position_embedding_type": "rope",
        }),
        _ => json!({}),
    };
    let fields = config.as_object_mut().unwrap();
    fields.extend(own.as_object().unwrap().clone());
    config
}

/// Random tensors under the names that the family's files use.
pub fn tensors(family: &str) -> BTreeMap<String, Tensor> {
    let mut random = ChaCha8Rng::seed_from_u64(7);
    shapes(family)
        .into_iter()
        .map(|(name, shape)| {
            let center =
                if name.contains("norm") && !family.starts_with("gemma") { 1.0 } else { 0.0 };
            let values: Vec<f32> = (0..shape.iter().product())
                .map(|_| random.random_range(-0.3f32..0.3) + center)
                .collect();
            (name, Tensor::from_vec(values, shape, &Device::Cpu).unwrap())
        })
        .collect()
}

fn shapes(family: &str) -> Vec<(String, Vec<usize>)> {
    let (q, kv) = (HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM);
    let mut shapes = vec![
        ("model.embed_tokens.weight".to_owned(), vec![VOCAB, HIDDEN]),
        ("model.norm.weight".to_owned(), vec![HIDDEN]),
    ];
    if !TIED.contains(&family) {
        shapes.push(("lm_head.weight".to_owned(), vec![VOCAB, HIDDEN]));
    }
    for layer in 0..LAYERS {
        let mut add = |name: &str, shape: &[usize]| {
            shapes.push((format!("model.layers.{layer}.{name}"), shape.to_vec()));
        };
        let norms: &[&str] = match family {
            "olmo2" | "olmo3" => &["post_attention", "post_feedforward"],
            "gemma2" | "gemma3_text" => {
                &["input", "post_attention", "pre_feedforward", "post_feedforward"]
            }
            _ => &["input", "post_attention"],
        };
        for norm in norms {
            add(&format!("{norm}_layernorm.weight"), &[HIDDEN]);
        }
        add("self_attn.o_proj.weight", &[HIDDEN, q]);
        if family == "phi3" {
            add("mlp.down_proj.weight", &[HIDDEN, INNER]);
            add("self_attn.qkv_proj.weight", &[q + 2 * kv, HIDDEN]);
            add("mlp.gate_up_proj.weight", &[2 * INNER, HIDDEN]);
            continue;
        }
        for (name, rows) in [("q", q), ("k", kv), ("v", kv)] {
            add(&format!("self_attn.{name}_proj.weight"), &[rows, HIDDEN]);
            if family == "qwen2" {
                add(&format!("self_attn.{name}_proj.bias"), &[rows]);
            }
        }
        match family {
            "granitemoehybrid" => {
                add("shared_mlp.input_linear.weight", &[2 * INNER, HIDDEN]);
                add("shared_mlp.output_linear.weight", &[HIDDEN, INNER]);
            }
            "mixtral" => {
                add("block_sparse_moe.gate.weight", &[EXPERTS, HIDDEN]);
                experts("block_sparse_moe.experts", ["w1", "w3", "w2"], &mut add);
            }
            "qwen3_moe" => {
                add("mlp.gate.weight", &[EXPERTS, HIDDEN]);
                experts("mlp.experts", ["gate_proj", "up_proj", "down_proj"], &mut add);
            }
            _ => {
                add("mlp.down_proj.weight", &[HIDDEN, INNER]);
                add("mlp.gate_proj.weight", &[INNER, HIDDEN]);
                add("mlp.up_proj.weight", &[INNER, HIDDEN]);
            }
        }
        let heads = match family {
            "qwen3" | "qwen3_moe" | "gemma3_text" => [HEAD_DIM; 2],
            "olmo2" | "olmo3" => [q, kv],
            _ => continue,
        };
        add("self_attn.q_norm.weight", &[heads[0]]);
        add("self_attn.k_norm.weight", &[heads[1]]);
    }
    shapes
}

fn experts(name: &str, [gate, up, down]: [&str; 3], add: &mut dyn FnMut(&str, &[usize])) {
    for expert in 0..EXPERTS {
        add(&format!("{name}.{expert}.{gate}.weight"), &[EXPERT_INNER, HIDDEN]);
        add(&format!("{name}.{expert}.{up}.weight"), &[EXPERT_INNER, HIDDEN]);
        add(&format!("{name}.{expert}.{down}.weight"), &[HIDDEN, EXPERT_INNER]);
    }
}

/// All of a layer, of experts one after the other.
pub fn linears(layer: &LayerWeights) -> Vec<&Linear> {
    let mlps = match &layer.mlp {
        MlpWeights::Dense(mlp) => std::slice::from_ref(mlp),
        MlpWeights::Experts(mlp) => &mlp.experts,
    };
    let mlps = mlps.iter().flat_map(|mlp| [&mlp.gate, &mlp.up, &mlp.down]);
    [&layer.q, &layer.k, &layer.v, &layer.o].into_iter().chain(mlps).collect()
}

/// Of a layer whose MLP is dense.
pub fn down(layer: &LayerWeights) -> &Linear {
    layer.linear(Target::Down).unwrap()
}

/// The 256 bytes in the order of their printable stand-ins.
pub fn alphabet() -> Vec<String> {
    let mut alphabet: Vec<char> = ByteLevel::alphabet().into_iter().collect();
    alphabet.sort_unstable();
    alphabet.into_iter().map(String::from).collect()
}

pub const SPECIAL: [&str; 3] = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];

/// One token per byte, and the special tokens.
pub fn tokenizer() -> Tokenizer {
    tokenizer_with_merges(&[])
}

/// As [`tokenizer`], with tokens of two that stand behind the special ones.
pub fn tokenizer_with_merges(merges: &[(&str, &str)]) -> Tokenizer {
    let mut vocabulary: HashMap<String, u32> = alphabet().into_iter().zip(0..).collect();
    let behind = vocabulary.len() as u32 + SPECIAL.len() as u32;
    vocabulary.extend(merges.iter().map(|(a, b)| format!("{a}{b}")).zip(behind..));
    let bpe = BPE::builder()
        .vocab_and_merges(
            vocabulary.into_iter().collect::<tokenizers::models::bpe::Vocab>(),
            merges.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect::<Vec<_>>(),
        )
        .build()
        .unwrap();
    let mut tokenizer = Tokenizer::new(bpe);
    tokenizer.with_pre_tokenizer(Some(ByteLevel::new(false, true, true)));
    tokenizer.with_decoder(Some(ByteLevel::new(false, true, true)));
    tokenizer.add_tokens(SPECIAL.map(|token| AddedToken::from(token, true))).unwrap();
    tokenizer
}

/// Largest difference of two tensors.
pub fn apart(a: &Matrix, b: &Matrix) -> f32 {
    distance(&a.tensor().unwrap(), &b.tensor().unwrap())
}

pub fn distance(a: &Tensor, b: &Tensor) -> f32 {
    assert_eq!(a.dims(), b.dims());
    let difference = (a.to_dtype(DType::F32).unwrap() - b.to_dtype(DType::F32).unwrap()).unwrap();
    difference.abs().unwrap().max_all().unwrap().to_scalar().unwrap()
}
