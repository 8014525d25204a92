//! Gemma 2 (Gemma Team 2024, arXiv 2408.00118): norms around attention and MLP, soft caps, a window
//! in every other layer.

use serde_json::{Map, Value, json};

use super::{gemma, window};
use crate::config::{Activation, Config, Family, Fields, GgufKey, NormPlacement, Window};
use crate::error::Result;

/// Every second layer sees all tokens.
const PATTERN: usize = 2;
/// Blocks of the 27B model.
const LAYERS_27B: usize = 46;
const WINDOW: usize = 4096;
/// Of scores and of logits, where nothing is stated.
const CAPS: [Option<f64>; 2] = [Some(50.0), Some(30.0)];
const BIDIRECTIONAL: &str = "use_bidirectional_attention";

/// Fields of Gemma 2 and 3 that [`read`] reads.
pub(super) const FIELDS: [&str; 4] =
    ["query_pre_attn_scalar", "attn_logit_softcapping", "final_logit_softcapping", BIDIRECTIONAL];

/// `gemma2`
#[derive(Debug)]
pub struct Gemma2;

impl Family for Gemma2 {
    fn name(&self) -> &'static str {
        "gemma2"
    }

    fn class(&self) -> &'static str {
        "Gemma2ForCausalLM"
    }

    fn activation(&self) -> (&'static str, Activation) {
        gemma::ACTIVATION
    }

    fn ties_by_default(&self) -> bool {
        true
    }

    fn bias_flags(&self) -> &'static [&'static str] {
        &["attention_bias"]
    }

    fn complete(&self, config: &mut Config) {
        gemma::complete(config);
        config.norms = NormPlacement::Around;
    }

    fn fields(&self) -> &'static [&'static str] {
        &FIELDS
    }

    fn read(&self, json: &Fields, config: &mut Config) -> Result<()> {
        read(json, config, CAPS)
    }

    fn write(&self, config: &Config, json: &mut Map<String, Value>) {
        write(config, json);
    }

    fn window_fields(&self) -> &'static [&'static str] {
        &window::SIZE_FIELDS
    }

    fn read_window(&self, json: &Fields) -> Result<Window> {
        window::read_patterned(json, Some(WINDOW), PATTERN)
    }

    fn write_window(&self, config: &Config, json: &mut Map<String, Value>) {
        window::write_typed(config, json);
    }

    fn gguf_keys(&self) -> &'static [GgufKey] {
        &[GgufKey::AttentionCap, GgufKey::LogitCap, GgufKey::Window, GgufKey::WindowPattern]
    }

    fn complete_gguf(&self, config: &mut Config) {
        // What llama.cpp takes for files without the keys.
        config.sliding_window = config.sliding_window.or(Some(WINDOW));
        config.attention_cap = config.attention_cap.or(CAPS[0]);
        config.logits.cap = config.logits.cap.or(CAPS[1]);
        complete_gguf(config, PATTERN, LAYERS_27B);
    }

    fn gguf_module(&self, name: &str) -> Option<&'static str> {
        gguf_module(name)
    }
}

/// The norm before the MLP has the name of Llama's in GGUF.
pub(super) fn gguf_module(name: &str) -> Option<&'static str> {
    (name == "ffn_norm").then_some("pre_feedforward_layernorm")
}

/// Reads what Gemma 2 and 3 share; `caps` of scores and logits are those of files without the fields.
pub(super) fn read(json: &Fields, config: &mut Config, caps: [Option<f64>; 2]) -> Result<()> {
    if json.flag(BIDIRECTIONAL)? {
        let problem = "is true, but a decoder attends to the tokens before";
        return Err(json.fail(BIDIRECTIONAL, problem, "use a model that generates text"));
    }
    let scalar = json.number("query_pre_attn_scalar")?.unwrap_or(256.0);
    config.scales.attention = Some(scalar.powf(-0.5));
    let cap = |field: &str, absent| if json.has(field) { json.number(field) } else { Ok(absent) };
    config.attention_cap = cap("attn_logit_softcapping", caps[0])?;
    config.logits.cap = cap("final_logit_softcapping", caps[1])?;
    Ok(())
}

/// Writes what [`read`] reads.
pub(super) fn write(config: &Config, json: &mut Map<String, Value>) {
    let scalar = config.scales.attention.map_or(config.head_dim as f64, |scale| scale.powi(-2));
    // Whole in every published file; the square root isn't.
    let whole = scalar.round();
    let scalar = if (scalar - whole).abs() < 1e-6 { json!(whole as u64) } else { json!(scalar) };
    json.insert("query_pre_attn_scalar".into(), scalar);
    json.insert("attn_logit_softcapping".into(), json!(config.attention_cap));
    json.insert("final_logit_softcapping".into(), json!(config.logits.cap));
}

/// What llama.cpp knows of Gemma 2 and 3: the function of the gate, which layers have the window,
/// and that the largest model scales queries by the width of its stream per head.
pub(super) fn complete_gguf(config: &mut Config, pattern: usize, largest: usize) {
    config.activation = Activation::GeluTanh;
    window::complete(config, pattern);
    let width = if config.num_layers == largest {
        config.hidden_size.checked_div(config.num_heads).unwrap_or(0)
    } else {
        config.head_dim
    };
    config.scales.attention = Some((width as f64).powf(-0.5));
}
