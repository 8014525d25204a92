//! Keys that only some families have, and what llama.cpp would compute of all that is written.

use candle_core::quantized::gguf_file::Value;

use super::file::Metadata;
use crate::config::{Config, Family, GgufKey, Rope, RopeScaling};
use crate::error::Result;
use crate::load::GgufTensors;

/// The keys of the family as which the file is read.
pub fn set(metadata: &mut Metadata, config: &Config, architecture: &str, family: &dyn Family) {
    for key in family.gguf_keys() {
        if let Some(value) = value(*key, config) {
            metadata.insert(format!("{architecture}.{}", key.name()), value);
        }
    }
}

/// What a key holds; none where nothing has to be said.
fn value(key: GgufKey, config: &Config) -> Option<Value> {
    let number = |number: f64| Some(Value::F32(number as f32));
    match key {
        GgufKey::AttentionScale => config.scales.attention.and_then(number),
        GgufKey::EmbeddingScale => number(config.scales.embedding),
        GgufKey::ResidualScale => number(config.scales.residual),
        GgufKey::LogitDivisor => number(config.logits.divisor),
        GgufKey::AttentionCap => config.attention_cap.and_then(number),
        GgufKey::LogitCap => config.logits.cap.and_then(number),
        GgufKey::Window => config.sliding_window.map(|size| Value::U32(size as u32)),
        // llama.cpp reads it for few architectures: others than the usual are refused below.
        GgufKey::WindowPattern => None,
        GgufKey::LocalTheta => config.local_rope.as_ref().and_then(|rope| number(rope.theta)),
        GgufKey::Rotates => {
            let none = (0..config.num_layers).all(|layer| config.layer_rope(layer).is_none());
            none.then_some(Value::Bool(false))
        }
    }
}

/// The first property in which the model that the metadata describe isn't this one, by the field of config.json.
///
/// # Errors
/// If the metadata can't be read at all.
pub fn differs(metadata: &Metadata, config: &Config) -> Result<Option<&'static str>> {
    let tensors = GgufTensors {
        has_output: !config.tie_embeddings,
        qkv_bias: config.qkv_bias,
        o_bias: config.o_bias,
        mlp_bias: config.mlp_bias,
        ..GgufTensors::default()
    };
    let metadata = metadata.clone().into_iter();
    // Divisors are tensors; they are looked at where they are made.
    let kind = ".rope.scaling.type";
    let is_long = |value: &Value| matches!(value, Value::String(kind) if kind == "longrope");
    let metadata = metadata.filter(|(key, value)| !(key.ends_with(kind) && is_long(value)));
    let (read, _) = Config::from_gguf(&metadata.collect(), &tensors, "the new GGUF file")?;
    let layers = 0..config.num_layers;
    let every = |same: &dyn Fn(usize) -> bool| layers.clone().all(same);
    let reads_windows = read.family.gguf_keys().contains(&GgufKey::Window);
    let cap = |cap: Option<f64>| cap.unwrap_or(0.0);
    let kept = [
        ("hidden_act", read.activation == config.activation),
        ("embedding_multiplier", near(read.scales.embedding, config.scales.embedding)),
        (
            "query_pre_attn_scalar",
            near(f64::from(read.attention_scale()), f64::from(config.attention_scale())),
        ),
        ("residual_multiplier", near(read.scales.residual, config.scales.residual)),
        ("logits_scaling", near(read.logits.divisor, config.logits.divisor)),
        ("attn_logit_softcapping", near(cap(read.attention_cap), cap(config.attention_cap))),
        ("final_logit_softcapping", near(cap(read.logits.cap), cap(config.logits.cap))),
        (
            "layer_types",
            !reads_windows || every(&|layer| read.window(layer) == config.window(layer)),
        ),
        (
            "rope_parameters",
            every(&|layer| alike(read.layer_rope(layer), config.layer_rope(layer), config)),
        ),
    ];
    Ok(kept.into_iter().find(|(_, same)| !same).map(|(field, _)| field))
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-6 * a.abs().max(b.abs())
}

/// The same base; of layers with a rotation of their own also the same stretch.
fn alike(read: Option<&Rope>, own: Option<&Rope>, config: &Config) -> bool {
    match (read, own) {
        (None, None) => true,
        (Some(read), Some(own)) => {
            let is_local = config.local_rope.as_ref() == Some(own) && own != &config.rope;
            let plain = |rope: &Rope| rope.scaling == RopeScaling::None;
            near(read.theta, own.theta) && (!is_local || plain(read) == plain(own))
        }
        _ => false,
    }
}
