//! Llama, and SmolLM2, which is one (Touvron et al. 2023, arXiv 2302.13971).

use crate::config::{
    Activation, Config, Family, LogitFinish, NormPlacement, QkNorm, Rope, RopeScaling, Scales,
};

/// `llama`
#[derive(Debug)]
pub struct Llama;

impl Llama {
    /// The shape of a small model with nothing out of the ordinary: tied embeddings, no bias and
    /// no window. For tests and measurements.
    pub fn sized(
        vocab_size: usize,
        [hidden_size, intermediate_size]: [usize; 2],
        num_layers: usize,
        [num_heads, num_kv_heads]: [usize; 2],
    ) -> Config {
        Config {
            family: &Llama,
            vocab_size,
            hidden_size,
            intermediate_size,
            num_layers,
            num_heads,
            num_kv_heads,
            head_dim: hidden_size / num_heads,
            rms_norm_eps: 1e-5,
            activation: Activation::Silu,
            norms: NormPlacement::Before,
            norm_offset: 0.0,
            scales: Scales::default(),
            attention_cap: None,
            logits: LogitFinish::default(),
            rope: Rope { theta: 10_000.0, scaling: RopeScaling::None },
            local_rope: None,
            rotated_layers: None,
            max_position: 256,
            tie_embeddings: true,
            qkv_bias: false,
            o_bias: false,
            mlp_bias: false,
            qk_norm: QkNorm::None,
            sliding_window: None,
            window_layers: None,
            experts: None,
            partial_rotary_factor: 1.0,
            bos: None,
            eos: vec![],
        }
    }
}

impl Family for Llama {
    fn name(&self) -> &'static str {
        "llama"
    }

    fn class(&self) -> &'static str {
        "LlamaForCausalLM"
    }

    fn bias_flags(&self) -> &'static [&'static str] {
        &["attention_bias", "mlp_bias"]
    }

    fn interleaves_heads_in_gguf(&self) -> bool {
        true
    }
}
