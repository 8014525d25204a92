//! GGUF files of the tiny models, written by candle's writer.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::Tensor;
use candle_core::quantized::{GgmlDType, QTensor, gguf_file};
use gguf_file::Value;

use crate::{experts, tiny};

pub type Metadata = BTreeMap<String, Value>;
pub type Tensors = BTreeMap<String, Tensor>;

/// The architecture in GGUF.
fn architecture(family: &str) -> &str {
    match family {
        "gemma3_text" => "gemma3",
        "olmo3" => "olmo2",
        "mixtral" => "llama",
        "qwen3_moe" => "qwen3moe",
        other => other,
    }
}

pub fn metadata(family: &str) -> Metadata {
    let mut metadata = Metadata::new();
    let mut set = |key: &str, value: Value| drop(metadata.insert(key.to_owned(), value));
    let own: &[(&str, f32)] = match family {
        "gemma2" => &[("attn_logit_softcapping", 5.0), ("final_logit_softcapping", 8.0)],
        "gemma3_text" => &[("rope.freq_base_swa", 100.0)],
        "olmo3" => &[("rope.scaling.factor", 4.0)],
        "granite" => &[
            ("embedding_scale", 3.0),
            ("attention.scale", 0.25),
            ("residual_scale", 0.5),
            ("logit_scale", 2.0),
        ],
        _ => &[],
    };
    let windows = ["gemma2", "gemma3_text", "olmo3"].contains(&family);
    let (sizes, family) = (experts::sizes(family), architecture(family));
    for (key, value) in own {
        set(&format!("{family}.{key}"), Value::F32(*value));
    }
    if windows {
        set(&format!("{family}.attention.sliding_window"), Value::U32(6));
    }
    set(&format!("{family}.rope.freq_base"), Value::F32(10_000.0));
    set("general.architecture", Value::String(family.to_owned()));
    for (key, value) in [
        ("block_count", tiny::LAYERS),
        ("context_length", 128),
        ("embedding_length", tiny::HIDDEN),
        ("attention.head_count", tiny::HEADS),
        ("attention.head_count_kv", tiny::KV_HEADS),
    ]
    .into_iter()
    .chain(sizes)
    {
        set(&format!("{family}.{key}"), Value::U32(value as u32));
    }
    set(&format!("{family}.attention.layer_norm_rms_epsilon"), Value::F32(1e-5));
    let mut tokens = tiny::alphabet();
    tokens.extend(tiny::SPECIAL.map(str::to_owned));
    // Rows that no token uses have a name, too.
    tokens.extend((tokens.len()..tiny::VOCAB).map(|i| format!("<unused{i}>")));
    let kind = |i: usize| Value::I32(if (256..259).contains(&i) { 3 } else { 1 });
    set("tokenizer.ggml.token_type", Value::Array((0..tokens.len()).map(kind).collect()));
    set("tokenizer.ggml.tokens", Value::Array(tokens.into_iter().map(Value::String).collect()));
    // No two bytes are ever merged.
    set("tokenizer.ggml.merges", Value::Array(vec![]));
    set("tokenizer.ggml.model", Value::String("gpt2".to_owned()));
    set("tokenizer.ggml.pre", Value::String("gpt-2".to_owned()));
    set("tokenizer.ggml.eos_token_id", Value::U32(tiny::IM_END));
    set("tokenizer.chat_template", Value::String(tiny::CHATML.to_owned()));
    metadata
}

/// The tensors as a converter writes them: other names, and q and k of a Llama interleaved.
pub fn tensors(family: &str) -> Tensors {
    let own: &[(&str, &str)] = match family {
        "gemma2" | "gemma3_text" | "olmo2" | "olmo3" => &[
            ("post_attention_layernorm", "post_attention_norm"),
            ("pre_feedforward_layernorm", "ffn_norm"),
            ("post_feedforward_layernorm", "post_ffw_norm"),
        ],
        _ => &[],
    };
    let rename = [
        ("model.embed_tokens", "token_embd"),
        ("model.norm", "output_norm"),
        ("lm_head", "output"),
        ("model.layers.", "blk."),
        ("input_layernorm", "attn_norm"),
        ("post_attention_layernorm", "ffn_norm"),
        ("self_attn.o_proj", "attn_output"),
        ("self_attn.qkv_proj", "attn_qkv"),
        ("self_attn.q_", "attn_q_"),
        ("self_attn.k_", "attn_k_"),
        ("self_attn.v_proj", "attn_v"),
        ("attn_q_proj", "attn_q"),
        ("attn_k_proj", "attn_k"),
        ("mlp.gate_up_proj", "ffn_up"),
        ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
    ];
    let convert = |(name, tensor): (String, Tensor)| {
        let renames = own.iter().chain(&rename);
        let name = renames.fold(name, |name, (from, to)| name.replace(from, to));
        // What is multiplied with is stored.
        if family.starts_with("gemma") && name.ends_with("norm.weight") {
            return (name, (tensor + 1.0).unwrap());
        }
        let interleaves = ["llama", "mixtral", "smollm3", "granite"].contains(&family);
        let ends = |end: &str| interleaves && name.ends_with(end);
        let heads = match (ends("attn_q.weight"), ends("attn_k.weight")) {
            (true, _) => tiny::HEADS,
            (_, true) => tiny::KV_HEADS,
            _ => return (name, tensor),
        };
        let interleaved = tensor
            .reshape((heads, 2, tiny::HEAD_DIM / 2, tiny::HIDDEN))
            .unwrap()
            .transpose(1, 2)
            .unwrap();
        (name, interleaved.contiguous().unwrap().reshape(tensor.shape()).unwrap())
    };
    experts::stacked(tiny::tensors(family)).into_iter().map(convert).collect()
}

pub fn write(dir: &Path, metadata: &Metadata, tensors: &Tensors) -> PathBuf {
    write_as(dir, metadata, tensors, GgmlDType::F32)
}

/// As `kind`, but for vectors and for rows that aren't whole blocks.
pub fn write_as(dir: &Path, metadata: &Metadata, tensors: &Tensors, kind: GgmlDType) -> PathBuf {
    let path = dir.join("tiny.gguf");
    let quantize = |t: &Tensor| match t.dims() {
        [.., _, columns] if columns.is_multiple_of(32) => QTensor::quantize(t, kind).unwrap(),
        _ => QTensor::quantize(t, GgmlDType::F32).unwrap(),
    };
    let quantized: Vec<(&String, QTensor)> =
        tensors.iter().map(|(name, t)| (name, quantize(t))).collect();
    let tensors: Vec<(&str, &QTensor)> =
        quantized.iter().map(|(name, t)| (name.as_str(), t)).collect();
    let metadata: Vec<(&str, &Value)> =
        metadata.iter().map(|(key, value)| (key.as_str(), value)).collect();
    let mut file = std::fs::File::create(&path).unwrap();
    gguf_file::write(&mut file, &metadata, &tensors).unwrap();
    path
}
