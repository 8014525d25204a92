//! Granite 3 (Granite Team 2024): Llama with factors on embedding, scores, branches and logits
//! (Yang et al. 2022, arXiv 2203.03466).

use serde_json::{Map, Value, json};

use crate::config::{Config, Family, Fields, GgufKey};
use crate::error::Result;

/// `granite`
#[derive(Debug)]
pub struct Granite;

pub(super) const FIELDS: [&str; 4] =
    ["embedding_multiplier", "attention_multiplier", "residual_multiplier", "logits_scaling"];

impl Family for Granite {
    fn name(&self) -> &'static str {
        "granite"
    }

    fn class(&self) -> &'static str {
        "GraniteForCausalLM"
    }

    fn bias_flags(&self) -> &'static [&'static str] {
        &["attention_bias", "mlp_bias"]
    }

    fn interleaves_heads_in_gguf(&self) -> bool {
        true
    }

    fn fields(&self) -> &'static [&'static str] {
        &FIELDS
    }

    fn read(&self, json: &Fields, config: &mut Config) -> Result<()> {
        read(json, config)
    }

    fn write(&self, config: &Config, json: &mut Map<String, Value>) {
        write(config, json);
    }

    fn gguf_keys(&self) -> &'static [GgufKey] {
        &[
            GgufKey::EmbeddingScale,
            GgufKey::AttentionScale,
            GgufKey::ResidualScale,
            GgufKey::LogitDivisor,
            GgufKey::Rotates,
        ]
    }
}

/// Reads the factors.
pub(super) fn read(json: &Fields, config: &mut Config) -> Result<()> {
    // Absent each is 1, that of attention as well.
    let number = |field: &str| -> Result<f64> { Ok(json.number(field)?.unwrap_or(1.0)) };
    config.scales.embedding = number(FIELDS[0])?;
    config.scales.attention = Some(number(FIELDS[1])?);
    config.scales.residual = number(FIELDS[2])?;
    config.logits.divisor = number(FIELDS[3])?;
    Ok(())
}

/// Writes them for [`read`].
pub(super) fn write(config: &Config, json: &mut Map<String, Value>) {
    let default = (config.head_dim as f64).powf(-0.5);
    let attention = config.scales.attention.unwrap_or(default);
    let values =
        [config.scales.embedding, attention, config.scales.residual, config.logits.divisor];
    for (field, value) in FIELDS.into_iter().zip(values) {
        json.insert(field.into(), json!(value));
    }
}
