//! `config.json` as published with transformers models (versions 4 and 5).

use serde_json::Value;

use super::rope_json::{self, RopeSettings};
use super::text_config;
use crate::config::{
    Activation, Config, Family, Fields, LogitFinish, NormPlacement, QkNorm, Scales,
    activation_named,
};
use crate::error::{Error, Result};
use crate::families;

/// Fields that decide nothing about what a model computes here: read elsewhere, of training, or of generation.
const NOT_OF_THE_SHAPE: [&str; 25] = [
    "_name_or_path",
    "architectures",
    "attention_dropout",
    "auto_map",
    "chunk_size_feed_forward",
    "dtype",
    "embd_pdrop",
    "gradient_checkpointing",
    "initializer_range",
    "is_decoder",
    "name_or_path",
    "num_labels",
    "output_attentions",
    "output_hidden_states",
    "pad_token_id",
    "pretraining_tp",
    "quantization_config",
    "resid_pdrop",
    "return_dict",
    "sep_token_id",
    "torch_dtype",
    "transformers.js_config",
    "transformers_version",
    "unk_token_id",
    "use_cache",
];

/// Fields that are read below, by the rope settings, or by a family.
const READ: [&str; 21] = [
    "attention_bias",
    "bos_token_id",
    "eos_token_id",
    "head_dim",
    "hidden_act",
    "hidden_size",
    "intermediate_size",
    "max_position_embeddings",
    "mlp_bias",
    "model_type",
    "num_attention_heads",
    "num_hidden_layers",
    "num_key_value_heads",
    "original_max_position_embeddings",
    "partial_rotary_factor",
    "rms_norm_eps",
    "rope_parameters",
    "rope_scaling",
    "rope_theta",
    "tie_word_embeddings",
    "vocab_size",
];

impl Config {
    /// Reads the text of a `config.json`; `file` names it in errors.
    ///
    /// # Errors
    /// [`Error::Config`] that names the field.
    pub fn from_json(text: &str, file: &str) -> Result<Self> {
        Self::from_json_with_notices(text, file).map(|(config, _)| config)
    }

    /// As [`Config::from_json`], with a line for every field that another one overrides or that isn't read.
    ///
    /// # Errors
    /// [`Error::Config`] that names the field.
    pub fn from_json_with_notices(text: &str, file: &str) -> Result<(Self, Vec<String>)> {
        let value: Value = serde_json::from_str(text).map_err(|error| Error::Config {
            file: file.into(),
            field: "(document)".into(),
            problem: format!("is not JSON: {error}"),
            action: "fetch the file again".into(),
        })?;
        Self::from_value(&value, file)
    }

    /// As [`Config::from_json_with_notices`], of the document or the text model's part of it.
    pub(crate) fn from_value(value: &Value, file: &str) -> Result<(Self, Vec<String>)> {
        let text = text_config::of(value);
        let fields = Fields::new(file, text.as_ref().unwrap_or(value));
        if text.is_some() {
            fields.note("text_config", "alone is read, of a model with an image encoder");
        }
        let config = config(&fields)?;
        Ok((config, fields.notices()))
    }
}

fn family(json: &Fields) -> Result<&'static dyn Family> {
    let supported = || format!("use one of: {}", families::names());
    let name = json
        .get("model_type")
        .and_then(Value::as_str)
        .ok_or_else(|| json.fail("model_type", "is missing", supported()))?;
    families::find(name)
        .ok_or_else(|| json.fail("model_type", families::unknown(name), supported()))
}

fn config(json: &Fields) -> Result<Config> {
    let family = family(json)?;
    note_architecture(json, family);
    let hidden_size = json.required("hidden_size")?;
    let num_heads = json.required("num_attention_heads")?;
    let head_dim = match json.size("head_dim")? {
        Some(size) => size,
        None => hidden_size.checked_div(num_heads).unwrap_or(0),
    };
    let stated = json.required("max_position_embeddings")?;
    let RopeSettings { rope, local_rope, partial_rotary_factor, max_position } =
        rope_json::read(json, family, stated)?;
    let window = family.read_window(json)?;
    let bias = bias(json, family, "attention_bias")?;
    let mut config = Config {
        family,
        vocab_size: json.required("vocab_size")?,
        hidden_size,
        intermediate_size: json.required("intermediate_size")?,
        num_layers: json.layers()?,
        num_heads,
        num_kv_heads: json.size("num_key_value_heads")?.unwrap_or(num_heads),
        head_dim,
        rms_norm_eps: json.number("rms_norm_eps")?.unwrap_or_else(|| family.default_norm_eps()),
        activation: activation(json, family)?,
        norms: NormPlacement::Before,
        norm_offset: 0.0,
        scales: Scales::default(),
        attention_cap: None,
        logits: LogitFinish::default(),
        rope,
        local_rope,
        rotated_layers: None,
        max_position,
        tie_embeddings: json.flag_or("tie_word_embeddings", family.ties_by_default())?,
        qkv_bias: bias,
        o_bias: bias,
        mlp_bias: self::bias(json, family, "mlp_bias")?,
        qk_norm: QkNorm::None,
        sliding_window: window.size,
        window_layers: window.layers,
        experts: family.read_experts(json)?,
        partial_rotary_factor,
        bos: json.token_ids("bos_token_id")?.first().copied(),
        eos: json.token_ids("eos_token_id")?,
    };
    family.complete(&mut config);
    family.read(json, &mut config)?;
    note_unread(json, family);
    config.validated(json.file())
}

/// transformers decides by `model_type` alone.
fn note_architecture(json: &Fields, family: &dyn Family) {
    let named =
        json.get("architectures").and_then(Value::as_array).and_then(|list| list.first()?.as_str());
    if let Some(other) = named.filter(|name| *name != family.class()) {
        let what = format!(
            "names {other:?}; `model_type` is {:?} and counts, as in transformers: {}",
            family.name(),
            family.class()
        );
        json.note("architectures", what);
    }
    if json.get("auto_map").is_some() {
        json.note(
            "auto_map",
            format!("names code of the model's own, which isn't run: {} is", family.class()),
        );
    }
}

fn activation(json: &Fields, family: &dyn Family) -> Result<Activation> {
    let (field, absent) = family.activation();
    let Some(value) = json.get(field) else {
        return Ok(absent);
    };
    value.as_str().and_then(activation_named).ok_or_else(|| {
        json.fail(field, format!("is {value}"), "use a model with silu or gelu_pytorch_tanh")
    })
}

/// A flag that gives projections a bias, for the families whose code reads it.
fn bias(json: &Fields, family: &dyn Family, flag: &str) -> Result<bool> {
    let set = json.flag(flag)?;
    let read = family.bias_flags().contains(&flag);
    if set && !read {
        json.note(flag, format!("is true, but {} doesn't read it", family.class()));
    }
    Ok(set && read)
}

/// Fields that nothing reads, in one line.
fn note_unread(json: &Fields, family: &dyn Family) {
    let own = [family.activation().0, family.local_theta().map_or("", |(field, _)| field)];
    let lists = [
        &READ[..],
        &NOT_OF_THE_SHAPE,
        family.window_fields(),
        family.expert_fields(),
        family.fields(),
        &own,
    ];
    let known = |name: &str| lists.iter().any(|list| list.contains(&name));
    // A field that is off says nothing.
    let says = |name: &&str| json.get(name).is_some_and(|value| *value != Value::Bool(false));
    let unread: Vec<&str> = json.names().filter(|name| !known(name)).filter(says).collect();
    if let Some((last, others)) = unread.split_last() {
        let mut what = String::from("isn't read");
        if !others.is_empty() {
            let names: Vec<String> = others.iter().map(|name| format!("`{name}`")).collect();
            what = format!("isn't read, nor {}", names.join(", "));
        }
        json.note(last, what);
    }
}
