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

/// A family of decoders with Llama's block: the ways in which its files and names differ from
/// those of other families. [`Config`] says what a block computes.
pub trait Family: Debug + Sync {
    /// `model_type` of config.json, and the architecture of GGUF.
    fn name(&self) -> &'static str;

    /// The model's class in transformers.
    fn class(&self) -> &'static str;

    /// Sets properties that all models of the family have and no file states.
    fn complete(&self, _config: &mut Config) {}

    /// Reads the sliding window from config.json: its size, and the first layer that has it.
    ///
    /// # Errors
    /// If a field holds something else.
    fn read_window(&self, _json: &Fields) -> Result<(Option<usize>, usize)> {
        Ok((None, 0))
    }

    /// Writes the window for [`Family::read_window`].
    fn write_window(&self, _config: &Config, _json: &mut Map<String, Value>) {}

    /// The linear layers of a block.
    fn modules(&self) -> &'static [Module] {
        SEPARATE
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
