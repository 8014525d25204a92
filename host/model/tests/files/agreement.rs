//! Files of a model that say two things: which counts, and that a person is told.

use std::path::Path;

use candle_core::{DType, Tensor};
use host_model::{LoadOptions, Model, Packed, RopeScaling, Source, export, load};
use serde_json::{Value, json};

use crate::tiny;

pub fn open(dir: &Path) -> Result<Model, String> {
    load(&Source::Directory(dir.to_owned()), &LoadOptions::default()).map_err(|e| e.to_string())
}

/// A tiny model whose config.json `change` changes.
fn with(family: &str, change: impl Fn(&mut Value)) -> (tempfile::TempDir, Result<Model, String>) {
    let dir = tiny::folder(family);
    let mut config = tiny::config(family);
    change(&mut config);
    tiny::write_json(&dir.path().join("config.json"), &config);
    let model = open(dir.path());
    (dir, model)
}

/// Loads, and says one line that holds all of `words`.
fn noted(family: &str, change: impl Fn(&mut Value), words: &[&str]) -> Model {
    let model = with(family, change).1.unwrap();
    told(&model, words);
    model
}

pub fn told(model: &Model, words: &[&str]) {
    let says = |notice: &String| words.iter().all(|word| notice.contains(word));
    let count = model.notices.iter().filter(|notice| says(notice)).count();
    assert_eq!(count, 1, "{words:?} in {:#?}", model.notices);
    assert!(model.notices.iter().all(|notice| !notice.contains('\n')));
}

/// One line that holds all of `words`.
fn refused(family: &str, change: impl Fn(&mut Value), words: &[&str]) {
    let message = with(family, change).1.err().expect("loaded");
    assert!(words.iter().all(|word| message.contains(word)), "{words:?} in {message}");
    assert!(!message.contains('\n') && message.contains("; "), "{message}");
}

fn logits(model: &Model) -> Tensor {
    let batch = Packed::from_sequences(&[vec![1u32, 2, 3, 50, 7]]);
    let hidden = model.decoder.forward(&batch, None, &[]).unwrap().hidden;
    model.decoder.logits(&hidden).unwrap()
}

#[test]
fn models_whose_files_agree_say_nothing() {
    for family in tiny::FAMILIES {
        let model = open(tiny::folder(family).path()).unwrap();
        assert_eq!(model.notices, Vec::<String>::new(), "{family}");
    }
}

/// A head of its own though `tie_word_embeddings` is true: kept, told, and in the merged model.
#[test]
fn a_stored_head_that_is_not_the_embedding_is_kept() {
    let dir = tiny::folder("llama");
    let untied = open(dir.path()).unwrap();
    let mut config = tiny::config("llama");
    config["tie_word_embeddings"] = json!(true);
    tiny::write_json(&dir.path().join("config.json"), &config);
    let model = open(dir.path()).unwrap();
    told(&model, &["lm_head.weight isn't the embedding", "tie_word_embeddings"]);
    assert!(!model.config.tie_embeddings);
    assert_eq!(tiny::distance(&logits(&model), &logits(&untied)), 0.0);
    let merged = dir.path().join("merged");
    export::merge(&model, None, &merged, DType::F32).unwrap();
    let back = open(&merged).unwrap();
    assert_eq!(tiny::distance(&logits(&back), &logits(&untied)), 0.0);
    assert_eq!(back.config_json.as_ref().unwrap()["tie_word_embeddings"], json!(false));
    assert_eq!(back.notices, Vec::<String>::new());
}

#[test]
fn a_stored_copy_of_the_embedding_is_the_tied_head() {
    let dir = tiny::folder("qwen2");
    let tied = open(dir.path()).unwrap();
    let mut tensors = tiny::tensors("qwen2");
    tensors.insert("lm_head.weight".into(), tensors["model.embed_tokens.weight"].clone());
    let path = dir.path().join("model.safetensors");
    safetensors::serialize_to_file(&tensors, None, &path).unwrap();
    let copied = open(dir.path()).unwrap();
    assert!(copied.config.tie_embeddings && copied.notices.is_empty());
    tensors.remove("model.embed_tokens.weight");
    safetensors::serialize_to_file(&tensors, None, &path).unwrap();
    let swapped = open(dir.path()).unwrap();
    told(&swapped, &["lm_head.weight is the embedding as well"]);
    assert_eq!(tiny::distance(&logits(&swapped), &logits(&tied)), 0.0);
    assert_eq!(tiny::distance(&logits(&copied), &logits(&tied)), 0.0);
}

#[test]
fn a_missing_head_and_other_shapes_name_the_field_to_look_at() {
    let dir = tiny::folder("llama");
    let mut tensors = tiny::tensors("llama");
    tensors.remove("lm_head.weight");
    safetensors::serialize_to_file(&tensors, None, &dir.path().join("model.safetensors")).unwrap();
    let message = open(dir.path()).err().unwrap();
    assert!(message.contains("tie_word_embeddings to true"), "{message}");
    refused(
        "llama",
        |c| c["num_key_value_heads"] = json!(4),
        &["k_proj", "set num_key_value_heads to 2"],
    );
    refused("llama", |c| c["head_dim"] = json!(16), &["set head_dim to 8"]);
    refused("llama", |c| c["intermediate_size"] = json!(40), &["set intermediate_size to 48"]);
    refused("llama", |c| c["num_hidden_layers"] = json!(1), &["layer 1", "num_hidden_layers"]);
    refused(
        "llama",
        |c| c["attention_bias"] = json!(true),
        &["is missing", "set attention_bias to false"],
    );
}

#[test]
fn layer_types_decide_which_layers_have_the_window() {
    let window = |c: &mut Value| {
        c["use_sliding_window"] = json!(true);
        c["sliding_window"] = json!(3);
        c["max_window_layers"] = json!(1);
    };
    let plain = with("qwen2", window).1.unwrap();
    assert_eq!((plain.config.window(0), plain.config.window(1)), (None, Some(3)));
    assert!(plain.notices.is_empty());
    let other = noted(
        "qwen2",
        |c| {
            window(c);
            c["layer_types"] = json!(["sliding_attention", "full_attention"]);
        },
        &["layer_types", "counts", "max_window_layers"],
    );
    assert_eq!((other.config.window(0), other.config.window(1)), (Some(3), None));
    assert!(tiny::distance(&logits(&plain), &logits(&other)) > 1e-4);
    let off = |c: &mut Value| c["layer_types"] = json!(["full_attention", "sliding_attention"]);
    refused("qwen3", off, &["layer_types", "use_sliding_window"]);
    refused("qwen2", |c| c["layer_types"] = json!(["full_attention"]), &["num_hidden_layers"]);
    let chunked = |c: &mut Value| c["layer_types"] = json!(["full_attention", "chunked_attention"]);
    refused("qwen2", chunked, &["chunked_attention"]);
    // The defaults of transformers: 4096 keys, from layer 28 on.
    let switched = with("qwen2", |c| c["use_sliding_window"] = json!(true)).1.unwrap();
    assert_eq!(switched.config.window(1), None);
    assert_eq!(with("mistral", |_| {}).1.unwrap().config.window(0), Some(4096));
    let none = with("mistral", |c| c["sliding_window"] = json!(null)).1.unwrap();
    assert_eq!(none.config.window(0), None);
    let typed = noted("mistral", off, &["layer_types", "counts", "1 of 2 layers"]);
    assert_eq!((typed.config.window(0), typed.config.window(1)), (None, Some(4096)));
    noted("phi3", off, &["layer_types", "isn't read"]);
}

#[test]
fn rope_settings_are_taken_where_transformers_takes_them() {
    let linear = json!({ "rope_type": "linear", "factor": 2.0 });
    let both = noted(
        "llama",
        |c| {
            c["rope_scaling"] = linear.clone();
            c["rope_parameters"] =
                json!({ "rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0 });
        },
        &["rope_scaling", "counts"],
    );
    assert_eq!(both.config.rope.scaling, RopeScaling::Linear { factor: 2.0 });
    let theta = noted(
        "llama",
        |c| c["rope_parameters"] = json!({ "rope_type": "default", "rope_theta": 500.0 }),
        &["rope_theta", "500", "10000"],
    );
    assert_eq!(theta.config.rope.theta, 500.0);
    let typed = noted(
        "llama",
        |c| c["rope_scaling"] = json!({ "factor": 4.0 }),
        &["rope_scaling.factor", "isn't read", "without a `rope_type`"],
    );
    assert_eq!(typed.config.rope.scaling, RopeScaling::None);
    noted(
        "llama",
        |c| c["rope_scaling"] = json!({ "rope_type": "linear", "type": "dynamic", "factor": 2.0 }),
        &["rope_type", "counts"],
    );
    let original = noted(
        "llama",
        |c| {
            c["original_max_position_embeddings"] = json!(32);
            c["rope_scaling"] = json!({ "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64 });
        },
        &["original_max_position_embeddings", "32 counts"],
    );
    let RopeScaling::Yarn { original_max_position, .. } = original.config.rope.scaling else {
        panic!()
    };
    assert_eq!(original_max_position, 32);
    noted(
        "llama",
        |c| c["partial_rotary_factor"] = json!(0.5),
        &["partial_rotary_factor", "whole"],
    );
    for (settings, words) in [
        (json!({ "rope_type": "proportional", "factor": 2.0 }), "proportional"),
        (json!({ "rope_type": "yarn" }), "rope_scaling.factor"),
        (json!({ "rope_type": "dynamic" }), "rope_scaling.factor"),
        (json!({ "rope_type": 3 }), "rope_scaling.rope_type"),
        (json!({ "full_attention": { "rope_type": "default" } }), "full_attention"),
        (
            json!({ "rope_type": "llama3", "factor": 2.0, "low_freq_factor": 4.0, "high_freq_factor": 4.0 }),
            "low_freq_factor",
        ),
    ] {
        refused("llama", |c| c["rope_scaling"] = settings.clone(), &[words]);
    }
    refused("phi3", |c| c["rope_scaling"] = linear.clone(), &["linear", "phi3"]);
}

/// What is stretched takes longer sequences than `max_position_embeddings`.
#[test]
fn stretched_models_take_longer_sequences() {
    let longest = |settings: Value| {
        with("llama", |c| c["rope_scaling"] = settings.clone()).1.unwrap().config.max_position
    };
    assert_eq!(longest(json!({ "rope_type": "dynamic", "factor": 2.0 })), 256);
    let yarn =
        json!({ "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64 });
    assert_eq!(longest(yarn), 256);
    assert_eq!(longest(json!({ "rope_type": "linear", "factor": 2.0 })), 128);
}

#[test]
fn flags_and_fields_that_nothing_reads_are_told() {
    noted(
        "mistral",
        |c| c["attention_bias"] = json!(true),
        &["attention_bias", "MistralForCausalLM"],
    );
    noted("qwen2", |c| c["mlp_bias"] = json!(true), &["mlp_bias"]);
    noted(
        "llama",
        |c| c["architectures"] = json!(["MistralForCausalLM"]),
        &["architectures", "LlamaForCausalLM"],
    );
    noted("llama", |c| c["auto_map"] = json!({ "AutoModel": "x.Y" }), &["auto_map"]);
    noted(
        "llama",
        |c| {
            c["final_logit_softcapping"] = json!(30.0);
            c["sliding_window"] = json!(8);
            c["is_llama_config"] = json!(false);
        },
        &["final_logit_softcapping", "sliding_window", "isn't read"],
    );
    noted("llama", |c| c["torch_dtype"] = json!("bfloat16"), &["torch_dtype", "stored as F32"]);
    let dir = tiny::folder("llama");
    let mut tensors = tiny::tensors("llama");
    let some = tensors["model.norm.weight"].clone();
    tensors.insert("model.layers.0.self_attn.rotary_emb.inv_freq".into(), some.clone());
    tensors.insert("model.layers.1.self_attn.rotary_emb.inv_freq".into(), some);
    safetensors::serialize_to_file(&tensors, None, &dir.path().join("model.safetensors")).unwrap();
    told(&open(dir.path()).unwrap(), &["inv_freq and 1 more such tensors aren't read"]);
}

/// What a file says reaches the terminal without escapes.
#[test]
fn names_from_files_are_shown_without_control_characters() {
    let hostile = "\u{1b}[2Jgpt";
    let message = with("llama", |c| c["model_type"] = json!(hostile)).1.err().unwrap();
    assert!(!message.contains('\u{1b}') && message.contains("[2Jgpt"), "{message}");
    let model = with("llama", |c| c[hostile] = json!(1)).1.unwrap();
    assert!(model.notices.iter().all(|notice| !notice.contains('\u{1b}')));
}

#[test]
fn an_index_and_its_shards_are_compared() {
    let dir = tiny::folder("llama");
    let tensors = tiny::tensors("llama");
    let single = dir.path().join("model.safetensors");
    let index = dir.path().join("model.safetensors.index.json");
    let names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
    let map = |file: &dyn Fn(usize) -> &'static str| {
        let map: serde_json::Map<String, Value> =
            tensors.keys().enumerate().map(|(i, name)| (name.clone(), json!(file(i)))).collect();
        json!({ "weight_map": map })
    };
    tiny::write_json(&index, &map(&|i| names[i % 2]));
    told(&open(dir.path()).unwrap(), &["index.json", "isn't read"]);
    std::fs::remove_file(single).unwrap();
    for (which, name) in names.iter().enumerate() {
        let part = tensors.iter().enumerate().filter(|(i, _)| i % 2 == which).map(|(_, t)| t);
        safetensors::serialize_to_file(part, None, &dir.path().join(name)).unwrap();
    }
    assert!(open(dir.path()).unwrap().notices.is_empty());
    tiny::write_json(&index, &map(&|i| names[usize::from(i % 4 == 1)]));
    told(&open(dir.path()).unwrap(), &["says that", "read where they are"]);
    tiny::write_json(&index, &map(&|i| names[i % 2]));
    std::fs::copy(dir.path().join(names[0]), dir.path().join("model-00009.safetensors")).unwrap();
    told(&open(dir.path()).unwrap(), &["model-00009.safetensors", "aren't read"]);
    let name = "model.norm.weight";
    let mut first =
        candle_core::safetensors::load(dir.path().join(names[0]), &candle_core::Device::Cpu)
            .unwrap();
    let second =
        candle_core::safetensors::load(dir.path().join(names[1]), &candle_core::Device::Cpu)
            .unwrap();
    let there = if first.contains_key(name) { names[1] } else { names[0] };
    let mut other = if first.contains_key(name) { second } else { std::mem::take(&mut first) };
    other.insert(name.into(), (tensors[name].clone() + 1.0).unwrap());
    safetensors::serialize_to_file(&other, None, &dir.path().join(there)).unwrap();
    let message = open(dir.path()).err().unwrap();
    assert!(message.contains(name) && message.contains("is another one in"), "{message}");
}
