//! Mistral (Jiang et al. 2023, arXiv 2310.06825). GGUF files call it `llama`.

use serde_json::{Map, Value};

use super::window;
use crate::config::{Config, Family, Fields, Window};
use crate::error::Result;

/// `mistral`
#[derive(Debug)]
pub struct Mistral;

impl Family for Mistral {
    fn name(&self) -> &'static str {
        "mistral"
    }

    fn class(&self) -> &'static str {
        "MistralForCausalLM"
    }

    fn gguf_name(&self) -> &'static str {
        "llama"
    }

    fn window_fields(&self) -> &'static [&'static str] {
        &window::SIZE_FIELDS
    }

    fn read_window(&self, json: &Fields) -> Result<Window> {
        // With layer types transformers takes such a model for a Ministral, which has the same block.
        window::read_typed(json, Some(4096))
    }

    fn write_window(&self, config: &Config, json: &mut Map<String, Value>) {
        window::write_size(config, json);
    }
}
