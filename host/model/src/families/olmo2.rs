//! OLMo 2 (OLMo Team 2024, arXiv 2501.00656): norms after attention and MLP alone, and norms over all
//! query heads and all key heads of a row.

use super::{gemma2, olmo3};
use crate::config::{Config, Family, GgufKey, NormPlacement, QkNorm};

/// `olmo2`
#[derive(Debug)]
pub struct Olmo2;

impl Family for Olmo2 {
    fn name(&self) -> &'static str {
        "olmo2"
    }

    fn class(&self) -> &'static str {
        "Olmo2ForCausalLM"
    }

    fn default_norm_eps(&self) -> f64 {
        1e-5
    }

    fn bias_flags(&self) -> &'static [&'static str] {
        &["attention_bias"]
    }

    fn complete(&self, config: &mut Config) {
        config.norms = NormPlacement::After;
        config.qk_norm = QkNorm::Whole;
    }

    fn gguf_keys(&self) -> &'static [GgufKey] {
        &olmo3::KEYS
    }

    fn complete_gguf(&self, config: &mut Config) {
        olmo3::complete_gguf(config);
    }

    /// It has no norm before the MLP.
    fn gguf_module(&self, name: &str) -> Option<&'static str> {
        gemma2::gguf_module(name)
    }
}
