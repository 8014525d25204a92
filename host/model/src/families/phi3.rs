//! Phi-3, 3.5 and 4-mini (Abdin et al. 2024, arXiv 2404.14219): q, k and v stored as one module,
//! gate and up as another.

use serde_json::{Map, Value};

use super::window;
use crate::config::{Config, Family, Fields, Module, Target, Window};
use crate::error::Result;

/// `phi3`
#[derive(Debug)]
pub struct Phi3;

impl Family for Phi3 {
    fn name(&self) -> &'static str {
        "phi3"
    }

    fn class(&self) -> &'static str {
        "Phi3ForCausalLM"
    }

    fn default_norm_eps(&self) -> f64 {
        1e-5
    }

    fn rotates_a_part(&self) -> bool {
        true
    }

    /// Earlier names of longrope included.
    fn rope_types(&self) -> &'static [&'static str] {
        &["default", "longrope", "su", "yarn"]
    }

    fn default_original_context(&self) -> Option<usize> {
        Some(4096)
    }

    fn window_fields(&self) -> &'static [&'static str] {
        &window::SIZE_FIELDS
    }

    fn read_window(&self, json: &Fields) -> Result<Window> {
        window::read_size(json, None)
    }

    fn write_window(&self, config: &Config, json: &mut Map<String, Value>) {
        window::write_size(config, json);
    }

    fn modules(&self) -> &'static [Module] {
        &[
            Module { path: "self_attn.qkv_proj", parts: &[Target::Q, Target::K, Target::V] },
            Module { path: "mlp.gate_up_proj", parts: &[Target::Gate, Target::Up] },
            Module { path: "self_attn.o_proj", parts: &[Target::O] },
            Module { path: "mlp.down_proj", parts: &[Target::Down] },
        ]
    }

    /// Gate and up are one tensor under the name of up.
    fn gguf_module(&self, name: &str) -> Option<&'static str> {
        (name == "ffn_up").then_some("mlp.gate_up_proj")
    }
}
