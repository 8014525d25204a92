//! A BERT classifier without blocks, whose numbers can be worked out by hand.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use serde_json::{Value, json};

pub const WIDTH: usize = 4;

pub fn config() -> Value {
    json!({
        "model_type": "bert", "vocab_size": 7, "hidden_size": WIDTH, "num_hidden_layers": 0,
        "num_attention_heads": 2, "intermediate_size": 8, "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1, "max_position_embeddings": 6, "type_vocab_size": 2,
        "initializer_range": 0.02, "layer_norm_eps": 1e-12, "pad_token_id": 0,
        "id2label": {"0": "fine", "1": "rude", "2": "harm"},
    })
}

/// Words that are numbers; every other one is [UNK].
pub fn tokenizer() -> Value {
    let words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "one", "two", "three"];
    let vocabulary: HashMap<&str, usize> =
        words.iter().enumerate().map(|(id, word)| (*word, id)).collect();
    let special = |id: usize| json!({"id": id, "content": words[id], "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true});
    let piece = |name: &str| json!({"SpecialToken": {"id": name, "type_id": 0}});
    let named = |name: &str, id: usize| json!({"id": name, "ids": [id], "tokens": [name]});
    json!({
        "version": "1.0",
        "added_tokens": [special(0), special(1), special(2), special(3)],
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [piece("[CLS]"), {"Sequence": {"id": "A", "type_id": 0}}, piece("[SEP]")],
            "pair": [piece("[CLS]"), {"Sequence": {"id": "A", "type_id": 0}}, piece("[SEP]"), {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"[CLS]": named("[CLS]", 2), "[SEP]": named("[SEP]", 3)},
        },
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab": vocabulary},
    })
}

pub fn values(count: usize, factor: f32) -> Vec<f32> {
    (0..count).map(|at| ((at * 7 % 11) as f32 - 5.0) * factor).collect()
}

pub fn tensors() -> HashMap<String, Tensor> {
    let tensor = |shape: &[usize], factor: f32| {
        Tensor::from_vec(values(shape.iter().product(), factor), shape, &Device::Cpu).unwrap()
    };
    let one = |shape: &[usize]| Tensor::ones(shape, candle_core::DType::F32, &Device::Cpu).unwrap();
    [
        ("bert.embeddings.word_embeddings.weight", tensor(&[7, WIDTH], 0.3)),
        ("bert.embeddings.position_embeddings.weight", tensor(&[6, WIDTH], 0.1)),
        ("bert.embeddings.token_type_embeddings.weight", tensor(&[2, WIDTH], 0.05)),
        ("bert.embeddings.LayerNorm.weight", one(&[WIDTH])),
        ("bert.embeddings.LayerNorm.bias", tensor(&[WIDTH], 0.01)),
        ("bert.pooler.dense.weight", tensor(&[WIDTH, WIDTH], 0.2)),
        ("bert.pooler.dense.bias", tensor(&[WIDTH], 0.1)),
        ("classifier.weight", tensor(&[3, WIDTH], 0.4)),
        ("classifier.bias", tensor(&[3], 0.1)),
    ]
    .map(|(name, tensor)| (name.to_owned(), tensor))
    .into()
}

pub fn write(folder: &Path, config: &Value, tensors: &HashMap<String, Tensor>) {
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    std::fs::write(folder.join("tokenizer.json"), tokenizer().to_string()).unwrap();
    candle_core::safetensors::save(tensors, folder.join("model.safetensors")).unwrap();
}
