//! The trait of model families.

use std::fmt::Debug;

use serde_json::{Map, Value};

use super::{Config, Fields, Target};
use crate::error::Result;

/// A linear layer of a block as a family's files hold it.
#[derive(Debug, PartialEq, Eq)]
pub struct Module {
    /// Path inside the block: `self_attn.q_proj`.
    pub path: &'static str,
    /// The projections in it, top to bottom.
    pub parts: &'static [Target],
}

impl Module {
    /// The last part of its path, by which `peft` names it.
    pub fn name(&self) -> &'static str {
        self.path.rsplit('.').next().unwrap_or(self.path)
    }

    /// Whether several projections are stored as one.
    pub fn is_stacked(&self) -> bool {
        self.parts.len() > 1
    }
}

/// Every projection as a module of its own.
pub const SEPARATE: &[Module] = &[
    Module { path: "self_attn.q_proj", parts: &[Target::Q] },
    Module { path: "self_attn.k_proj", parts: &[Target::K] },
    Module { path: "self_attn.v_proj", parts: &[Target::V] },
    Module { path: "mlp.gate_proj", parts: &[Target::Gate] },
    Module { path: "mlp.up_proj", parts: &[Target::Up] },
    Module { path: "self_attn.o_proj", parts: &[Target::O] },
    Module { path: "mlp.down_proj", parts: &[Target::Down] },
];

/// A sliding window of attention.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Window {
    /// Keys that a query sees; none: all.
    pub size: Option<usize>,
    /// Per layer whether it holds; none: in all of them.
    pub layers: Option<Vec<bool>>,
}

/// A family of decoders with Llama's block: the ways in which its files and names differ from
/// those of other families. [`Config`] says what a block computes.
pub trait Family: Debug + Sync {
    /// `model_type` of config.json, and the architecture of GGUF.
    fn name(&self) -> &'static str;

    /// The model's class in transformers.
    fn class(&self) -> &'static str;

    /// Sets properties that all models of the family have and no file states.
    fn complete(&self, _config: &mut Config) {}

    /// The epsilon of its norms when config.json states none.
    fn default_norm_eps(&self) -> f64 {
        1e-6
    }

    /// Whether a part of every head is left out of the rotation when config.json says so.
    fn rotates_a_part(&self) -> bool {
        false
    }

    /// The flags of config.json that give a projection a bias; others aren't read.
    fn bias_flags(&self) -> &'static [&'static str] {
        &[]
    }

    /// The original context of stretched frequencies when config.json states none outside of the rope settings,
    /// if the family's configuration class in transformers has one.
    fn default_original_context(&self) -> Option<usize> {
        None
    }

    /// The rope types that the family's code in transformers takes.
    fn rope_types(&self) -> &'static [&'static str] {
        &["default", "linear", "dynamic", "yarn", "longrope", "llama3"]
    }

    /// The fields of config.json that [`Family::read_window`] reads.
    fn window_fields(&self) -> &'static [&'static str] {
        &[]
    }

    /// Reads the sliding window from config.json.
    ///
    /// # Errors
    /// If a field holds something else, or two contradict each other.
    fn read_window(&self, _json: &Fields) -> Result<Window> {
        Ok(Window::default())
    }

    /// Writes the window for [`Family::read_window`].
    fn write_window(&self, _config: &Config, _json: &mut Map<String, Value>) {}

    /// The linear layers of a block.
    fn modules(&self) -> &'static [Module] {
        SEPARATE
    }

    /// What GGUF files call it (`general.architecture`).
    fn gguf_architecture(&self) -> &'static str {
        self.name()
    }

    /// The module of a GGUF tensor (`ffn_up`) whose name means something else in this family.
    fn gguf_module(&self, _name: &str) -> Option<&'static str> {
        None
    }

    /// Whether GGUF interleaves the halves of every query and key head.
    fn interleaves_heads_in_gguf(&self) -> bool {
        false
    }
}

impl PartialEq for dyn Family {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}
