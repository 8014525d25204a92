//! Settings of adapter_config.json that change what its tensors mean, and what to do about those that can't be honoured.

use std::path::Path;

use serde_json::Value;

use crate::error::{Error, Result};

/// The way out for everything that peft can fold into the weights.
pub const MERGE: &str = "merge it in Python and give the folder as the model: PeftModel.from_pretrained(BASE, ADAPTER).merge_and_unload().save_pretrained(FOLDER), and the tokenizer too";
const TRAIN: &str = "train it again without that setting";
const CONVERT: &str = "save it from Python once more with path_initial_model_for_weight_conversion=INITIAL, the adapter as it was saved before training, which turns it into a plain one";

/// Settings that are read, or that mean nothing for an adapter that is only used.
const KNOWN: [&str; 31] = [
    "alpha_pattern",
    "auto_mapping",
    "base_model_name_or_path",
    "bias",
    "corda_config",
    "ensure_weight_tying",
    "eva_config",
    "exclude_modules",
    // For linear layers peft sets it to false.
    "fan_in_fan_out",
    "inference_mode",
    "init_lora_weights",
    "layers_pattern",
    "layers_to_transform",
    "loftq_config",
    "lora_alpha",
    "lora_dropout",
    "lora_ga_config",
    "megatron_config",
    "megatron_core",
    "peft_type",
    "peft_version",
    "qalora_group_size",
    "r",
    "rank_pattern",
    "revision",
    "runtime_config",
    "target_modules",
    "task_type",
    "use_dora",
    "use_rslora",
    // Of ms-swift: number format and learning rates of the training.
    "lora_dtype",
];
const OF_TRAINING: [&str; 2] = ["lorap_emb_lr", "lorap_lr_ratio"];

/// Settings that must be off, what they do, and the way out.
const MUST_BE_OFF: [(&str, &str, &str); 14] = [
    ("modules_to_save", "whole modules were trained beside the adapter", MERGE),
    ("trainable_token_indices", "rows of the embedding were trained beside the adapter", MERGE),
    ("target_parameters", "parameters are adapted that aren't linear layers", MERGE),
    ("lora_bias", "the adapter adds a bias", TRAIN),
    ("use_qalora", "inputs are pooled before the adapter", TRAIN),
    ("use_bdlora", "the adapter's matrices are block-diagonal", MERGE),
    ("layer_replication", "layers of the model are repeated", MERGE),
    ("alora_invocation_tokens", "the adapter is on only after certain tokens", TRAIN),
    ("arrow_config", "several adapters are mixed per token", TRAIN),
    ("kasa_config", "singular values were trained between A and B", MERGE),
    ("monteclora_config", "A was drawn at random around a mean", TRAIN),
    ("velora_config", "activations were compressed in training", MERGE),
    ("aurora_config", "a nonlinear layer stands between A and B", TRAIN),
    ("use_lokr", "the matrices are Kronecker products", MERGE),
];

/// Refuses what would make the tensors mean something else than W + scaling B A.
///
/// # Errors
/// [`Error::File`] that names the setting, what it does, and what to do.
pub fn check(path: &Path, json: &Value) -> Result<()> {
    let fail = |problem: String, action: &str| Err(Error::file(path, problem, action));
    if json["peft_type"] != "LORA" {
        let kind = json["peft_type"].as_str().unwrap_or_default().to_uppercase();
        let mergeable = [
            "ADALORA",
            "LOHA",
            "LOKR",
            "IA3",
            "OFT",
            "BOFT",
            "VERA",
            "RANDLORA",
            "FOURIERFT",
            "HRA",
            "BONE",
            "MISS",
            "LN_TUNING",
            "C3A",
            "SHIRA",
            "DELORA",
        ];
        let action =
            if mergeable.contains(&kind.as_str()) { MERGE } else { "train a LoRA adapter instead" };
        return fail(
            format!("`peft_type` is {}, only \"LORA\" is supported", json["peft_type"]),
            action,
        );
    }
    for (field, does, action) in MUST_BE_OFF {
        if !is_off(&json[field]) {
            return fail(
                format!("`{field}` is {}: {does}, which isn't supported", json[field]),
                action,
            );
        }
    }
    check_start(path, &json["init_lora_weights"])?;
    let known = |name: &str| {
        KNOWN.contains(&name)
            || OF_TRAINING.contains(&name)
            || MUST_BE_OFF.iter().any(|(field, ..)| *field == name)
    };
    let mut fields = json.as_object().into_iter().flatten();
    if let Some((field, value)) = fields.find(|(field, value)| !known(field) && !is_off(value)) {
        let action = "remove it if it changes nothing about what A and B mean; else merge the adapter in Python";
        return fail(format!("`{field}` is {value}, a setting that isn't known here"), action);
    }
    match &json["bias"] {
        // Trained biases are in the file under names of their own, which are refused there.
        Value::Null => Ok(()),
        Value::String(bias) if ["none", "all", "lora_only"].contains(&bias.as_str()) => Ok(()),
        other => fail(format!("`bias` is {other}; none, all and lora_only are known"), MERGE),
    }
}

fn is_off(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// Some ways to begin take a part out of the base's weights, so the adapter doesn't belong on the base as it is.
fn check_start(path: &Path, start: &Value) -> Result<()> {
    let text = match start {
        Value::Null | Value::Bool(_) => return Ok(()),
        Value::String(text) => text.as_str(),
        other => {
            let problem = format!("`init_lora_weights` is {other}, which isn't known here");
            return Err(Error::file(path, problem, MERGE));
        }
    };
    let lower = text.to_lowercase();
    // Those that leave the base as it is.
    if ["gaussian", "eva", "orthogonal", "mica", "true", "false"].contains(&lower.as_str()) {
        return Ok(());
    }
    // peft takes the same part out again when it loads these; the others it can't.
    let action = match lower.as_str() {
        "pissa" | "olora" | "loftq" => format!("{CONVERT}; or {MERGE}"),
        "corda" | "lora_ga" => CONVERT.to_owned(),
        _ if lower.starts_with("pissa_niter_") => CONVERT.to_owned(),
        _ => {
            let problem = format!("`init_lora_weights` is {text:?}, which isn't known here");
            return Err(Error::file(path, problem, MERGE));
        }
    };
    let problem = format!(
        "`init_lora_weights` is {text:?}: a part of the base's weights was moved into the adapter before training, so it doesn't belong on the unchanged base"
    );
    Err(Error::file(path, problem, action))
}
