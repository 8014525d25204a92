//! GGUF metadata: keys `ARCHITECTURE.field`, see the GGUF specification.

use std::cell::RefCell;
use std::collections::HashMap;

use candle_core::quantized::gguf_file::Value;

use crate::config::{
    Activation, Config, Experts, Family, GgufKey, LogitFinish, MOST, NormPlacement, QkNorm, Rope,
    RopeScaling, Scales, yarn_attention_factor,
};
use host_files::text::line;

use super::gguf_keys;
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
    /// Projections of attention's input have biases: `attn_q.bias` and so on.
    pub qkv_bias: bool,
    /// `attn_output.bias`
    pub o_bias: bool,
    /// `ffn_up.bias` and so on.
    pub mlp_bias: bool,
}

impl Config {
    /// Reads the metadata of a GGUF file; `file` names it in errors. The second is a line for every key that another one
    /// overrides or that isn't read.
    ///
    /// # Errors
    /// [`Error::Config`] that names the key.
    pub fn from_gguf(
        metadata: &HashMap<String, Value>,
        tensors: &GgufTensors,
        file: &str,
    ) -> Result<(Self, Vec<String>)> {
        let name = match metadata.get("general.architecture") {
            Some(Value::String(name)) => name.as_str(),
            _ => "(missing)",
        };
        let experts = metadata.get(&format!("{name}.expert_count")).and_then(whole);
        let has_experts = experts.is_some_and(|count| count > 0);
        let family = families::find_gguf(name, has_experts).ok_or_else(|| Error::Config {
            file: file.into(),
            field: "general.architecture".into(),
            problem: families::unknown_gguf(&line(name), has_experts),
            action: format!("use one of: {}", families::names()),
        })?;
        let metadata = Metadata { metadata, name, file, notices: RefCell::default() };
        let config = metadata.config(family, tensors)?;
        let unread = gguf_keys::unread(metadata.metadata, name, &config);
        let unread = unread.map_err(|(key, problem)| Error::Config {
            file: file.into(),
            field: line(&key).into_owned(),
            problem,
            action: "use a model of a supported kind, or its safetensors".into(),
        })?;
        let mut notices = metadata.notices.into_inner();
        notices.extend(unread.map(|unread| format!("{file}: {unread}")));
        Ok((config, notices))
    }
}

pub(super) struct Metadata<'a> {
    metadata: &'a HashMap<String, Value>,
    name: &'a str,
    file: &'a str,
    notices: RefCell<Vec<String>>,
}

impl Metadata<'_> {
    pub(super) fn fail(&self, field: &str, problem: &str) -> Error {
        Error::Config {
            file: self.file.into(),
            field: format!("{}.{field}", self.name),
            problem: line(problem).into_owned(),
            action: "convert the model to GGUF again".into(),
        }
    }

    fn note(&self, field: &str, what: &str) {
        let text = format!("{}: `{}.{field}` {}", self.file, self.name, line(what));
        self.notices.borrow_mut().push(text);
    }

    pub(super) fn get(&self, field: &str) -> Option<&Value> {
        self.metadata.get(&format!("{}.{field}", self.name))
    }

    pub(super) fn size(&self, field: &str) -> Result<Option<usize>> {
        match self.get(field) {
            None => Ok(None),
            Some(value) => whole(self.same(field, value)?)
                .map(|number| Some(number as usize))
                .ok_or_else(|| self.fail(field, "is not a whole number")),
        }
    }

    /// The value of every layer, where a list has one for each.
    fn same<'v>(&self, field: &str, value: &'v Value) -> Result<&'v Value> {
        let Value::Array(list) = value else { return Ok(value) };
        match list.split_first() {
            Some((first, others)) if others.iter().all(|other| whole(other) == whole(first)) => {
                Ok(first)
            }
            _ => Err(self.fail(field, "differs from layer to layer, which isn't supported")),
        }
    }

    fn required(&self, field: &str) -> Result<usize> {
        self.size(field)?.ok_or_else(|| self.fail(field, "is missing"))
    }

    /// The number of blocks, which may be taken as the length of a list: no more than any model has.
    fn layers(&self) -> Result<usize> {
        let layers = self.required("block_count")?;
        if layers > MOST {
            return Err(self.fail("block_count", &format!("is {layers}, outside 1 to {MOST}")));
        }
        Ok(layers)
    }

    pub(super) fn number(&self, field: &str) -> Result<Option<f64>> {
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
        let Some(Value::Array(tokens)) = self.metadata.get("tokenizer.ggml.tokens") else {
            return self.required("vocab_size");
        };
        if let Some(size) = self.size("vocab_size")?.filter(|size| *size != tokens.len()) {
            let what = format!(
                "is {size}; the {} tokens of tokenizer.ggml.tokens count, as in llama.cpp",
                tokens.len()
            );
            self.note("vocab_size", &what);
        }
        Ok(tokens.len())
    }

    fn config(&self, family: &'static dyn Family, tensors: &GgufTensors) -> Result<Config> {
        let hidden_size = self.required("embedding_length")?;
        let num_heads = self.required("attention.head_count")?;
        let head_dim = match self.size("attention.key_length")? {
            Some(size) => size,
            None => hidden_size.checked_div(num_heads).unwrap_or(0),
        };
        if let Some(size) = self.size("attention.value_length")?.filter(|size| *size != head_dim) {
            let problem = format!(
                "is {size}, but attention.key_length is {head_dim}: heads of two sizes aren't supported"
            );
            return Err(self.fail("attention.value_length", &problem));
        }
        let max_position = self.required("context_length")?;
        let rotary = self.size("rope.dimension_count")?.unwrap_or(head_dim);
        // llama.cpp refuses it too.
        if rotary != head_dim && !family.rotates_a_part() {
            let problem =
                format!("is {rotary}, but the heads have {head_dim} dimensions, all rotated");
            return Err(self.fail("rope.dimension_count", &problem));
        }
        if !family.gguf_keys().contains(&GgufKey::Window)
            && let Some(window) =
                self.size("attention.sliding_window")?.filter(|it| (1..max_position).contains(it))
        {
            let what =
                format!("is {window} and isn't read, as in llama.cpp: a token sees all before it");
            self.note("attention.sliding_window", &what);
        }
        let eps = self.number("attention.layer_norm_rms_epsilon")?;
        let mut config = Config {
            family,
            vocab_size: self.vocab_size()?,
            hidden_size,
            intermediate_size: self.required("feed_forward_length")?,
            num_layers: self.layers()?,
            num_heads,
            num_kv_heads: self.size("attention.head_count_kv")?.unwrap_or(num_heads),
            head_dim,
            rms_norm_eps: eps.map_or(1e-6, shortest),
            rope: Rope {
                theta: self.number("rope.freq_base")?.unwrap_or(10_000.0),
                scaling: self.scaling(max_position, rotary / 2, tensors)?,
            },
            activation: Activation::Silu,
            norms: NormPlacement::Before,
            norm_offset: 0.0,
            scales: Scales::default(),
            attention_cap: None,
            logits: LogitFinish::default(),
            local_rope: None,
            rotated_layers: None,
            max_position,
            tie_embeddings: !tensors.has_output,
            qkv_bias: tensors.qkv_bias,
            o_bias: tensors.o_bias,
            mlp_bias: tensors.mlp_bias,
            qk_norm: QkNorm::None,
            sliding_window: None,
            window_layers: None,
            experts: self.experts(family)?,
            partial_rotary_factor: rotary as f64 / head_dim.max(1) as f64,
            bos: self.token_id("tokenizer.ggml.bos_token_id"),
            eos: self.token_id("tokenizer.ggml.eos_token_id").into_iter().collect(),
        };
        family.complete(&mut config);
        for key in family.gguf_keys() {
            self.set(*key, &mut config)?;
        }
        family.complete_gguf(&mut config);
        config.validated(self.file)
    }

    /// The weights of a row's experts sum to one, as in llama.cpp for the architectures that are served.
    fn experts(&self, family: &dyn Family) -> Result<Option<Experts>> {
        if family.expert_names().is_none() {
            return Ok(None);
        }
        let intermediate_size = match self.size("expert_feed_forward_length")? {
            Some(size) => size,
            None => self.required("feed_forward_length")?,
        };
        Ok(Some(Experts {
            count: self.required("expert_count")?,
            per_token: self.required("expert_used_count")?,
            intermediate_size,
            normalize: true,
            layers: None,
        }))
    }

    /// The kind of scaling and its factor. As in llama.cpp a factor without a kind is linear, and `scale_linear` is an
    /// old name of it.
    fn stretch(&self) -> Result<(&str, f64)> {
        let stated = match self.get("rope.scaling.type") {
            None => None,
            Some(Value::String(kind)) => Some(kind.as_str()),
            Some(_) => return Err(self.fail("rope.scaling.type", "is not a text")),
        };
        let kind = stated.unwrap_or("linear");
        if !["none", "linear", "yarn", "longrope"].contains(&kind) {
            let problem =
                format!("is {kind:?}, which isn't supported: none, linear, yarn and longrope are");
            return Err(self.fail("rope.scaling.type", &problem));
        }
        let named = ["rope.scaling.factor", "rope.scale_linear"]
            .into_iter()
            .find(|field| self.get(field).is_some());
        let Some(field) = named else {
            return match kind {
                "yarn" => Err(self.fail("rope.scaling.factor", "is missing")),
                _ => Ok((kind, 1.0)),
            };
        };
        // llama.cpp reads 0 as not stated.
        let factor = self.number(field)?.filter(|factor| *factor != 0.0).unwrap_or(1.0);
        if !(factor.is_finite() && factor > 0.0) {
            return Err(self.fail(field, &format!("is {factor}")));
        }
        match (kind, stated) {
            ("none", _) if factor != 1.0 => {
                self.note(
                    field,
                    &format!(
                        "is {factor} and isn't read: rope.scaling.type is \"none\", as in llama.cpp"
                    ),
                );
                Ok((kind, 1.0))
            }
            (_, None) if factor != 1.0 => {
                self.note(
                    field,
                    &format!(
                        "is {factor}: without rope.scaling.type it is linear, as in llama.cpp"
                    ),
                );
                Ok((kind, factor))
            }
            _ => Ok((kind, factor)),
        }
    }

    fn scaling(
        &self,
        max_position: usize,
        half: usize,
        tensors: &GgufTensors,
    ) -> Result<RopeScaling> {
        let (kind, factor) = self.stretch()?;
        let attention_factor = self.number("rope.scaling.attn_factor")?;
        let original_max_position =
            self.size("rope.scaling.original_context_length")?.unwrap_or(max_position);
        for field in [
            "yarn_ext_factor",
            "yarn_attn_factor",
            "yarn_beta_fast",
            "yarn_beta_slow",
            "yarn_log_multiplier",
            "alpha",
        ] {
            let field = format!("rope.scaling.{field}");
            if self.get(&field).is_some() {
                self.note(
                    &field,
                    &format!("isn't read: llama.cpp doesn't read it for {}", self.name),
                );
            }
        }
        // Divisors from tensors come on top of the factor.
        let divisors =
            |list: &[f32]| list.iter().map(|f| f64::from(*f) * factor).collect::<Vec<f64>>();
        if kind == "yarn" {
            if tensors.rope_freqs.is_some() || tensors.rope_factors.is_some() {
                return Err(self.fail(
                    "rope.scaling.type",
                    "is \"yarn\", but there are tensors with factors as well",
                ));
            }
            return Ok(RopeScaling::Yarn {
                factor,
                original_max_position,
                attention_factor: yarn_attention_factor(factor, 1.0)
                    * attention_factor.unwrap_or(1.0),
                beta_fast: 32.0,
                beta_slow: 1.0,
                truncate: true,
            });
        }
        let (short_factor, long_factor) = match (&tensors.rope_factors, &tensors.rope_freqs) {
            (Some((short, long)), _) => (divisors(short), divisors(long)),
            (None, Some(factors)) => (divisors(factors), divisors(factors)),
            (None, None) if kind == "longrope" => {
                return Err(self.fail("rope.scaling.type", "is \"longrope\", but the tensors rope_factors_short.weight and rope_factors_long.weight are missing"));
            }
            (None, None) if attention_factor.is_none_or(|factor| factor == 1.0) => {
                return Ok(if factor == 1.0 {
                    RopeScaling::None
                } else {
                    RopeScaling::Linear { factor }
                });
            }
            (None, None) => (vec![factor; half], vec![factor; half]),
        };
        if tensors.rope_factors.is_none() && attention_factor.is_none_or(|factor| factor == 1.0) {
            return Ok(RopeScaling::Factors { factors: short_factor });
        }
        if attention_factor.is_none() {
            self.note(
                "rope.scaling.attn_factor",
                "is missing: nothing scales cos and sin, as in llama.cpp",
            );
        }
        Ok(RopeScaling::LongRope {
            short_factor,
            long_factor,
            original_max_position,
            attention_factor: attention_factor.unwrap_or(1.0),
        })
    }
}

pub(super) fn whole(value: &Value) -> Option<u64> {
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
pub(super) fn shortest(value: f64) -> f64 {
    (value as f32).to_string().parse().unwrap_or(value)
}
