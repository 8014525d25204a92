//! `config.json` as published with transformers models (versions 4 and 5).

use serde_json::Value;

use super::{Architecture, Config, Rope, RopeScaling};
use crate::error::{Error, Result};

impl Config {
    /// Reads the text of a `config.json`; `file` names it in errors.
    pub fn from_json(text: &str, file: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(text).map_err(|error| Error::Config {
            file: file.into(),
            field: "(document)".into(),
            problem: format!("is not JSON: {error}"),
            action: "fetch the file again".into(),
        })?;
        Fields { file, value: &value }.config()
    }
}

/// The document with the name that errors mention.
struct Fields<'a> {
    file: &'a str,
    value: &'a Value,
}

impl Fields<'_> {
    fn fail(&self, field: &str, problem: impl Into<String>, action: impl Into<String>) -> Error {
        Error::Config {
            file: self.file.into(),
            field: field.into(),
            problem: problem.into(),
            action: action.into(),
        }
    }

    /// The field, with `null` read as absent.
    fn get(&self, field: &str) -> Option<&Value> {
        self.value.get(field).filter(|value| !value.is_null())
    }

    fn size(&self, field: &str) -> Result<Option<usize>> {
        let Some(value) = self.get(field) else {
            return Ok(None);
        };
        match value.as_u64() {
            Some(number) => Ok(Some(number as usize)),
            None => Err(self.fail(field, format!("is {value}"), "give a whole number")),
        }
    }

    fn required(&self, field: &str) -> Result<usize> {
        self.size(field)?.ok_or_else(|| self.fail(field, "is missing", "add it"))
    }

    fn number(&self, field: &str) -> Result<Option<f64>> {
        let Some(value) = self.get(field) else {
            return Ok(None);
        };
        match value.as_f64() {
            Some(number) => Ok(Some(number)),
            None => Err(self.fail(field, format!("is {value}"), "give a number")),
        }
    }

    fn flag(&self, field: &str) -> Result<bool> {
        match self.get(field) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(value) => Err(self.fail(field, format!("is {value}"), "give true or false")),
        }
    }

    fn token_ids(&self, field: &str) -> Result<Vec<u32>> {
        let bad = || self.fail(field, "is not a token id", "give a whole number or a list");
        let id =
            |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok()).ok_or_else(bad);
        match self.get(field) {
            None => Ok(Vec::new()),
            Some(Value::Array(list)) => list.iter().map(id).collect(),
            Some(value) => Ok(vec![id(value)?]),
        }
    }

    fn architecture(&self) -> Result<Architecture> {
        let supported = || format!("use one of: {}", Architecture::SUPPORTED);
        let name = self
            .get("model_type")
            .and_then(Value::as_str)
            .ok_or_else(|| self.fail("model_type", "is missing", supported()))?;
        Architecture::from_name(name).ok_or_else(|| {
            self.fail("model_type", format!("is `{name}`, which is not supported"), supported())
        })
    }

    fn config(&self) -> Result<Config> {
        let architecture = self.architecture()?;
        if let Some(activation) = self.get("hidden_act").and_then(Value::as_str)
            && activation != "silu"
            && activation != "swish"
        {
            return Err(self.fail(
                "hidden_act",
                format!("is `{activation}`"),
                "use a model with silu",
            ));
        }
        let hidden_size = self.required("hidden_size")?;
        let num_heads = self.required("num_attention_heads")?;
        let head_dim = match self.size("head_dim")? {
            Some(size) => size,
            None => hidden_size.checked_div(num_heads).unwrap_or(0),
        };
        let max_position = self.required("max_position_embeddings")?;
        let partial_rotary_factor = self.rope_number("partial_rotary_factor")?.unwrap_or(1.0);
        let (sliding_window, window_from_layer) = self.window(architecture)?;
        let bias = self.flag("attention_bias")?;
        Config {
            architecture,
            vocab_size: self.required("vocab_size")?,
            hidden_size,
            intermediate_size: self.required("intermediate_size")?,
            num_layers: self.required("num_hidden_layers")?,
            num_heads,
            num_kv_heads: self.size("num_key_value_heads")?.unwrap_or(num_heads),
            head_dim,
            rms_norm_eps: self.number("rms_norm_eps")?.unwrap_or(1e-6),
            rope: Rope {
                theta: self.rope_number("rope_theta")?.unwrap_or(10_000.0),
                scaling: self.scaling(max_position)?,
            },
            max_position,
            tie_embeddings: self.flag("tie_word_embeddings")?,
            qkv_bias: architecture == Architecture::Qwen2 || bias,
            o_bias: architecture != Architecture::Qwen2 && bias,
            mlp_bias: self.flag("mlp_bias")?,
            qk_norm: architecture == Architecture::Qwen3,
            sliding_window,
            window_from_layer,
            partial_rotary_factor,
            bos: self.token_ids("bos_token_id")?.first().copied(),
            eos: self.token_ids("eos_token_id")?,
        }
        .validated(self.file)
    }

    /// Qwen has a window only when it says so, and only in its upper layers.
    fn window(&self, architecture: Architecture) -> Result<(Option<usize>, usize)> {
        match architecture {
            Architecture::Llama => Ok((None, 0)),
            Architecture::Mistral | Architecture::Phi3 => Ok((self.size("sliding_window")?, 0)),
            Architecture::Qwen2 | Architecture::Qwen3 => {
                if !self.flag("use_sliding_window")? {
                    return Ok((None, 0));
                }
                let from = self.size("max_window_layers")?.unwrap_or(0);
                Ok((self.size("sliding_window")?, from))
            }
        }
    }

    /// The rope settings: `rope_scaling` (version 4) or `rope_parameters` (version 5).
    fn rope_fields(&self) -> Option<Fields<'_>> {
        self.get("rope_parameters")
            .or_else(|| self.get("rope_scaling"))
            .map(|value| Fields { file: self.file, value })
    }

    fn rope_number(&self, field: &str) -> Result<Option<f64>> {
        if let Some(number) = self.number(field)? {
            return Ok(Some(number));
        }
        match self.rope_fields() {
            Some(rope) => rope.number(field),
            None => Ok(None),
        }
    }

    fn scaling(&self, max_position: usize) -> Result<RopeScaling> {
        let Some(rope) = self.rope_fields() else {
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
            "longrope" | "su" => self.long_rope(&rope, max_position),
            other => Err(self.fail(
                "rope_scaling",
                format!("has type `{other}`, which is not supported"),
                "use a model with default, linear, llama3 or longrope scaling",
            )),
        }
    }

    fn long_rope(&self, rope: &Fields<'_>, max_position: usize) -> Result<RopeScaling> {
        let original = match rope.size("original_max_position_embeddings")? {
            Some(size) => size,
            None => self.required("original_max_position_embeddings")?,
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

    fn positive(&self, field: &str) -> Result<f64> {
        match self.number(field)? {
            Some(number) if number > 0.0 && number.is_finite() => Ok(number),
            Some(number) => Err(self.fail(field, format!("is {number}"), "make it positive")),
            None => Err(self.fail(field, "is missing", "add it to the rope settings")),
        }
    }

    fn factors(&self, field: &str) -> Result<Vec<f64>> {
        self.get(field)
            .and_then(Value::as_array)
            .and_then(|list| list.iter().map(Value::as_f64).collect())
            .ok_or_else(|| self.fail(field, "is not a list of numbers", "add it"))
    }
}

/// LongRoPE (arXiv 2402.13753, section 3.3): sqrt(1 + ln s / ln L) for a context
/// stretched s times from L tokens.
pub(super) fn long_rope_attention_factor(max_position: usize, original: usize) -> f64 {
    let stretch = max_position as f64 / original as f64;
    if stretch <= 1.0 {
        return 1.0;
    }
    (1.0 + stretch.ln() / (original as f64).ln()).sqrt()
}
