//! The trait of model families.

use std::fmt::Debug;

use serde_json::{Map, Value};

use super::{Activation, Config, ExpertNames, Experts, Fields, Target};
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

    /// Whether it is one projection by its own name.
    pub fn is_separate(&self) -> bool {
        let own = |part: &Target| self.path == format!("{}.{}", part.part(), part.name());
        matches!(self.parts, [part] if own(part))
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

/// A key of GGUF that only some families read, without the architecture before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GgufKey {
    /// `attention.scale`
    AttentionScale,
    /// `embedding_scale`
    EmbeddingScale,
    /// `residual_scale`
    ResidualScale,
    /// `logit_scale`: what logits are divided by.
    LogitDivisor,
    /// `attn_logit_softcapping`
    AttentionCap,
    /// `final_logit_softcapping`
    LogitCap,
    /// `attention.sliding_window`
    Window,
    /// `attention.sliding_window_pattern`: every how manyth layer has no window, or a flag per layer.
    WindowPattern,
    /// `rope.freq_base_swa`
    LocalTheta,
    /// `rope.scaling.finetuned`: false where nothing is rotated.
    Rotates,
}

impl GgufKey {
    /// The key.
    pub fn name(self) -> &'static str {
        match self {
            Self::AttentionScale => "attention.scale",
            Self::EmbeddingScale => "embedding_scale",
            Self::ResidualScale => "residual_scale",
            Self::LogitDivisor => "logit_scale",
            Self::AttentionCap => "attn_logit_softcapping",
            Self::LogitCap => "final_logit_softcapping",
            Self::Window => "attention.sliding_window",
            Self::WindowPattern => "attention.sliding_window_pattern",
            Self::LocalTheta => "rope.freq_base_swa",
            Self::Rotates => "rope.scaling.finetuned",
        }
    }
}

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
    /// `model_type` of config.json.
    fn name(&self) -> &'static str;

    /// The architecture of GGUF.
    fn gguf_name(&self) -> &'static str {
        self.name()
    }

    /// The model's class in transformers.
    fn class(&self) -> &'static str;

    /// `model_type` of models that put an image encoder before one of this family, described under
    /// `text_config`.
    fn multimodal(&self) -> Option<&'static str> {
        None
    }

    /// What such a `text_config` leaves out where it is the default of transformers.
    fn text_defaults(&self) -> &'static [(&'static str, u64)] {
        &[]
    }

    /// Sets properties that all models of the family have and no file states.
    fn complete(&self, _config: &mut Config) {}

    /// The field of config.json with the function of the MLP's gate, and the function without it.
    fn activation(&self) -> (&'static str, Activation) {
        ("hidden_act", Activation::Silu)
    }

    /// Whether the embedding is the head when config.json doesn't say.
    fn ties_by_default(&self) -> bool {
        false
    }

    /// The field of config.json with the base of the rotation in layers with a window, and the base
    /// without it, if those layers have a rotation of their own.
    fn local_theta(&self) -> Option<(&'static str, f64)> {
        None
    }

    /// Fields of config.json that [`Family::read`] reads.
    fn fields(&self) -> &'static [&'static str] {
        &[]
    }

    /// Reads what only this family's config.json has.
    ///
    /// # Errors
    /// If a field holds something else, or a setting that isn't supported.
    fn read(&self, _json: &Fields, _config: &mut Config) -> Result<()> {
        Ok(())
    }

    /// Writes it for [`Family::read`].
    fn write(&self, _config: &Config, _json: &mut Map<String, Value>) {}

    /// The epsilon of its norms when config.json states none.
    fn default_norm_eps(&self) -> f64 {
        1e-6
    }

    /// The base of the rotation's frequencies when config.json states none.
    fn default_theta(&self) -> f64 {
        10_000.0
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

    /// The fields of config.json that [`Family::read_experts`] reads.
    fn expert_fields(&self) -> &'static [&'static str] {
        &[]
    }

    /// Reads the experts from config.json.
    ///
    /// # Errors
    /// If a field holds something else.
    fn read_experts(&self, _json: &Fields) -> Result<Option<Experts>> {
        Ok(None)
    }

    /// Writes the experts for [`Family::read_experts`].
    fn write_experts(&self, _experts: &Experts, _json: &mut Map<String, Value>) {}

    /// How its files name experts; none: it has no experts.
    fn expert_names(&self) -> Option<&'static ExpertNames> {
        None
    }

    /// The linear layers of a block.
    fn modules(&self) -> &'static [Module] {
        SEPARATE
    }

    /// Keys of GGUF that say what models of this family compute, of those that not all families have.
    fn gguf_keys(&self) -> &'static [GgufKey] {
        &[]
    }

    /// Sets what llama.cpp knows of the family and no key states.
    fn complete_gguf(&self, _config: &mut Config) {}

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
