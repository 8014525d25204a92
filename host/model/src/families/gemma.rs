//! What all generations of Gemma share, and the first (Gemma Team 2024, arXiv 2403.08295).

use crate::config::{Activation, Config, Family};

/// Where its config.json has the function of the gate.
pub(super) const ACTIVATION: (&str, Activation) = ("hidden_activation", Activation::GeluTanh);

/// Weights of norms less 1, and an embedding that is scaled.
pub(super) fn complete(config: &mut Config) {
    config.norm_offset = 1.0;
    config.scales.embedding = (config.hidden_size as f64).sqrt();
}

/// `gemma`
#[derive(Debug)]
pub struct Gemma;

impl Family for Gemma {
    fn name(&self) -> &'static str {
        "gemma"
    }

    fn class(&self) -> &'static str {
        "GemmaForCausalLM"
    }

    /// `hidden_act` has another function in the first files; transformers reads the tanh form.
    fn activation(&self) -> (&'static str, Activation) {
        ACTIVATION
    }

    fn ties_by_default(&self) -> bool {
        true
    }

    fn bias_flags(&self) -> &'static [&'static str] {
        &["attention_bias"]
    }

    fn complete(&self, config: &mut Config) {
        complete(config);
    }

    /// No key of GGUF says it.
    fn complete_gguf(&self, config: &mut Config) {
        config.activation = Activation::GeluTanh;
    }
}
