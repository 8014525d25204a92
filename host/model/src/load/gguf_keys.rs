//! Keys of a GGUF file's metadata that nothing reads: harmless ones, and those that would change what the model computes.

use std::collections::HashMap;

use candle_core::quantized::gguf_file::Value;
use host_files::text::line;

use crate::config::Config;

/// Fields of an architecture that are read, compared or told of elsewhere, and those that change nothing.
const KNOWN: [&str; 25] = [
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.layer_norm_epsilon",
    "attention.layer_norm_rms_epsilon",
    "attention.sliding_window",
    "attention.value_length",
    "block_count",
    "context_length",
    "embedding_length",
    "feed_forward_length",
    "rope.dimension_count",
    "rope.freq_base",
    "rope.scale_linear",
    "rope.scaling.alpha",
    "rope.scaling.attn_factor",
    "rope.scaling.factor",
    "rope.scaling.finetuned",
    "rope.scaling.original_context_length",
    "rope.scaling.type",
    "rope.scaling.yarn_attn_factor",
    "rope.scaling.yarn_beta_fast",
    "rope.scaling.yarn_beta_slow",
    "rope.scaling.yarn_ext_factor",
    "vocab_size",
];
/// Those that are read of a model with experts.
const EXPERTS: [&str; 3] = ["expert_count", "expert_feed_forward_length", "expert_used_count"];
/// Further ones of which llama.cpp reads nothing for these architectures.
const QUIET: [&str; 2] = ["rope.scaling.yarn_log_multiplier", "tensor_data_layout"];
/// Beginnings of fields that say how the model computes.
const COMPUTE: [&str; 24] = [
    "attention.",
    "attn_",
    "deepstack_mapping",
    "embedding_length_",
    "embedding_scale",
    "expert",
    "final_logit_softcapping",
    "full_attention_interval",
    "hidden_activation",
    "hyper_connection.",
    "interleave_moe_layer_step",
    "leading_dense_block_count",
    "logit_scale",
    "moe_",
    "n_deepstack_layers",
    "nextn_predict_layers",
    "norm_before_residual",
    "residual_scale",
    "rope.",
    "router_",
    "ssm.",
    "swiglu_",
    "use_parallel_residual",
    "wkv.",
];
/// Where a model's description is, and what its tokenizer is read from.
const DESCRIBING: [&str; 4] = ["general.", "quantize.", "split.", "tokenizer."];
/// Most names in a line.
const NAMED: usize = 8;

/// What is wrong: the key, and what it is.
pub type Problem = (String, String);

/// A line about keys that nothing reads, if there are any. `config` is what was read.
///
/// # Errors
/// The first key that would change what the model computes, or says that the file is no model.
pub fn unread(
    metadata: &HashMap<String, Value>,
    architecture: &str,
    config: &Config,
) -> Result<Option<String>, Problem> {
    let mut keys: Vec<(&String, &Value)> = metadata.iter().collect();
    keys.sort_unstable_by_key(|(key, _)| *key);
    let mut unread = Vec::new();
    for (key, value) in keys {
        if key == "general.type" && !matches!(value, Value::String(kind) if kind == "model") {
            return Err((key.clone(), format!("is {}: the file isn't a model", shown(value))));
        }
        let Some(field) = key.strip_prefix(architecture).and_then(|rest| rest.strip_prefix('.'))
        else {
            let known = DESCRIBING.iter().any(|start| key.starts_with(start));
            if !known || key.starts_with("general.sampling.") {
                unread.push(key);
            }
            continue;
        };
        let is_read = config.family.gguf_keys().iter().any(|key| key.name() == field)
            || (config.experts.is_some() && EXPERTS.contains(&field));
        if is_read || KNOWN.contains(&field) || QUIET.contains(&field) {
            continue;
        }
        if !COMPUTE.iter().any(|start| field.starts_with(start)) {
            unread.push(key);
        } else if !is_neutral(field, value, config) {
            let problem = format!(
                "is {}, which changes what the model computes and isn't supported",
                shown(value)
            );
            return Err((key.clone(), problem));
        }
    }
    let more = unread.len().saturating_sub(NAMED);
    let names: Vec<String> = unread.iter().take(NAMED).map(|key| line(key).into_owned()).collect();
    Ok((!names.is_empty()).then(|| {
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("keys that nothing reads: {}{more}", names.join(", "))
    }))
}

/// Whether a value is what a model without the field does.
fn is_neutral(field: &str, value: &Value, config: &Config) -> bool {
    let number = number(value);
    match (field, value) {
        ("attention.causal", _) => matches!(value, Value::Bool(true)),
        ("hidden_activation", Value::String(name)) => name == "silu",
        ("attention.scale", _) => number.is_some_and(|scale| {
            scale == 0.0 || (scale * (config.head_dim as f64).sqrt() - 1.0).abs() < 1e-4
        }),
        // A softmax, whose weights are made to sum to one.
        ("expert_gating_func", _) if config.experts.is_some() => number == Some(1.0),
        ("expert_weights_norm", Value::Bool(sums_to_one)) if config.experts.is_some() => {
            *sums_to_one
        }
        // A pattern of windows says nothing without a window, which is told of.
        ("attention.sliding_window_pattern", _) => true,
        (_, Value::Array(list)) => list.iter().all(|value| is_neutral(field, value, config)),
        (_, Value::Bool(flag)) => !flag,
        // Scales, and steps of layers.
        _ => number.is_some_and(|number| number == 0.0 || (number == 1.0 && multiplies(field))),
    }
}

fn multiplies(field: &str) -> bool {
    field.ends_with("scale") || field.ends_with("_factor")
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::F32(number) => Some(f64::from(*number)),
        Value::F64(number) => Some(*number),
        Value::I8(number) => Some(f64::from(*number)),
        Value::I16(number) => Some(f64::from(*number)),
        Value::I32(number) => Some(f64::from(*number)),
        Value::I64(number) => Some(*number as f64),
        other => other.to_u64().ok().map(|number| number as f64),
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{:?}", line(text)),
        Value::Bool(flag) => flag.to_string(),
        Value::Array(list) => format!("a list of {}", list.len()),
        other => number(other).map_or_else(|| "no number".to_owned(), |number| number.to_string()),
    }
}
