//! The text model of Gemma 3 (Gemma Team 2025, arXiv 2503.19786): Gemma 2 with norms of query and
//! key heads in place of the cap of scores, and windows with a rotation of their own.

use serde_json::{Map, Value};

use super::{gemma, gemma2, window};
use crate::config::{
    Activation, Config, Family, Fields, GgufKey, NormPlacement, QkNorm, Rope, RopeScaling, Window,
};
use crate::error::Result;

/// Every sixth layer sees all tokens.
const PATTERN: usize = 6;
const PATTERN_FIELD: &str = "sliding_window_pattern";
/// Blocks of the 27B model.
const LAYERS_27B: usize = 62;
const LOCAL_THETA: f64 = 10_000.0;

/// `gemma3_text`
#[derive(Debug)]
pub struct Gemma3;

impl Family for Gemma3 {
    fn name(&self) -> &'static str {
        "gemma3_text"
    }

    fn class(&self) -> &'static str {
        "Gemma3ForCausalLM"
    }

    fn multimodal(&self) -> Option<&'static str> {
        Some("gemma3")
    }

    fn text_defaults(&self) -> &'static [(&'static str, u64)] {
        &[
            ("vocab_size", 262_208),
            ("hidden_size", 2304),
            ("intermediate_size", 9216),
            ("num_hidden_layers", 26),
            ("num_attention_heads", 8),
            ("num_key_value_heads", 4),
            ("head_dim", 256),
            ("max_position_embeddings", 131_072),
        ]
    }

    fn gguf_name(&self) -> &'static str {
        "gemma3"
    }

    fn activation(&self) -> (&'static str, Activation) {
        gemma::ACTIVATION
    }

    fn ties_by_default(&self) -> bool {
        true
    }

    fn default_theta(&self) -> f64 {
        1e6
    }

    fn local_theta(&self) -> Option<(&'static str, f64)> {
        Some(("rope_local_base_freq", LOCAL_THETA))
    }

    fn bias_flags(&self) -> &'static [&'static str] {
        &["attention_bias"]
    }

    fn complete(&self, config: &mut Config) {
        gemma::complete(config);
        config.norms = NormPlacement::Around;
        config.qk_norm = QkNorm::Head;
    }

    fn fields(&self) -> &'static [&'static str] {
        &gemma2::FIELDS
    }

    fn read(&self, json: &Fields, config: &mut Config) -> Result<()> {
        gemma2::read(json, config, [None, None])?;
        if let Some(cap) = config.attention_cap.take() {
            let what = format!("is {cap}, which {} doesn't read", self.class());
            json.note("attn_logit_softcapping", what);
        }
        Ok(())
    }

    fn write(&self, config: &Config, json: &mut Map<String, Value>) {
        gemma2::write(config, json);
    }

    fn window_fields(&self) -> &'static [&'static str] {
        &["sliding_window", "layer_types", PATTERN_FIELD, "_sliding_window_pattern"]
    }

    fn read_window(&self, json: &Fields) -> Result<Window> {
        let pattern = json.size(PATTERN_FIELD)?.unwrap_or(PATTERN);
        window::read_patterned(json, Some(4096), pattern)
    }

    fn write_window(&self, config: &Config, json: &mut Map<String, Value>) {
        window::write_typed(config, json);
    }

    fn gguf_keys(&self) -> &'static [GgufKey] {
        &[GgufKey::LogitCap, GgufKey::Window, GgufKey::WindowPattern, GgufKey::LocalTheta]
    }

    fn complete_gguf(&self, config: &mut Config) {
        gemma2::complete_gguf(config, PATTERN, LAYERS_27B);
        let local = Rope { theta: LOCAL_THETA, scaling: RopeScaling::None };
        config.local_rope.get_or_insert(local);
    }

    fn gguf_module(&self, name: &str) -> Option<&'static str> {
        gemma2::gguf_module(name)
    }
}
