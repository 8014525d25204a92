//! Qwen 2 and 2.5 (Yang et al. 2024, arXiv 2407.10671): biases on q, k and v alone.

use serde_json::{Map, Value};

use super::window;
use crate::config::{Config, Family, Fields, Window};
use crate::error::Result;

/// `qwen2`
#[derive(Debug)]
pub struct Qwen2;

impl Family for Qwen2 {
    fn name(&self) -> &'static str {
        "qwen2"
    }

    fn class(&self) -> &'static str {
        "Qwen2ForCausalLM"
    }

    fn complete(&self, config: &mut Config) {
        config.qkv_bias = true;
        config.o_bias = false;
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
