//! Granite 4 without Mamba layers and experts (Granite Team 2025): Granite 3 with gate and up stored as
//! one module. GGUF files call it `granite`.

use serde_json::{Map, Value, json};

use super::granite;
use crate::config::{Config, Family, Fields, Module, Target};
use crate::error::Result;

/// `granitemoehybrid`
#[derive(Debug)]
pub struct Granite4;

const INNER: &str = "shared_intermediate_size";
const EXPERTS: &str = "num_local_experts";
const LAYERS: [&str; 2] = ["layer_types", "layers_block_type"];
const POSITIONS: &str = "position_embedding_type";
/// What a layer of attention is called, by version of transformers.
const ATTENTION: [&str; 2] = ["attention", "full_attention"];
const DENSE: &str = "use a Granite 4 without Mamba layers and experts, such as granite-4.0-1b";

impl Family for Granite4 {
    fn name(&self) -> &'static str {
        "granitemoehybrid"
    }

    fn class(&self) -> &'static str {
        "GraniteMoeHybridForCausalLM"
    }

    fn gguf_name(&self) -> &'static str {
        "granite"
    }

    fn bias_flags(&self) -> &'static [&'static str] {
        &["attention_bias"]
    }

    fn modules(&self) -> &'static [Module] {
        &[
            Module { path: "self_attn.q_proj", parts: &[Target::Q] },
            Module { path: "self_attn.k_proj", parts: &[Target::K] },
            Module { path: "self_attn.v_proj", parts: &[Target::V] },
            Module { path: "shared_mlp.input_linear", parts: &[Target::Gate, Target::Up] },
            Module { path: "self_attn.o_proj", parts: &[Target::O] },
            Module { path: "shared_mlp.output_linear", parts: &[Target::Down] },
        ]
    }

    /// With those of Mamba layers and of experts, which there aren't.
    fn fields(&self) -> &'static [&'static str] {
        &[
            granite::FIELDS[0],
            granite::FIELDS[1],
            granite::FIELDS[2],
            granite::FIELDS[3],
            INNER,
            EXPERTS,
            LAYERS[0],
            LAYERS[1],
            POSITIONS,
            "mamba_chunk_size",
            "mamba_conv_bias",
            "mamba_d_conv",
            "mamba_d_head",
            "mamba_d_state",
            "mamba_expand",
            "mamba_n_groups",
            "mamba_n_heads",
            "mamba_proj_bias",
            "num_experts_per_tok",
            "output_router_logits",
            "router_aux_loss_coef",
            "time_step_limit",
        ]
    }

    fn read(&self, json: &Fields, config: &mut Config) -> Result<()> {
        granite::read(json, config)?;
        // What is absent is the default of the configuration class in transformers.
        let experts = json.size(EXPERTS)?.unwrap_or(8);
        if experts > 0 {
            let problem = format!("is {experts}, but experts beside a shared one aren't supported");
            return Err(json.fail(EXPERTS, problem, DENSE));
        }
        let field = LAYERS.into_iter().find(|field| json.get(field).is_some()).unwrap_or(LAYERS[0]);
        let kinds = json.get(field).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let is_attention =
            |kind: &Value| kind.as_str().is_some_and(|kind| ATTENTION.contains(&kind));
        if kinds.len() != config.num_layers || !kinds.iter().all(is_attention) {
            let problem =
                "doesn't name attention for every layer, and Mamba layers aren't supported";
            return Err(json.fail(field, problem, DENSE));
        }
        config.intermediate_size = json.size(INNER)?.unwrap_or(1024);
        let rotates = json.get(POSITIONS).and_then(Value::as_str) == Some("rope");
        config.rotated_layers = (!rotates).then(|| vec![false; config.num_layers]);
        Ok(())
    }

    fn write(&self, config: &Config, json: &mut Map<String, Value>) {
        granite::write(config, json);
        let kind = |_| ATTENTION[0];
        let kinds: Vec<&str> = (0..config.num_layers).map(kind).collect();
        let positions = if config.layer_rope(0).is_some() { "rope" } else { "nope" };
        json.insert(INNER.into(), json!(config.intermediate_size));
        json.insert(EXPERTS.into(), json!(0));
        json.insert(LAYERS[0].into(), json!(kinds));
        json.insert(POSITIONS.into(), json!(positions));
        // transformers checks it though no layer has it.
        json.insert("mamba_n_heads".into(), json!(1));
    }
}
