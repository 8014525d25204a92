//! config.json of a model that has none (GGUF).

use serde_json::{Value, json};

use crate::config::{Config, Rope, RopeScaling, activation_name};

/// The config.json that describes `config` to transformers and to [`Config::from_json`].
pub fn config_json(config: &Config) -> Value {
    let mut json = json!({
        "architectures": [config.family.class()],
        "model_type": config.family.name(),
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_kv_heads,
        "head_dim": config.head_dim,
        "rms_norm_eps": config.rms_norm_eps,
        "max_position_embeddings": stated_positions(config),
        "tie_word_embeddings": config.tie_embeddings,
        "attention_bias": config.o_bias,
        "mlp_bias": config.mlp_bias,
        "rope_theta": config.rope.theta,
        "bos_token_id": config.bos,
        "eos_token_id": config.eos,
        "initializer_range": 0.02,
        "use_cache": true,
    });
    json[config.family.activation().0] = json!(activation_name(config.activation));
    if let Some(scaling) = rope_scaling(&config.rope, config) {
        json["rope_scaling"] = scaling;
    }
    if let (Some(rope), Some((field, _))) = (&config.local_rope, config.family.local_theta()) {
        json[field] = json!(rope.theta);
    }
    if config.partial_rotary_factor != 1.0 {
        json["partial_rotary_factor"] = json!(config.partial_rotary_factor);
    }
    if let RopeScaling::LongRope { original_max_position, .. } = &config.rope.scaling {
        json["original_max_position_embeddings"] = json!(original_max_position);
    }
    if let Some(fields) = json.as_object_mut() {
        config.family.write_window(config, fields);
        if let Some(experts) = &config.experts {
            config.family.write_experts(experts, fields);
        }
        config.family.write(config, fields);
    }
    json
}

/// Dynamic scaling takes this field for its original context, and reads on beyond it.
fn stated_positions(config: &Config) -> usize {
    match config.rope.scaling {
        RopeScaling::Dynamic { original_max_position, .. } => original_max_position,
        _ => config.max_position,
    }
}

fn rope_scaling(rope: &Rope, config: &Config) -> Option<Value> {
    match &rope.scaling {
        RopeScaling::None => None,
        RopeScaling::Linear { factor } => Some(json!({ "rope_type": "linear", "factor": factor })),
        RopeScaling::Dynamic { factor, .. } => {
            Some(json!({ "rope_type": "dynamic", "factor": factor }))
        }
        RopeScaling::Yarn {
            factor,
            original_max_position,
            attention_factor,
            beta_fast,
            beta_slow,
            truncate,
        } => Some(json!({
            "rope_type": "yarn",
            "factor": factor,
            "original_max_position_embeddings": original_max_position,
            "attention_factor": attention_factor,
            "beta_fast": beta_fast,
            "beta_slow": beta_slow,
            "truncate": truncate,
        })),
        RopeScaling::Llama3 {
            factor,
            low_freq_factor,
            high_freq_factor,
            original_max_position,
        } => Some(json!({
            "rope_type": "llama3",
            "factor": factor,
            "low_freq_factor": low_freq_factor,
            "high_freq_factor": high_freq_factor,
            "original_max_position_embeddings": original_max_position,
        })),
        RopeScaling::LongRope {
            short_factor,
            long_factor,
            original_max_position,
            attention_factor,
        } => Some(json!({
            "rope_type": "longrope",
            "short_factor": short_factor,
            "long_factor": long_factor,
            "original_max_position_embeddings": original_max_position,
            "attention_factor": attention_factor,
        })),
        // One list of divisors for every length is LongRoPE with two equal lists and nothing else scaled.
        RopeScaling::Factors { factors } => Some(json!({
            "rope_type": "longrope",
            "short_factor": factors,
            "long_factor": factors,
            "original_max_position_embeddings": config.max_position,
            "attention_factor": 1.0,
            "factor": 1.0,
        })),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn config(text: &str) -> Config {
        Config::from_json(text, "config.json").unwrap()
    }

    #[test]
    fn what_is_written_reads_back_the_same() {
        let sizes = r#""vocab_size":96,"hidden_size":16,"intermediate_size":32,"num_hidden_layers":2,
            "num_attention_heads":4,"num_key_value_heads":2,"max_position_embeddings":64,"rms_norm_eps":1e-5,
            "eos_token_id":[1,2],"bos_token_id":1"#;
        for rest in [
            r#""model_type":"llama","rope_scaling":{"rope_type":"llama3","factor":8.0,"low_freq_factor":1.0,"high_freq_factor":4.0,"original_max_position_embeddings":32}"#,
            r#""model_type":"llama","tie_word_embeddings":true,"attention_bias":true,"mlp_bias":true,"head_dim":8"#,
            r#""model_type":"mistral","sliding_window":16"#,
            r#""model_type":"qwen2","rope_theta":1e6,"use_sliding_window":true,"sliding_window":8,"max_window_layers":1"#,
            r#""model_type":"qwen3","head_dim":8,"rope_scaling":{"type":"linear","factor":2.0}"#,
            r#""model_type":"mixtral","num_local_experts":4,"sliding_window":16"#,
            r#""model_type":"qwen3_moe","num_experts":6,"num_experts_per_tok":3,"moe_intermediate_size":8,"norm_topk_prob":true,"use_sliding_window":true,"sliding_window":9"#,
            r#""model_type":"qwen3_moe","num_experts":6,"num_experts_per_tok":3,"moe_intermediate_size":8,"mlp_only_layers":[1]"#,
            r#""model_type":"phi3","original_max_position_embeddings":32,"rope_scaling":{"type":"longrope","short_factor":[1.0,1.5],"long_factor":[2.0,3.0]}"#,
            r#""model_type":"gemma","head_dim":8,"hidden_activation":null"#,
            r#""model_type":"gemma2","head_dim":8,"query_pre_attn_scalar":144,"sliding_window":8"#,
            r#""model_type":"gemma2","attn_logit_softcapping":null,"final_logit_softcapping":20.0,"layer_types":["full_attention","full_attention"]"#,
            r#""model_type":"gemma3_text","head_dim":8,"query_pre_attn_scalar":8,"sliding_window":8,"layer_types":["full_attention","sliding_attention"]"#,
            r#""model_type":"gemma3_text","rope_scaling":{"rope_type":"linear","factor":8.0},"rope_local_base_freq":500.0,"sliding_window_pattern":2"#,
            r#""model_type":"olmo2""#,
            r#""model_type":"olmo3","rope_scaling":{"rope_type":"linear","factor":8.0},"sliding_window":8"#,
            r#""model_type":"smollm3","no_rope_layers":[0,1]"#,
            r#""model_type":"granitemoehybrid","num_local_experts":0,"layer_types":["attention","full_attention"],"shared_intermediate_size":24,"embedding_multiplier":12.0"#,
            r#""model_type":"granite","embedding_multiplier":12.0,"attention_multiplier":0.0078125,"residual_multiplier":0.22,"logits_scaling":16.0"#,
        ] {
            let config = config(&format!("{{{sizes},{rest}}}"));
            assert_eq!(self::config(&config_json(&config).to_string()), config, "{rest}");
        }
    }
}
