//! Mistral (Jiang et al. 2023, arXiv 2310.06825). GGUF files call it `llama`.

use serde_json::{Map, Value};

use super::window;
use crate::config::{Config, Family, Fields};
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

    fn read_window(&self, json: &Fields) -> Result<(Option<usize>, usize)> {
        window::read_size(json)
    }

    fn write_window(&self, config: &Config, json: &mut Map<String, Value>) {
        window::write_size(config, json);
    }
}
