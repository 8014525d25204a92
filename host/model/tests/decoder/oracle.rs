//! Logits equal those of candle's own inference models.

use candle_core::{DType, Device, Tensor};
use candle_nn::{Activation, VarBuilder};
use candle_transformers::models::smol::smollm3;
use candle_transformers::models::{
    gemma, gemma2, gemma3, llama, mistral, mixtral, olmo2, phi3, qwen2, qwen3, qwen3_moe,
};
use host_model::config::{LogitFinish, Scales};
use host_model::{Config, Experts, Kernels, Packed, RopeScaling};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::random::{self, Dice, largest_gap, named, weights};

/// `theirs` gives the logits after the last of some tokens.
fn agree(config: &Config, mut theirs: impl FnMut(&Tensor) -> Tensor) {
    let mut dice = Dice::new(5);
    for length in [1, 6, 23] {
        let tokens = dice.tokens(length, config.vocab_size);
        let input = Tensor::new(tokens.as_slice(), &Device::Cpu).unwrap();
        let expected = theirs(&input.unsqueeze(0).unwrap()).flatten_all().unwrap();
        for kernels in [Kernels::Plain, Kernels::Fused] {
            let decoder = random::decoder(config, kernels);
            let batch = Packed::from_sequences(&[tokens.as_slice()]);
            let hidden = decoder.forward(&batch, None, &[]).unwrap().hidden;
            let last = hidden.narrow(0, length - 1, 1).unwrap();
            let logits = decoder.logits(&last).unwrap().flatten_all().unwrap();
            let gap = largest_gap(&logits, &expected);
            assert!(gap < 1e-4, "{kernels:?}, {length} tokens: {gap}");
        }
    }
}

fn builder(config: &Config) -> VarBuilder<'static> {
    let tensors = named(config, &weights(config, 1));
    VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu)
}

/// A configuration of candle's, from the fields that several have and `more`.
fn theirs<T: DeserializeOwned>(config: &Config, more: Value) -> T {
    let mut fields = json!({
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "head_dim": config.head_dim,
        "attention_bias": false,
        "num_key_value_heads": config.num_kv_heads,
        "max_position_embeddings": config.max_position,
        "sliding_window": null,
        "max_window_layers": 0,
        "tie_word_embeddings": true,
        "rope_theta": config.rope.theta,
        "rms_norm_eps": config.rms_norm_eps,
        "use_sliding_window": false,
        "hidden_act": "silu",
    });
    for (name, value) in more.as_object().into_iter().flatten() {
        fields[name] = value.clone();
    }
    serde_json::from_value(fields).unwrap()
}

fn check_llama(config: &Config, rope_scaling: Option<llama::Llama3RopeConfig>) {
    let theirs = llama::Config {
        hidden_size: config.hidden_size,
        intermediate_size: config.intermediate_size,
        vocab_size: config.vocab_size,
        num_hidden_layers: config.num_layers,
        num_attention_heads: config.num_heads,
        num_key_value_heads: config.num_kv_heads,
        use_flash_attn: false,
        rms_norm_eps: config.rms_norm_eps,
        rope_theta: config.rope.theta as f32,
        bos_token_id: None,
        eos_token_id: None,
        rope_scaling,
        max_position_embeddings: config.max_position,
        tie_word_embeddings: config.tie_embeddings,
    };
    let model = llama::Llama::load(builder(config), &theirs).unwrap();
    agree(config, |input| {
        let mut cache = llama::Cache::new(false, DType::F32, &theirs, &Device::Cpu).unwrap();
        model.forward(input, 0, &mut cache).unwrap()
    });
}

#[test]
fn llama_logits() {
    check_llama(&random::llama(), None);
}

#[test]
fn llama3_logits_with_stretched_rotation() {
    let config = random::llama3();
    let RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_position } =
        config.rope.scaling
    else {
        panic!("the configuration has llama3 scaling");
    };
    let scaling = llama::Llama3RopeConfig {
        factor: factor as f32,
        low_freq_factor: low_freq_factor as f32,
        high_freq_factor: high_freq_factor as f32,
        original_max_position_embeddings: original_max_position,
        rope_type: llama::Llama3RopeType::Llama3,
    };
    check_llama(&config, Some(scaling));
}

#[test]
fn mistral_logits_with_a_window() {
    let mut config = random::mistral();
    config.tie_embeddings = false;
    let theirs = mistral::Config {
        vocab_size: config.vocab_size,
        hidden_size: config.hidden_size,
        intermediate_size: config.intermediate_size,
        num_hidden_layers: config.num_layers,
        num_attention_heads: config.num_heads,
        head_dim: Some(config.head_dim),
        num_key_value_heads: config.num_kv_heads,
        hidden_act: Activation::Silu,
        max_position_embeddings: config.max_position,
        rms_norm_eps: config.rms_norm_eps,
        rope_theta: config.rope.theta,
        // candle counts the keys before the query, we count the query as well.
        sliding_window: config.sliding_window.map(|window| window - 1),
        use_flash_attn: false,
    };
    let mut model = mistral::Model::new(&theirs, builder(&config)).unwrap();
    agree(&config, |input| {
        model.clear_kv_cache();
        model.forward(input, 0).unwrap()
    });
}

#[test]
fn qwen2_logits_with_biases() {
    let config = random::qwen2();
    let theirs: qwen2::Config = theirs(
        &config,
        json!({ "sliding_window": config.max_position, "max_window_layers": config.num_layers }),
    );
    let mut model = qwen2::ModelForCausalLM::new(&theirs, builder(&config)).unwrap();
    agree(&config, |input| {
        model.clear_kv_cache();
        model.forward(input, 0).unwrap()
    });
}

#[test]
fn qwen3_logits_with_normed_heads() {
    let config = random::qwen3();
    let theirs: qwen3::Config = theirs(&config, json!({}));
    let mut model = qwen3::ModelForCausalLM::new(&theirs, builder(&config)).unwrap();
    agree(&config, |input| {
        model.clear_kv_cache();
        model.forward(input, 0).unwrap()
    });
}

/// What candle's Gemmas have as well: scores are scaled by the size of a head.
fn plain_scores(config: Config) -> Config {
    Config { scales: Scales { attention: None, ..config.scales }, ..config }
}

/// The fields of all Gemmas.
fn gemma_fields(more: Value) -> Value {
    let mut fields = json!({
        "hidden_act": null,
        "hidden_activation": "gelu_pytorch_tanh",
        "attn_logit_softcapping": null,
        "final_logit_softcapping": null,
        "query_pre_attn_scalar": 16,
    });
    fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    fields
}

#[test]
fn gemma_logits_with_offset_norms_and_a_scaled_embedding() {
    let config = Config { tie_embeddings: true, ..random::gemma() };
    let theirs: gemma::Config = theirs(&config, gemma_fields(json!({})));
    let mut model = gemma::Model::new(false, &theirs, builder(&config)).unwrap();
    agree(&config, |input| {
        model.clear_kv_cache();
        model.forward(input, 0).unwrap()
    });
}

#[test]
fn gemma2_logits_with_caps_norms_around_and_a_window() {
    let config = Config { window_layers: None, ..plain_scores(random::gemma2()) };
    let more = json!({
        "attn_logit_softcapping": config.attention_cap,
        "final_logit_softcapping": config.logits.cap,
        // candle counts the keys before the query.
        "sliding_window": config.sliding_window.map(|window| window - 1),
    });
    let theirs: gemma2::Config = theirs(&config, gemma_fields(more));
    let mut model = gemma2::Model::new(false, &theirs, builder(&config)).unwrap();
    agree(&config, |input| {
        model.clear_kv_cache();
        model.forward(input, 0).unwrap()
    });
}

#[test]
fn gemma3_logits_with_two_rotations() {
    let mut config = plain_scores(random::gemma3());
    config.rope.scaling = RopeScaling::None;
    config.logits = LogitFinish { divisor: 1.0, cap: Some(3.0) };
    // What candle's cache takes: values that are contiguous, and no more than the window.
    (config.num_kv_heads, config.sliding_window) = (1, Some(64));
    config.tie_embeddings = true;
    let more = json!({
        "final_logit_softcapping": config.logits.cap,
        "rope_local_base_freq": config.local_rope.as_ref().unwrap().theta,
        "sliding_window": 64,
        "sliding_window_pattern": 2,
    });
    let theirs: gemma3::Config = theirs(&config, gemma_fields(more));
    agree(&config, |input| {
        let mut model = gemma3::Model::new(false, &theirs, builder(&config)).unwrap();
        model.forward(input, 0).unwrap()
    });
}

#[test]
fn olmo2_logits_with_norms_behind_and_over_all_heads() {
    let config = random::olmo2();
    let more = json!({ "tie_word_embeddings": false, "clip_qkv": null });
    let theirs: olmo2::Config = theirs(&config, more);
    let mut model = olmo2::Model::new(&theirs, builder(&config)).unwrap();
    agree(&config, |input| {
        model.clear_kv_cache();
        model.forward(input, 0).unwrap()
    });
}

#[test]
fn smollm3_logits_with_a_layer_that_is_not_rotated() {
    let config = random::smollm3();
    let theirs: smollm3::Config = theirs(&config, json!({ "no_rope_layers": [1, 0, 1] }));
    let mut model = smollm3::ModelForCausalLM::new(&theirs, builder(&config)).unwrap();
    agree(&config, |input| {
        model.clear_kv_cache();
        model.forward(input, 0).unwrap()
    });
}

#[test]
fn mixtral_logits() {
    let config = random::mixtral();
    let experts = config.experts(0).unwrap();
    let more = json!({
        "intermediate_size": experts.intermediate_size,
        "sliding_window": config.max_position,
        "num_experts_per_tok": experts.per_token,
        "num_local_experts": experts.count,
        "use_flash_attn": false,
    });
    let theirs: mixtral::Config = theirs(&config, more);
    agree(&config, |input| {
        // It has no way to forget its keys.
        let mut model = mixtral::Model::new(&theirs, builder(&config)).unwrap();
        model.forward(input, 0).unwrap()
    });
}

#[test]
fn qwen3_moe_logits_with_and_without_normalized_weights() {
    for normalize in [true, false] {
        let mut config = random::qwen3_moe();
        let experts = Experts {
            normalize,
            layers: Some(vec![false, true, false]),
            ..config.experts.clone().unwrap()
        };
        config.experts = Some(experts.clone());
        let more = json!({
            "decoder_sparse_step": 2,
            "moe_intermediate_size": experts.intermediate_size,
            "num_experts_per_tok": experts.per_token,
            "num_experts": experts.count,
            "norm_topk_prob": normalize,
        });
        let theirs: qwen3_moe::Config = theirs(&config, more);
        let mut model = qwen3_moe::ModelForCausalLM::new(&theirs, builder(&config)).unwrap();
        agree(&config, |input| {
            model.clear_kv_cache();
            model.forward(input, 0).unwrap()
        });
    }
}

#[test]
fn phi3_logits_with_partial_rotation() {
    let config = random::phi3();
    let theirs = phi3::Config {
        vocab_size: config.vocab_size,
        hidden_act: Activation::Silu,
        hidden_size: config.hidden_size,
        intermediate_size: config.intermediate_size,
        num_hidden_layers: config.num_layers,
        num_attention_heads: config.num_heads,
        num_key_value_heads: config.num_kv_heads,
        rms_norm_eps: config.rms_norm_eps,
        rope_theta: config.rope.theta,
        bos_token_id: None,
        eos_token_id: None,
        rope_scaling: None,
        max_position_embeddings: config.max_position,
        original_max_position_embeddings: None,
        partial_rotary_factor: Some(config.partial_rotary_factor),
        tie_word_embeddings: false,
    };
    let mut model = phi3::Model::new(&theirs, builder(&config)).unwrap();
    agree(&config, |input| {
        model.clear_kv_cache();
        model.forward(input, 0).unwrap()
    });
}
