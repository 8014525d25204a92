//! Properties of a block in which families differ.

pub use host_kernels::gated::Activation;

/// The activation of that name in transformers.
pub fn activation_named(name: &str) -> Option<Activation> {
    match name {
        "silu" | "swish" => Some(Activation::Silu),
        "gelu_pytorch_tanh" | "gelu_new" => Some(Activation::GeluTanh),
        _ => None,
    }
}

/// Its name in transformers.
pub fn activation_name(activation: Activation) -> &'static str {
    match activation {
        Activation::Silu => "silu",
        Activation::GeluTanh => "gelu_pytorch_tanh",
    }
}

/// Where a block has RMS norms.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NormPlacement {
    /// Before attention and before the MLP (Llama).
    #[default]
    Before,
    /// After each of them, before the result joins the residual stream (OLMo 2, arXiv 2501.00656).
    After,
    /// On both sides of each (Gemma 2, arXiv 2408.00118).
    Around,
}

/// Names of a block's norms in the layout of transformers: before attention, after it, before the
/// MLP, after it.
pub type NormNames = [Option<&'static str>; 4];

impl NormPlacement {
    /// The norms that a block has.
    pub fn names(self) -> NormNames {
        match self {
            Self::Before => [Some("input_layernorm"), None, Some("post_attention_layernorm"), None],
            Self::After => {
                [None, Some("post_attention_layernorm"), None, Some("post_feedforward_layernorm")]
            }
            Self::Around => [
                Some("input_layernorm"),
                Some("post_attention_layernorm"),
                Some("pre_feedforward_layernorm"),
                Some("post_feedforward_layernorm"),
            ],
        }
    }
}

/// RMS norm of queries and keys before the rotation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum QkNorm {
    /// They have none.
    #[default]
    None,
    /// Every head by itself, with one weight for all heads (Qwen3).
    Head,
    /// All heads of a row together (OLMo 2).
    Whole,
}

/// Factors on the way through a block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scales {
    /// On rows of the embedding.
    pub embedding: f64,
    /// On products of query and key; none: head_dim^-1/2.
    pub attention: Option<f64>,
    /// On what attention and MLP add to the residual stream.
    pub residual: f64,
}

impl Default for Scales {
    fn default() -> Self {
        Self { embedding: 1.0, attention: None, residual: 1.0 }
    }
}

/// From products of hidden rows with the head to logits: divided, then capped.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogitFinish {
    /// What products are divided by.
    pub divisor: f64,
    /// Logits l of a cap C are C tanh(l / C) (Gemma 2, arXiv 2408.00118).
    pub cap: Option<f64>,
}

impl Default for LogitFinish {
    fn default() -> Self {
        Self { divisor: 1.0, cap: None }
    }
}

impl LogitFinish {
    /// Whether products are the logits.
    pub fn is_identity(&self) -> bool {
        *self == Self::default()
    }
}
