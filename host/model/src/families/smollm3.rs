//! SmolLM 3 (Bakouch et al. 2025): Llama without rotation in every fourth layer (Yang et al. 2025,
//! arXiv 2501.18795).

use serde_json::{Map, Value, json};

use super::window;
use crate::config::{Config, Family, Fields, Window};
use crate::error::Result;

const INTERVAL: usize = 4;
const LAYERS: &str = "no_rope_layers";
const INTERVAL_FIELD: &str = "no_rope_layer_interval";

/// `smollm3`
#[derive(Debug)]
pub struct SmolLm3;

/// Every `interval`-th layer is left out of the rotation.
fn rotated(layers: usize, interval: usize) -> Option<Vec<bool>> {
    let rotated = |layer: usize| !(layer + 1).is_multiple_of(interval);
    normal((0..layers).map(rotated).collect())
}

/// One form for models that rotate in all layers.
fn normal(layers: Vec<bool>) -> Option<Vec<bool>> {
    layers.contains(&false).then_some(layers)
}

impl Family for SmolLm3 {
    fn name(&self) -> &'static str {
        "smollm3"
    }

    fn class(&self) -> &'static str {
        "SmolLM3ForCausalLM"
    }

    fn ties_by_default(&self) -> bool {
        true
    }

    fn default_theta(&self) -> f64 {
        2e6
    }

    fn bias_flags(&self) -> &'static [&'static str] {
        &["attention_bias", "mlp_bias"]
    }

    fn interleaves_heads_in_gguf(&self) -> bool {
        true
    }

    fn fields(&self) -> &'static [&'static str] {
        &[LAYERS, INTERVAL_FIELD]
    }

    fn read(&self, json: &Fields, config: &mut Config) -> Result<()> {
        let interval = json.size(INTERVAL_FIELD)?.unwrap_or(INTERVAL);
        if interval == 0 {
            return Err(json.fail(INTERVAL_FIELD, "is 0", "make it positive"));
        }
        config.rotated_layers = if json.get(LAYERS).is_some() {
            let flags = json.factors(LAYERS)?;
            if flags.len() < config.num_layers {
                let problem = format!("has {} entries", flags.len());
                return Err(json.fail(LAYERS, problem, "give one for every layer"));
            }
            normal(flags[..config.num_layers].iter().map(|flag| *flag != 0.0).collect())
        } else {
            rotated(config.num_layers, interval)
        };
        Ok(())
    }

    fn write(&self, config: &Config, json: &mut Map<String, Value>) {
        let rotated = |layer| u8::from(config.layer_rope(layer).is_some());
        let flags: Vec<u8> = (0..config.num_layers).map(rotated).collect();
        json.insert(LAYERS.into(), json!(flags));
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

    fn complete_gguf(&self, config: &mut Config) {
        config.rotated_layers = rotated(config.num_layers, INTERVAL);
    }
}
