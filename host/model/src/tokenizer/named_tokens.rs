//! Special tokens that a tokenizer's files name beside the usual ones.

use std::collections::BTreeMap;

use serde_json::Value;

use super::files::{map_counts, token_text};

/// Special tokens of other names than the four: `"eot_token": "…"`, or `"extra_special_tokens": {"eot_token": "…"}`.
pub fn other(config: &Value, map: &Value) -> BTreeMap<String, String> {
    const OURS: [&str; 4] = ["bos_token", "eos_token", "pad_token", "unk_token"];
    let of = |file: &Value| {
        let named = |object: &Value, any: bool| {
            let entries = object.as_object().into_iter().flatten();
            let entries = entries.filter(|(name, _)| any || name.ends_with("_token"));
            let texts =
                entries.filter_map(|(name, _)| Some((name.clone(), token_text(object, name)?)));
            texts.collect::<Vec<_>>()
        };
        [named(file, false), named(&file["extra_special_tokens"], true)].concat()
    };
    let from_map = if map_counts(config) { of(map) } else { Vec::new() };
    let all = of(config).into_iter().chain(from_map);
    all.filter(|(name, _)| !OURS.contains(&name.as_str())).collect()
}
