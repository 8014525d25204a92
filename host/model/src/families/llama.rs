//! Llama, and SmolLM2, which is one (Touvron et al. 2023, arXiv 2302.13971).

use crate::config::Family;

/// `llama`
#[derive(Debug)]
pub struct Llama;

impl Family for Llama {
    fn name(&self) -> &'static str {
        "llama"
    }

    fn class(&self) -> &'static str {
        "LlamaForCausalLM"
    }

    fn interleaves_heads_in_gguf(&self) -> bool {
        true
    }
}
