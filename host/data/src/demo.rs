//! The embedded default: a small chat model and demo data of our own, compiled
//! into the binary. How they are made: examples/demo/README.md.
//!
//! Data files are named `demo:NAME`, wherever a configuration names a file.

use std::path::Path;

use host_model::load::EmbeddedModel;

macro_rules! embedded {
    ($name:literal) => {
        include_bytes!(concat!("../../../examples/demo/", $name))
    };
}

pub const MODEL: EmbeddedModel = EmbeddedModel {
    name: "demo",
    config: embedded!("model/config.json"),
    weights: embedded!("model/model.safetensors"),
    tokenizer: embedded!("model/tokenizer.json"),
    tokenizer_config: embedded!("model/tokenizer_config.json"),
};

/// The embedded model, loaded.
///
/// # Panics
/// Never in a program that was built whole: the tests load it.
pub fn model() -> host_model::Model {
    let embedded = host_model::Source::Embedded(MODEL);
    host_model::load(&embedded, &host_model::LoadOptions::default()).expect("embedded")
}

/// Training settings that suit the demo model.
pub const MODEL_CONFIG: &str = include_str!("../../../examples/demo/model.toml");

/// Where the demo data are; used when no training data are named.
pub const DATA_CONFIG: &str = include_str!("../../../examples/demo/data.toml");

const FILES: [(&str, &[u8]); 9] = [
    ("train.jsonl", embedded!("data/train.jsonl")),
    ("alignment.jsonl", embedded!("data/alignment.jsonl")),
    ("eval_task.jsonl", embedded!("data/eval_task.jsonl")),
    ("eval_harmful.jsonl", embedded!("data/eval_harmful.jsonl")),
    ("eval_harmless.jsonl", embedded!("data/eval_harmless.jsonl")),
    ("calibrate.jsonl", embedded!("data/calibrate.jsonl")),
    ("canary.jsonl", embedded!("data/canary.jsonl")),
    ("anchors_harmful.jsonl", embedded!("data/anchors_harmful.jsonl")),
    ("anchors_harmless.jsonl", embedded!("data/anchors_harmless.jsonl")),
];

/// The content of an embedded data file, if `path` is `demo:NAME`.
pub fn file(path: &Path) -> Option<&'static [u8]> {
    let name = path.to_str()?.strip_prefix("demo:")?;
    FILES.iter().find(|(known, _)| *known == name).map(|(_, bytes)| *bytes)
}
