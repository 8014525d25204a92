//! The shape of a decoder, and the trait of model families.

mod block;
mod check;
mod experts;
mod family;
mod fields;
mod rope;
mod target;

pub use block::{
    Activation, LogitFinish, NormPlacement, QkNorm, Scales, activation_name, activation_named,
};
pub use experts::{ExpertNames, Experts};
pub use family::{Family, GgufKey, Module, SEPARATE, Window};
pub use fields::Fields;
pub use rope::{Rope, RopeScaling, llama3_kept, long_rope_attention_factor, yarn_attention_factor};
pub use target::Target;

/// The largest size that any decoder has.
pub(crate) const MOST: usize = 1 << 28;
/// What to do about a size that none has.
const ORIGINAL: &str = "use the configuration the weights were published with";

/// The shape of a decoder. All sizes are in elements.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The family, which decides the names in its files.
    pub family: &'static dyn Family,
    /// Rows of the embedding matrix.
    pub vocab_size: usize,
    /// Values of a row of the residual stream.
    pub hidden_size: usize,
    /// Values of a row inside the MLP.
    pub intermediate_size: usize,
    /// Number of blocks.
    pub num_layers: usize,
    /// Heads of the queries.
    pub num_heads: usize,
    /// Heads of keys and values; divides `num_heads`.
    pub num_kv_heads: usize,
    /// Values of a head.
    pub head_dim: usize,
    /// Added to the mean square in every norm.
    pub rms_norm_eps: f64,
    /// Function of the MLP's gate.
    pub activation: Activation,
    /// Where a block has norms.
    pub norms: NormPlacement,
    /// Added to every norm's weight before it is multiplied with: 1 for Gemma, whose files hold the
    /// weight less 1.
    pub norm_offset: f64,
    /// Factors on the way through a block.
    pub scales: Scales,
    /// Soft cap of attention's scores (Gemma 2, arXiv 2408.00118).
    pub attention_cap: Option<f64>,
    /// From the product with the head to logits.
    pub logits: LogitFinish,
    /// Rotary position embedding.
    pub rope: Rope,
    /// That of the layers with a window, if it is another one (Gemma 3).
    pub local_rope: Option<Rope>,
    /// Per layer whether queries and keys are rotated (SmolLM3); none: in all of them.
    pub rotated_layers: Option<Vec<bool>>,
    /// The longest sequence the model takes, in tokens.
    pub max_position: usize,
    /// The head is the embedding matrix.
    pub tie_embeddings: bool,
    /// Whether q, k and v have a bias.
    pub qkv_bias: bool,
    /// Whether the output projection of attention has a bias.
    pub o_bias: bool,
    /// Whether the projections of the MLP have a bias.
    pub mlp_bias: bool,
    /// RMS norm of queries and keys before the rotation.
    pub qk_norm: QkNorm,
    /// A query sees this many keys, itself included.
    pub sliding_window: Option<usize>,
    /// Per layer whether the sliding window holds; none: in all of them.
    pub window_layers: Option<Vec<bool>>,
    /// Experts instead of a dense MLP (Mixtral, Qwen3-MoE).
    pub experts: Option<Experts>,
    /// Fraction of a head that is rotated (Phi-4-mini: 0.75).
    pub partial_rotary_factor: f64,
    /// Token that begins a text.
    pub bos: Option<u32>,
    /// Tokens that end a text.
    pub eos: Vec<u32>,
}

impl Config {
    /// Columns of q: heads times head dimension.
    pub fn q_size(&self) -> usize {
        self.num_heads * self.head_dim
    }

    /// Columns of k and of v.
    pub fn kv_size(&self) -> usize {
        self.num_kv_heads * self.head_dim
    }

    /// How many dimensions of a head are rotated (even).
    pub fn rotary_dim(&self) -> usize {
        ((self.head_dim as f64 * self.partial_rotary_factor) as usize) & !1
    }

    /// The window of one layer's attention, if it has one.
    pub fn window(&self, layer: usize) -> Option<usize> {
        let holds = |layers: &Vec<bool>| layers.get(layer).copied().unwrap_or(false);
        self.sliding_window.filter(|_| self.window_layers.as_ref().is_none_or(holds))
    }

    /// The linear layers of a block that an adapter could sit on, as the family's files hold them: without
    /// those of its experts.
    pub fn modules(&self, layer: usize) -> impl Iterator<Item = &'static Module> + use<> {
        let dense = self.experts(layer).is_none();
        let modules = self.family.modules().iter();
        modules.filter(move |module| dense || module.parts.iter().all(|part| part.part() != "mlp"))
    }

    /// The rotation of one layer; none where it has none.
    pub fn layer_rope(&self, layer: usize) -> Option<&Rope> {
        let rotated = |layers: &Vec<bool>| layers.get(layer).copied().unwrap_or(true);
        if !self.rotated_layers.as_ref().is_none_or(rotated) {
            return None;
        }
        let local = self.local_rope.as_ref().filter(|_| self.window(layer).is_some());
        Some(local.unwrap_or(&self.rope))
    }

    /// What attention multiplies a product of query and key with.
    pub fn attention_scale(&self) -> f32 {
        match self.scales.attention {
            Some(scale) => scale as f32,
            None => (self.head_dim as f32).powf(-0.5),
        }
    }

    /// Whether what attention and MLP give is normed or scaled before it joins the residual stream.
    pub fn finishes_branches(&self) -> bool {
        self.norms != NormPlacement::Before || self.scales.residual != 1.0
    }

    /// Sizes of the norms of queries and of keys, if the model has them.
    pub fn qk_norm_sizes(&self) -> Option<[usize; 2]> {
        match self.qk_norm {
            QkNorm::None => None,
            QkNorm::Head => Some([self.head_dim; 2]),
            QkNorm::Whole => Some([self.q_size(), self.kv_size()]),
        }
    }

    /// (out, in) of a projection; of the MLP where it is dense.
    pub fn shape(&self, target: Target) -> (usize, usize) {
        let (hidden, inner) = (self.hidden_size, self.intermediate_size);
        match target {
            Target::Q => (self.q_size(), hidden),
            Target::K | Target::V => (self.kv_size(), hidden),
            Target::O => (hidden, self.q_size()),
            Target::Gate | Target::Up => (inner, hidden),
            Target::Down => (hidden, inner),
        }
    }

    /// Whether a projection has a bias.
    pub fn has_bias(&self, target: Target) -> bool {
        match target {
            Target::Q | Target::K | Target::V => self.qkv_bias,
            Target::O => self.o_bias,
            Target::Gate | Target::Up | Target::Down => self.mlp_bias,
        }
    }
}
