//! Shapes of small models, one per family or way in which families differ.

use host_model::config::{Activation, LogitFinish, NormPlacement, QkNorm, Rope, Scales};
use host_model::families::{
    Gemma, Gemma2, Gemma3, Granite, Llama, Mistral, Mixtral, Olmo2, Phi3, Qwen2, Qwen3, Qwen3Moe,
    SmolLm3,
};
use host_model::{Config, Experts, RopeScaling};

pub fn llama() -> Config {
    Config { max_position: 512, ..Llama::sized(97, [48, 80], 3, [6, 2]) }
}

pub fn llama3() -> Config {
    let mut config = llama();
    config.tie_embeddings = false;
    config.rope.scaling = RopeScaling::Llama3 {
        factor: 8.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_position: 64,
    };
    config
}

pub fn yarn() -> Config {
    let mut config = llama();
    config.rope.scaling = RopeScaling::Yarn {
        factor: 4.0,
        original_max_position: 64,
        attention_factor: 1.14,
        beta_fast: 32.0,
        beta_slow: 1.0,
        truncate: true,
    };
    config
}

/// Most sequences of the tests are longer than its original context.
pub fn dynamic() -> Config {
    let mut config = llama();
    config.rope.scaling = RopeScaling::Dynamic { factor: 4.0, original_max_position: 6 };
    config
}

pub fn mistral() -> Config {
    Config { family: &Mistral, sliding_window: Some(7), ..llama() }
}

pub fn qwen2() -> Config {
    Config { family: &Qwen2, qkv_bias: true, ..llama() }
}

pub fn qwen3() -> Config {
    Config { family: &Qwen3, head_dim: 16, qk_norm: QkNorm::Head, ..llama() }
}

pub fn phi3() -> Config {
    Config { family: &Phi3, tie_embeddings: false, partial_rotary_factor: 0.75, ..llama() }
}

/// Sequences beyond 40 tokens are rotated otherwise than shorter ones.
pub fn long_rope() -> Config {
    let mut config = phi3();
    let pairs = config.rotary_dim() / 2;
    config.rope.scaling = RopeScaling::LongRope {
        short_factor: vec![1.0; pairs],
        long_factor: (0..pairs).map(|pair| 1.0 + pair as f64).collect(),
        original_max_position: 40,
        attention_factor: 1.2,
    };
    config
}

/// Every row goes to two of five experts.
pub fn mixtral() -> Config {
    let experts =
        Experts { count: 5, per_token: 2, intermediate_size: 80, normalize: true, layers: None };
    Config { family: &Mixtral, tie_embeddings: false, experts: Some(experts), ..llama() }
}

/// Small experts whose weights don't sum to one, and a dense layer between them.
pub fn qwen3_moe() -> Config {
    let experts = Experts {
        count: 12,
        per_token: 3,
        intermediate_size: 32,
        normalize: false,
        layers: Some(vec![true, false, true]),
    };
    Config { family: &Qwen3Moe, experts: Some(experts), ..qwen3() }
}

pub fn gemma() -> Config {
    Config {
        family: &Gemma,
        // A head that is so large an embedding is so sure of its tokens that rounding is all of the KL.
        tie_embeddings: false,
        norms: NormPlacement::Before,
        scales: Scales { attention: None, ..gemma2().scales },
        attention_cap: None,
        logits: LogitFinish::default(),
        sliding_window: None,
        window_layers: None,
        ..gemma2()
    }
}

pub fn gemma2() -> Config {
    Config {
        family: &Gemma2,
        head_dim: 16,
        activation: Activation::GeluTanh,
        norms: NormPlacement::Around,
        norm_offset: 1.0,
        scales: Scales { embedding: 48f64.sqrt(), attention: Some(0.3), residual: 1.0 },
        // Near enough to the scores and logits of random weights to bend them.
        attention_cap: Some(2.0),
        logits: LogitFinish { divisor: 1.0, cap: Some(3.0) },
        sliding_window: Some(7),
        window_layers: Some(vec![true, false, true]),
        ..llama()
    }
}

pub fn gemma3() -> Config {
    Config {
        family: &Gemma3,
        tie_embeddings: false,
        qk_norm: QkNorm::Head,
        attention_cap: None,
        logits: LogitFinish::default(),
        rope: Rope { theta: 1e6, scaling: RopeScaling::Linear { factor: 8.0 } },
        local_rope: Some(Rope { theta: 1e4, scaling: RopeScaling::None }),
        ..gemma2()
    }
}

pub fn olmo2() -> Config {
    Config {
        family: &Olmo2,
        norms: NormPlacement::After,
        qk_norm: QkNorm::Whole,
        tie_embeddings: false,
        ..llama()
    }
}

pub fn smollm3() -> Config {
    Config { family: &SmolLm3, rotated_layers: Some(vec![true, false, true]), ..llama() }
}

pub fn granite() -> Config {
    Config {
        family: &Granite,
        tie_embeddings: false,
        scales: Scales { embedding: 1.3, attention: Some(0.25), residual: 0.7 },
        logits: LogitFinish { divisor: 1.5, cap: None },
        ..llama()
    }
}

/// Every bias, a window in the upper layers only, heads of their own keys.
pub fn mixed() -> Config {
    Config {
        qkv_bias: true,
        o_bias: true,
        mlp_bias: true,
        num_kv_heads: 6,
        sliding_window: Some(5),
        window_layers: Some(vec![false, true, true]),
        ..llama()
    }
}

/// No family of today has all of it: experts of a GeGLU whose sum is normed and scaled. Every row goes to all
/// of them, so that nothing jumps.
pub fn finished_experts() -> Config {
    let experts =
        Experts { count: 4, per_token: 4, intermediate_size: 32, normalize: true, layers: None };
    Config {
        experts: Some(experts),
        activation: Activation::GeluTanh,
        norms: NormPlacement::Around,
        scales: Scales { residual: 0.5, ..Scales::default() },
        ..qwen3_moe()
    }
}

pub fn families() -> Vec<(&'static str, Config)> {
    vec![
        ("llama", llama()),
        ("llama3", llama3()),
        ("yarn", yarn()),
        ("dynamic", dynamic()),
        ("mistral", mistral()),
        ("qwen2", qwen2()),
        ("qwen3", qwen3()),
        ("phi3", phi3()),
        ("long rope", long_rope()),
        ("mixtral", mixtral()),
        ("qwen3_moe", qwen3_moe()),
        ("gemma", gemma()),
        ("gemma2", gemma2()),
        ("gemma3", gemma3()),
        ("olmo2", olmo2()),
        ("smollm3", smollm3()),
        ("granite", granite()),
        ("finished experts", finished_experts()),
        ("mixed", mixed()),
    ]
}
