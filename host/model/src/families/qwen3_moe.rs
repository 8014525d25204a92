//! Qwen 3 with experts (Yang et al. 2025, arXiv 2505.09388): Qwen 3's attention, and layers of experts
//! among which some may be dense.

use serde_json::{Map, Value, json};

use super::{experts, window};
use crate::config::{Config, ExpertNames, Experts, Family, Fields, QkNorm, Window};
use crate::error::Result;

/// `qwen3_moe`
#[derive(Debug)]
pub struct Qwen3Moe;

const DENSE_LAYERS: &str = "mlp_only_layers";
const STEP: &str = "decoder_sparse_step";

impl Family for Qwen3Moe {
    fn name(&self) -> &'static str {
        "qwen3_moe"
    }

    fn class(&self) -> &'static str {
        "Qwen3MoeForCausalLM"
    }

    fn bias_flags(&self) -> &'static [&'static str] {
        &["attention_bias"]
    }

    fn complete(&self, config: &mut Config) {
        config.qk_norm = QkNorm::Head;
    }

    fn window_fields(&self) -> &'static [&'static str] {
        &window::SWITCHED_FIELDS
    }

    fn read_window(&self, json: &Fields) -> Result<Window> {
        window::read_switch(json)
    }

    fn write_window(&self, config: &Config, json: &mut Map<String, Value>) {
        window::write_switch(config, json);
    }

    fn expert_fields(&self) -> &'static [&'static str] {
        &[
            experts::COUNT_FIELDS[0],
            experts::COUNT_FIELDS[1],
            "num_experts_per_tok",
            "moe_intermediate_size",
            "norm_topk_prob",
            STEP,
            DENSE_LAYERS,
            "output_router_logits",
            "router_aux_loss_coef",
        ]
    }

    fn read_experts(&self, json: &Fields) -> Result<Option<Experts>> {
        experts::note_training(json)?;
        // The defaults of the configuration class in transformers.
        let count = experts::count(json, 128)?;
        let step = json.size(STEP)?.unwrap_or(1);
        if step == 0 {
            return Err(json.fail(STEP, "is 0", "give 1 if every layer has experts"));
        }
        let dense = dense_layers(json)?;
        let sparse = |layer: &usize| !dense.contains(layer) && (layer + 1).is_multiple_of(step);
        let layers: Vec<bool> = (0..json.layers()?).map(|layer| sparse(&layer)).collect();
        if count == 0 || !layers.contains(&true) {
            return Ok(None);
        }
        Ok(Some(Experts {
            count,
            per_token: json.size("num_experts_per_tok")?.unwrap_or(8),
            intermediate_size: json.size("moe_intermediate_size")?.unwrap_or(768),
            normalize: json.flag("norm_topk_prob")?,
            layers: layers.contains(&false).then_some(layers),
        }))
    }

    fn write_experts(&self, experts: &Experts, json: &mut Map<String, Value>) {
        json.insert("num_experts".into(), json!(experts.count));
        json.insert("num_experts_per_tok".into(), json!(experts.per_token));
        json.insert("moe_intermediate_size".into(), json!(experts.intermediate_size));
        json.insert("norm_topk_prob".into(), json!(experts.normalize));
        json.insert(STEP.into(), json!(1));
        let layers = experts.layers.iter().flatten().enumerate();
        let dense = layers.filter(|(_, sparse)| !**sparse).map(|(layer, _)| layer);
        json.insert(DENSE_LAYERS.into(), json!(dense.collect::<Vec<_>>()));
    }

    fn expert_names(&self) -> Option<&'static ExpertNames> {
        Some(&ExpertNames {
            router: "mlp.gate",
            experts: "mlp.experts",
            parts: ["gate_proj", "up_proj", "down_proj"],
        })
    }

    fn gguf_name(&self) -> &'static str {
        "qwen3moe"
    }
}

/// The layers that have no experts.
fn dense_layers(json: &Fields) -> Result<Vec<usize>> {
    let Some(value) = json.get(DENSE_LAYERS) else {
        return Ok(Vec::new());
    };
    let numbers = value.as_array().and_then(|list| {
        list.iter().map(|layer| layer.as_u64().and_then(|layer| layer.try_into().ok())).collect()
    });
    numbers.ok_or_else(|| {
        json.fail(DENSE_LAYERS, "isn't a list of layers", "give a list of whole numbers")
    })
}
