//! What to do about weights that don't fit the configuration: the field of config.json to look at.

use crate::config::Config;

const FETCH: &str = "fetch the model again";

/// For a tensor that isn't there.
pub fn missing(config: &Config, name: &str) -> String {
    if name == "lm_head.weight" {
        return format!(
            "set tie_word_embeddings to true in config.json if the embedding is the head, or {FETCH}"
        );
    }
    if config.experts.is_some() && name.contains(".experts.") {
        return format!(
            "if the model has fewer experts, set their number in config.json; else {FETCH}"
        );
    }
    match bias_flag(config, name) {
        Some(flag) => format!(
            "set {flag} to false in config.json if the model has no such biases, or {FETCH}"
        ),
        None => format!("check that the weights belong to this configuration, or {FETCH}"),
    }
}

/// For a tensor whose first side is `rows` long, and should be another.
pub fn misshapen(config: &Config, name: &str, rows: usize) -> String {
    let field = |field: &str, value: usize| {
        format!("if the weights are right, set {field} to {value} in config.json; else {FETCH}")
    };
    let head = config.head_dim.max(1);
    let is = |part: &str| name.contains(part);
    if name == "lm_head.weight" || name.ends_with("embed_tokens.weight") {
        return field("vocab_size", rows);
    }
    if (is("self_attn.k_proj") || is("self_attn.v_proj")) && rows.is_multiple_of(head) && rows > 0 {
        return field("num_key_value_heads", rows / head);
    }
    if is("self_attn.q_proj") && rows.is_multiple_of(config.num_heads) {
        return field("head_dim", rows / config.num_heads);
    }
    if is(".mlp.experts.") && (is("gate_proj") || is("up_proj")) {
        return field("moe_intermediate_size", rows);
    }
    if is("mlp.gate_proj") || is("mlp.up_proj") || is(".w1.") || is(".w3.") {
        return field("intermediate_size", rows);
    }
    format!("check that the weights belong to this configuration, or {FETCH}")
}

/// For a tensor that the architecture has no place for.
pub fn unknown(config: &Config, name: &str) -> String {
    if let Some(layer) = layer(name).filter(|layer| *layer >= config.num_layers) {
        return format!(
            "if the model has layer {layer}, set num_hidden_layers in config.json; else {FETCH}"
        );
    }
    match bias_flag(config, name) {
        Some(flag) => {
            format!("if the model has this bias, set {flag} to true in config.json; else {FETCH}")
        }
        None if name.ends_with(".bias") => format!(
            "{} has no such bias in transformers either: use a model of another family, or {FETCH}",
            config.family.class()
        ),
        None => format!("check that the weights belong to this configuration, or {FETCH}"),
    }
}

/// The flag of config.json that gives this bias to models of the family.
fn bias_flag(config: &Config, name: &str) -> Option<&'static str> {
    let flag = match name {
        _ if !name.ends_with(".bias") => return None,
        _ if name.contains(".self_attn.") => "attention_bias",
        _ if name.contains(".mlp.") => "mlp_bias",
        _ => return None,
    };
    config.family.bias_flags().iter().find(|known| **known == flag).copied()
}

fn layer(name: &str) -> Option<usize> {
    name.split_once("layers.")?.1.split('.').next()?.parse().ok()
}
