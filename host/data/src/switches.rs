//! The keys by which trainers say which messages are learned.

use serde_json::Value;

use super::error::Result;
use super::fields::Fields;
use super::shown::kind;

/// True or 1: the message is learned.
pub(super) const LEARNED: &[&str] = &[
    "weight",
    "train",
    "training",
    "trainable",
    "learn",
    "loss",
    "loss_mask",
    "loss_weight",
    "loss_scale",
    "compute_loss",
];

/// True: the message is not learned.
pub(super) const WITHHELD: &[&str] = &["masked", "mask", "mask_loss", "ignore_loss"];

/// Whether a message is learned. Only an assistant's can be.
pub(super) fn take(message: &mut Fields<'_>, role: &str) -> Result<bool> {
    let mut said: Option<(&str, bool)> = None;
    let keys = LEARNED.iter().map(|key| (*key, true));
    for (key, learned_by) in keys.chain(WITHHELD.iter().map(|key| (*key, false))) {
        let Some(value) = message.take(key) else {
            continue;
        };
        let learn = is_on(message, key, &value)? == learned_by;
        if let Some((first, _)) = said.filter(|(_, before)| *before != learn) {
            let problem = format!("says something else than `{first}`");
            return Err(message.refused(key, problem, "keep one of the two"));
        }
        if learn && learned_by && role != "assistant" {
            let problem = format!("is {value} for a message of role {role}");
            let remedy = "only the assistant's messages are learned, so set it to 0 or remove it";
            return Err(message.refused(key, problem, remedy));
        }
        said = Some((key, learn));
    }
    Ok(said.is_none_or(|(_, learn)| learn) || role != "assistant")
}

fn is_on(message: &Fields<'_>, key: &str, value: &Value) -> Result<bool> {
    match value {
        Value::Bool(on) => Ok(*on),
        // As a number some write it for what is masked, some for what is learned.
        Value::Number(_) if key == "mask" => Err(message.wrong(key, "a number", "true or false")),
        Value::Number(number) => match number.as_f64() {
            Some(0.0) => Ok(false),
            Some(1.0) => Ok(true),
            _ => Err(message.refused(
                key,
                format!("is {number}, and messages can't be weighted"),
                "a message is learned (1) or not (0), so round it",
            )),
        },
        other => Err(message.wrong(key, kind(other), "true, false, 1 or 0")),
    }
}
