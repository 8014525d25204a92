//! `config.json` as published with transformers models (versions 4 and 5).

use serde_json::Value;

use crate::config::{Config, Family, Fields, Rope, RopeScaling, long_rope_attention_factor};
use crate::error::{Error, Result};
use crate::families;

impl Config {
    /// Reads the text of a `config.json`; `file` names it in errors.
    pub fn from_json(text: &str, file: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(text).map_err(|error| Error::Config {
            file: file.into(),
            field: "(document)".into(),
            problem: format!("is not JSON: {error}"),
            action: "fetch the file again".into(),
        })?;
        config(&Fields::new(file, &value))
    }
}

fn family(json: &Fields) -> Result<&'static dyn Family> {
    let supported = || format!("use one of: {}", families::names());
    let name = json
        .get("model_type")
        .and_then(Value::as_str)
        .ok_or_else(|| json.fail("model_type", "is missing", supported()))?;
    families::find(name).ok_or_else(|| {
        json.fail("model_type", format!("is `{name}`, which is not supported"), supported())
    })
}

fn config(json: &Fields) -> Result<Config> {
    let family = family(json)?;
    if let Some(activation) = json.get("hidden_act").and_then(Value::as_str)
        && activation != "silu"
        && activation != "swish"
    {
        return Err(json.fail("hidden_act", format!("is `{activation}`"), "use a model with silu"));
    }
    let hidden_size = json.required("hidden_size")?;
    let num_heads = json.required("num_attention_heads")?;
    let head_dim = match json.size("head_dim")? {
        Some(size) => size,
        None => hidden_size.checked_div(num_heads).unwrap_or(0),
    };
    let max_position = json.required("max_position_embeddings")?;
    let partial_rotary_factor = rope_number(json, "partial_rotary_factor")?.unwrap_or(1.0);
    let (sliding_window, window_from_layer) = family.read_window(json)?;
    let bias = json.flag("attention_bias")?;
    let mut config = Config {
        family,
        vocab_size: json.required("vocab_size")?,
        hidden_size,
        intermediate_size: json.required("intermediate_size")?,
        num_layers: json.required("num_hidden_layers")?,
        num_heads,
        num_kv_heads: json.size("num_key_value_heads")?.unwrap_or(num_heads),
        head_dim,
        rms_norm_eps: json.number("rms_norm_eps")?.unwrap_or(1e-6),
        rope: Rope {
            theta: rope_number(json, "rope_theta")?.unwrap_or(10_000.0),
            scaling: scaling(json, max_position)?,
        },
        max_position,
        tie_embeddings: json.flag("tie_word_embeddings")?,
        qkv_bias: bias,
        o_bias: bias,
        mlp_bias: json.flag("mlp_bias")?,
        qk_norm: false,
        sliding_window,
        window_from_layer,
        partial_rotary_factor,
        bos: json.token_ids("bos_token_id")?.first().copied(),
        eos: json.token_ids("eos_token_id")?,
    };
    family.complete(&mut config);
    config.validated(json.file())
}

/// The rope settings: `rope_scaling` (version 4) or `rope_parameters` (version 5).
fn rope_fields<'a>(json: &Fields<'a>) -> Option<Fields<'a>> {
    json.object("rope_parameters").or_else(|| json.object("rope_scaling"))
}

fn rope_number(json: &Fields, field: &str) -> Result<Option<f64>> {
    if let Some(number) = json.number(field)? {
        return Ok(Some(number));
    }
    match rope_fields(json) {
        Some(rope) => rope.number(field),
        None => Ok(None),
    }
}

fn scaling(json: &Fields, max_position: usize) -> Result<RopeScaling> {
    let Some(rope) = rope_fields(json) else {
        return Ok(RopeScaling::None);
    };
    let kind = rope
        .get("rope_type")
        .or_else(|| rope.get("type"))
        .and_then(Value::as_str)
        .unwrap_or("default");
    match kind {
        "default" => Ok(RopeScaling::None),
        "linear" => Ok(RopeScaling::Linear { factor: rope.positive("factor")? }),
        "llama3" => Ok(RopeScaling::Llama3 {
            factor: rope.positive("factor")?,
            low_freq_factor: rope.positive("low_freq_factor")?,
            high_freq_factor: rope.positive("high_freq_factor")?,
            original_max_position: rope.required("original_max_position_embeddings")?,
        }),
        "longrope" | "su" => long_rope(json, &rope, max_position),
        other => Err(json.fail(
            "rope_scaling",
            format!("has type `{other}`, which is not supported"),
            "use a model with default, linear, llama3 or longrope scaling",
        )),
    }
}

fn long_rope(json: &Fields, rope: &Fields, max_position: usize) -> Result<RopeScaling> {
    let original = match rope.size("original_max_position_embeddings")? {
        Some(size) => size,
        None => json.required("original_max_position_embeddings")?,
    };
    let attention_factor = match rope.number("attention_factor")? {
        Some(factor) => factor,
        None => long_rope_attention_factor(max_position, original),
    };
    Ok(RopeScaling::LongRope {
        short_factor: rope.factors("short_factor")?,
        long_factor: rope.factors("long_factor")?,
        original_max_position: original,
        attention_factor,
    })
}
