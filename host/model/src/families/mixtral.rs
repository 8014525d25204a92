//! Mixtral (Jiang et al. 2024, arXiv 2401.04088): Mistral with eight experts in every layer, two of
//! them for every token. GGUF files call it `llama`.

use serde_json::{Map, Value, json};

use super::{experts, window};
use crate::config::{Config, ExpertNames, Experts, Family, Fields, Window};
use crate::error::Result;

/// `mixtral`
#[derive(Debug)]
pub struct Mixtral;

impl Family for Mixtral {
    fn name(&self) -> &'static str {
        "mixtral"
    }

    fn class(&self) -> &'static str {
        "MixtralForCausalLM"
    }

    fn default_norm_eps(&self) -> f64 {
        1e-5
    }

    fn default_theta(&self) -> f64 {
        1e6
    }

    fn window_fields(&self) -> &'static [&'static str] {
        &window::SIZE_FIELDS
    }

    fn read_window(&self, json: &Fields) -> Result<Window> {
        window::read_size(json, None)
    }

    fn write_window(&self, config: &Config, json: &mut Map<String, Value>) {
        window::write_size(config, json);
    }

    fn expert_fields(&self) -> &'static [&'static str] {
        &[
            experts::COUNT_FIELDS[0],
            experts::COUNT_FIELDS[1],
            "num_experts_per_tok",
            "output_router_logits",
            "router_aux_loss_coef",
            "router_jitter_noise",
        ]
    }

    fn read_experts(&self, json: &Fields) -> Result<Option<Experts>> {
        experts::note_training(json)?;
        Ok(Some(Experts {
            count: experts::count(json, 8)?,
            per_token: json.size("num_experts_per_tok")?.unwrap_or(2),
            intermediate_size: json.required("intermediate_size")?,
            normalize: true,
            layers: None,
        }))
    }

    fn write_experts(&self, experts: &Experts, json: &mut Map<String, Value>) {
        json.insert("num_local_experts".into(), json!(experts.count));
        json.insert("num_experts_per_tok".into(), json!(experts.per_token));
    }

    fn expert_names(&self) -> Option<&'static ExpertNames> {
        Some(&ExpertNames {
            router: "block_sparse_moe.gate",
            experts: "block_sparse_moe.experts",
            parts: ["w1", "w3", "w2"],
        })
    }

    fn gguf_name(&self) -> &'static str {
        "llama"
    }

    fn interleaves_heads_in_gguf(&self) -> bool {
        true
    }
}
