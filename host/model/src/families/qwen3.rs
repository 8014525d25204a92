//! Qwen 3 (Yang et al. 2025, arXiv 2505.09388): a norm on every query and key head.

use serde_json::{Map, Value};

use super::window;
use crate::config::{Config, Family, Fields, QkNorm, Window};
use crate::error::Result;

/// `qwen3`
#[derive(Debug)]
pub struct Qwen3;

impl Family for Qwen3 {
    fn name(&self) -> &'static str {
        "qwen3"
    }

    fn class(&self) -> &'static str {
        "Qwen3ForCausalLM"
    }

    fn bias_flags(&self) -> &'static [&'static str] {
        &["attention_bias"]
    }

    fn complete(&self, config: &mut Config) {
        config.qk_norm = QkNorm::Head;
    }

    fn window_fields(&self) -> &'static [&'static str] {
        &window::SWITCHED_FIELDS
    }

    fn read_window(&self, json: &Fields) -> Result<Window> {
        window::read_switched(json)
    }

    fn write_window(&self, config: &Config, json: &mut Map<String, Value>) {
        window::write_switched(config, json);
    }
}
