//! The shape of a decoder, and the trait of model families.

mod experts;
mod family;
mod fields;
mod rope;
mod target;

use crate::error::{Error, Result};

pub use experts::{ExpertNames, Experts};
pub use family::{Family, Module, SEPARATE, Window};
pub use fields::Fields;
pub use rope::{Rope, RopeScaling, long_rope_attention_factor, yarn_attention_factor};
pub use target::Target;

/// The largest size that any decoder has.
const MOST: usize = 1 << 28;
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
    /// Rotary position embedding.
    pub rope: Rope,
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
    /// RMS norm of every query and key head before the rotation (Qwen3).
    pub qk_norm: bool,
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

    /// Refuses sizes that no decoder can have; `file` names the source in errors.
    pub(crate) fn validated(self, file: &str) -> Result<Self> {
        let fail = |field: &str, problem: String| {
            Err(Error::Config {
                file: file.into(),
                field: field.into(),
                problem,
                action: ORIGINAL.into(),
            })
        };
        for (field, value) in [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_layers),
            ("num_attention_heads", self.num_heads),
            ("num_key_value_heads", self.num_kv_heads),
            ("head_dim", self.head_dim),
            ("max_position_embeddings", self.max_position),
        ] {
            if value == 0 || value > MOST {
                return fail(field, format!("is {value}, outside 1 to {MOST}"));
            }
        }
        if !self.num_heads.is_multiple_of(self.num_kv_heads) {
            let problem = format!(
                "is {}, which does not divide the {} heads",
                self.num_kv_heads, self.num_heads
            );
            return fail("num_key_value_heads", problem);
        }
        if !(self.partial_rotary_factor > 0.0 && self.partial_rotary_factor <= 1.0) {
            let problem = format!("is {}, outside 0 to 1", self.partial_rotary_factor);
            return fail("partial_rotary_factor", problem);
        }
        if self.rotary_dim() == 0 || !self.head_dim.is_multiple_of(2) {
            return fail("head_dim", format!("is {}, which is odd", self.head_dim));
        }
        if !(self.rms_norm_eps.is_finite() && self.rms_norm_eps > 0.0) {
            return fail("rms_norm_eps", format!("is {}", self.rms_norm_eps));
        }
        if !(self.rope.theta.is_finite() && self.rope.theta > 1.0) {
            return fail("rope_theta", format!("is {}", self.rope.theta));
        }
        if let Some((field, problem)) = self.experts.as_ref().and_then(Experts::problem) {
            return fail(field, problem);
        }
        if self.sliding_window == Some(0) {
            return fail("sliding_window", "is 0".into());
        }
        if let Err(problem) = self.rope.scaling.check(self.rotary_dim() / 2) {
            return fail("rope_scaling", problem);
        }
        Ok(self)
    }
}
