//! GGUF metadata: keys `ARCHITECTURE.field`, see the GGUF specification.

use std::collections::HashMap;

use candle_core::quantized::gguf_file::Value;

use crate::config::{Config, Family, Rope, RopeScaling, long_rope_attention_factor};
use crate::error::{Error, Result};
use crate::families;

/// What GGUF says by means of tensors instead of metadata.
#[derive(Debug, Clone, Default)]
pub struct GgufTensors {
    /// `output.weight` exists: the head is not the embedding.
    pub has_output: bool,
    /// `rope_freqs.weight`: one divisor per frequency (Llama 3).
    pub rope_freqs: Option<Vec<f32>>,
    /// `rope_factors_short.weight` and `rope_factors_long.weight` (Phi-3).
    pub rope_factors: Option<(Vec<f32>, Vec<f32>)>,
}

impl Config {
    /// Reads the metadata of a GGUF file; `file` names it in errors.
    pub fn from_gguf(
        metadata: &HashMap<String, Value>,
        tensors: &GgufTensors,
        file: &str,
    ) -> Result<Self> {
        let name = match metadata.get("general.architecture") {
            Some(Value::String(name)) => name.as_str(),
            _ => "(missing)",
        };
        // A Mistral is written with architecture `llama`.
        let family = families::find(name).ok_or_else(|| Error::Config {
            file: file.into(),
            field: "general.architecture".into(),
            problem: format!("is `{name}`, which is not supported"),
            action: format!("use one of: {}", families::names()),
        })?;
        Metadata { metadata, name, file }.config(family, tensors)
    }
}

struct Metadata<'a> {
    metadata: &'a HashMap<String, Value>,
    name: &'a str,
    file: &'a str,
}

impl Metadata<'_> {
    fn fail(&self, field: &str, problem: &str) -> Error {
        Error::Config {
            file: self.file.into(),
            field: format!("{}.{field}", self.name),
            problem: problem.into(),
            action: "convert the model to GGUF again".into(),
        }
    }

    fn get(&self, field: &str) -> Option<&Value> {
        self.metadata.get(&format!("{}.{field}", self.name))
    }

    fn size(&self, field: &str) -> Result<Option<usize>> {
        match self.get(field) {
            None => Ok(None),
            Some(value) => whole(value)
                .map(|number| Some(number as usize))
                .ok_or_else(|| self.fail(field, "is not a whole number")),
        }
    }

    fn required(&self, field: &str) -> Result<usize> {
        self.size(field)?.ok_or_else(|| self.fail(field, "is missing"))
    }

    fn number(&self, field: &str) -> Result<Option<f64>> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::F32(number)) => Ok(Some(f64::from(*number))),
            Some(Value::F64(number)) => Ok(Some(*number)),
            Some(_) => Err(self.fail(field, "is not a number")),
        }
    }

    fn token_id(&self, key: &str) -> Option<u32> {
        let value = self.metadata.get(key).and_then(whole)?;
        u32::try_from(value).ok()
    }

    fn vocab_size(&self) -> Result<usize> {
        // The token list is what the embedding really has rows for.
        match self.metadata.get("tokenizer.ggml.tokens") {
            Some(Value::Array(tokens)) => Ok(tokens.len()),
            _ => self.required("vocab_size"),
        }
    }

    fn config(&self, family: &'static dyn Family, tensors: &GgufTensors) -> Result<Config> {
        let hidden_size = self.required("embedding_length")?;
        let num_heads = self.required("attention.head_count")?;
        let head_dim = match self.size("attention.key_length")? {
            Some(size) => size,
            None => hidden_size.checked_div(num_heads).unwrap_or(0),
        };
        let max_position = self.required("context_length")?;
        let rotary = self.size("rope.dimension_count")?.unwrap_or(head_dim);
        let eps = self.number("attention.layer_norm_rms_epsilon")?;
        let mut config = Config {
            family,
            vocab_size: self.vocab_size()?,
            hidden_size,
            intermediate_size: self.required("feed_forward_length")?,
            num_layers: self.required("block_count")?,
            num_heads,
            num_kv_heads: self.size("attention.head_count_kv")?.unwrap_or(num_heads),
            head_dim,
            rms_norm_eps: eps.map_or(1e-6, shortest),
            rope: Rope {
                theta: self.number("rope.freq_base")?.unwrap_or(10_000.0),
                scaling: self.scaling(max_position, tensors)?,
            },
            max_position,
            tie_embeddings: !tensors.has_output,
            qkv_bias: false,
            o_bias: false,
            mlp_bias: false,
            qk_norm: false,
            sliding_window: self.size("attention.sliding_window")?.filter(|window| *window > 0),
            window_from_layer: 0,
            partial_rotary_factor: rotary as f64 / head_dim.max(1) as f64,
            bos: self.token_id("tokenizer.ggml.bos_token_id"),
            eos: self.token_id("tokenizer.ggml.eos_token_id").into_iter().collect(),
        };
        family.complete(&mut config);
        config.validated(self.file)
    }

    fn scaling(&self, max_position: usize, tensors: &GgufTensors) -> Result<RopeScaling> {
        let wide = |list: &[f32]| list.iter().map(|f| f64::from(*f)).collect::<Vec<f64>>();
        if let Some(factors) = &tensors.rope_freqs {
            return Ok(RopeScaling::Factors { factors: wide(factors) });
        }
        if let Some((short, long)) = &tensors.rope_factors {
            let original =
                self.size("rope.scaling.original_context_length")?.unwrap_or(max_position);
            let attention_factor = match self.number("rope.scaling.attn_factor")? {
                Some(factor) => factor,
                None => long_rope_attention_factor(max_position, original),
            };
            return Ok(RopeScaling::LongRope {
                short_factor: wide(short),
                long_factor: wide(long),
                original_max_position: original,
                attention_factor,
            });
        }
        match self.get("rope.scaling.type") {
            Some(Value::String(kind)) if kind == "linear" => Ok(RopeScaling::Linear {
                factor: self
                    .number("rope.scaling.factor")?
                    .filter(|factor| *factor > 0.0)
                    .ok_or_else(|| self.fail("rope.scaling.factor", "is missing"))?,
            }),
            Some(Value::String(kind)) if kind == "none" => Ok(RopeScaling::None),
            None => Ok(RopeScaling::None),
            Some(_) => Err(self.fail("rope.scaling.type", "is not supported")),
        }
    }
}

fn whole(value: &Value) -> Option<u64> {
    match value {
        Value::U8(number) => Some(u64::from(*number)),
        Value::U16(number) => Some(u64::from(*number)),
        Value::U32(number) => Some(u64::from(*number)),
        Value::U64(number) => Some(*number),
        Value::I8(number) => u64::try_from(*number).ok(),
        Value::I16(number) => u64::try_from(*number).ok(),
        Value::I32(number) => u64::try_from(*number).ok(),
        Value::I64(number) => u64::try_from(*number).ok(),
        _ => None,
    }
}

/// The decimal a 32-bit float was written as: 1e-5, not 9.999999747378752e-6.
fn shortest(value: f64) -> f64 {
    (value as f32).to_string().parse().unwrap_or(value)
}
