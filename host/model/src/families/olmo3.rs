//! OLMo 3 (Olmo Team 2025, arXiv 2512.13961): OLMo 2 with a window in three of four layers, whose rotation isn't
//! stretched.

use serde_json::{Map, Value};

use super::{gemma2, window};
use crate::config::{
    Config, Family, Fields, GgufKey, NormPlacement, QkNorm, Rope, RopeScaling, Window,
};
use crate::error::Result;

/// Every fourth layer sees all tokens.
const PATTERN: usize = 4;
const THETA: f64 = 500_000.0;
/// Of both generations.
pub(super) const KEYS: [GgufKey; 3] =
    [GgufKey::Window, GgufKey::WindowPattern, GgufKey::LocalTheta];

/// `olmo3`
#[derive(Debug)]
pub struct Olmo3;

impl Family for Olmo3 {
    fn name(&self) -> &'static str {
        "olmo3"
    }

    fn class(&self) -> &'static str {
        "Olmo3ForCausalLM"
    }

    /// Of both generations; a window tells them apart.
    fn gguf_name(&self) -> &'static str {
        "olmo2"
    }

    fn default_norm_eps(&self) -> f64 {
        1e-5
    }

    fn default_theta(&self) -> f64 {
        THETA
    }

    fn local_theta(&self) -> Option<(&'static str, f64)> {
        Some(("rope_theta", THETA))
    }

    fn bias_flags(&self) -> &'static [&'static str] {
        &["attention_bias"]
    }

    fn complete(&self, config: &mut Config) {
        config.norms = NormPlacement::After;
        config.qk_norm = QkNorm::Whole;
    }

    fn window_fields(&self) -> &'static [&'static str] {
        &window::SIZE_FIELDS
    }

    fn read_window(&self, json: &Fields) -> Result<Window> {
        window::read_patterned(json, Some(4096), PATTERN)
    }

    fn write_window(&self, config: &Config, json: &mut Map<String, Value>) {
        window::write_typed(config, json);
    }

    fn gguf_keys(&self) -> &'static [GgufKey] {
        &KEYS
    }

    /// It has no norm before the MLP.
    fn gguf_module(&self, name: &str) -> Option<&'static str> {
        gemma2::gguf_module(name)
    }
}

/// An OLMo 2 whose GGUF file states a window.
pub(super) fn complete_gguf(config: &mut Config) {
    window::complete(config, PATTERN);
    if config.sliding_window.is_some() {
        config.family = &Olmo3;
        let local = Rope { theta: config.rope.theta, scaling: RopeScaling::None };
        config.local_rope.get_or_insert(local);
    }
}
