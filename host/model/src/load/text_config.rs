//! The text model's part of a config.json that describes an image encoder as well.

use serde_json::{Value, json};

use crate::families::FAMILIES;

/// Fields of the whole model that its text model's part may lack.
const OF_BOTH: [&str; 7] = [
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "dtype",
    "torch_dtype",
    "quantization_config",
    "tie_word_embeddings",
];

/// The config.json of the text model by itself; none where the document is no such model's.
pub fn of(document: &Value) -> Option<Value> {
    let kind = document.get("model_type")?.as_str()?;
    let family = FAMILIES.into_iter().find(|family| family.multimodal() == Some(kind))?;
    let mut text = document.get("text_config")?.clone();
    let fields = text.as_object_mut()?;
    for name in OF_BOTH {
        if let Some(value) = document.get(name)
            && !fields.contains_key(name)
        {
            fields.insert(name.into(), value.clone());
        }
    }
    // Published files leave out what is the default of the class in transformers.
    for (name, value) in family.text_defaults() {
        fields.entry(*name).or_insert(json!(value));
    }
    fields.insert("model_type".into(), json!(family.name()));
    fields.insert("architectures".into(), json!([family.class()]));
    Some(text)
}
