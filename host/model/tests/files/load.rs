//! Folders, shards, types, and everything that can be wrong with them.

use std::path::Path;

use candle_core::DType;
use host_model::{EmbeddedModel, Error, LoadOptions, Model, Packed, Source, Target, load};
use serde_json::json;

use crate::tiny;

fn open(dir: &Path) -> Result<Model, Error> {
    load(&Source::Directory(dir.to_owned()), &LoadOptions::default())
}

/// The message of a load that must fail; one line that names `file` and says what `words` say.
fn refused(dir: &Path, file: &str, words: &str) {
    let message = open(dir).err().expect("loaded").to_string();
    assert!(message.contains(file), "no {file:?} in: {message}");
    assert!(message.contains(words), "no {words:?} in: {message}");
    assert!(!message.contains('\n') && message.contains("; "), "{message}");
}

#[test]
fn every_family_loads_and_runs() {
    for family in tiny::FAMILIES {
        let dir = tiny::folder(family);
        let model = open(dir.path()).unwrap();
        assert_eq!(model.config.family.name(), family);
        assert_eq!(model.digest.len(), 64);
        let batch = Packed::from_sequences(&[vec![1u32, 2, 3]]);
        let hidden = model.decoder.forward(&batch, None, &[]).unwrap().hidden;
        let logits = model.decoder.logits(&hidden).unwrap();
        assert_eq!(logits.dims(), [3, tiny::VOCAB]);
        let sum = logits.sum_all().unwrap().to_scalar::<f32>().unwrap();
        assert!(sum.is_finite(), "{family}");
    }
}

#[test]
fn fused_projections_are_split_top_to_bottom() {
    let dir = tiny::folder("phi3");
    let model = open(dir.path()).unwrap();
    let layer = &model.decoder.weights.layers[1];
    let tensors = tiny::tensors("phi3");
    let qkv = &tensors["model.layers.1.self_attn.qkv_proj.weight"];
    assert_eq!(tiny::apart(&qkv.narrow(0, 32, 16).unwrap().into(), &layer.k.weight), 0.0);
    let gate_up = &tensors["model.layers.1.mlp.gate_up_proj.weight"];
    assert_eq!(
        tiny::apart(
            &gate_up.narrow(0, tiny::INNER, tiny::INNER).unwrap().into(),
            &layer.linear(Target::Up).unwrap().weight
        ),
        0.0
    );
}

/// Spread the tensors of a folder over two shards with an index.
fn shard(dir: &Path, family: &str) {
    std::fs::remove_file(dir.join("model.safetensors")).unwrap();
    let (mut first, mut second): (Vec<_>, Vec<_>) = (vec![], vec![]);
    let mut map = serde_json::Map::new();
    for (index, (name, tensor)) in tiny::tensors(family).into_iter().enumerate() {
        let (list, file) = match index % 2 {
            0 => (&mut first, "model-00001-of-00002.safetensors"),
            _ => (&mut second, "model-00002-of-00002.safetensors"),
        };
        map.insert(name.clone(), json!(file));
        list.push((name, tensor));
    }
    for (list, file) in
        [(first, "model-00001-of-00002.safetensors"), (second, "model-00002-of-00002.safetensors")]
    {
        safetensors::serialize_to_file(list, None, &dir.join(file)).unwrap();
    }
    tiny::write_json(&dir.join("model.safetensors.index.json"), &json!({ "weight_map": map }));
}

#[test]
fn shards_are_the_same_model_and_a_lost_one_is_named() {
    let dir = tiny::folder("llama");
    let whole = open(dir.path()).unwrap();
    shard(dir.path(), "llama");
    let sharded = open(dir.path()).unwrap();
    for (a, b) in whole.decoder.weights.layers.iter().zip(&sharded.decoder.weights.layers) {
        assert_eq!(tiny::apart(&tiny::down(a).weight, &tiny::down(b).weight), 0.0);
    }
    std::fs::remove_file(dir.path().join("model-00002-of-00002.safetensors")).unwrap();
    refused(dir.path(), "model-00002-of-00002.safetensors", "is missing");
}

#[test]
fn an_index_can_not_reach_outside_of_its_folder() {
    let dir = tiny::folder("llama");
    std::fs::remove_file(dir.path().join("model.safetensors")).unwrap();
    let index = dir.path().join("model.safetensors.index.json");
    tiny::write_json(
        &index,
        &json!({ "weight_map": { "model.norm.weight": "../other/model.safetensors" } }),
    );
    refused(dir.path(), "model.safetensors.index.json", "isn't a file of this folder");
    tiny::write_json(&index, &json!({ "weights": {} }));
    refused(dir.path(), "model.safetensors.index.json", "has no weight_map");
}

#[test]
fn half_precision_files_become_the_requested_type() {
    for stored in [DType::BF16, DType::F16] {
        let dir = tiny::folder("llama");
        let tensors =
            tiny::tensors("llama").into_iter().map(|(name, t)| (name, t.to_dtype(stored).unwrap()));
        safetensors::serialize_to_file(tensors, None, &dir.path().join("model.safetensors"))
            .unwrap();
        let model = open(dir.path()).unwrap();
        assert_eq!(model.decoder.weights.dtype(), DType::F32);
        let exact = &tiny::tensors("llama")["model.layers.0.mlp.up_proj.weight"];
        let error = tiny::apart(
            &exact.clone().into(),
            &model.decoder.weights.layers[0].linear(Target::Up).unwrap().weight,
        );
        assert!(error > 0.0 && error < 2e-3, "{error}");
        let options = LoadOptions { dtype: stored, ..LoadOptions::default() };
        let kept = load(&Source::Directory(dir.path().to_owned()), &options).unwrap();
        assert_eq!(kept.decoder.weights.dtype(), stored);
    }
}

#[test]
fn the_digest_follows_the_bytes_and_not_the_place() {
    let (a, b) = (tiny::folder("llama"), tiny::folder("llama"));
    let digest = open(a.path()).unwrap().digest;
    assert_eq!(digest, open(b.path()).unwrap().digest);
    let mut config = tiny::config("llama");
    config["comment"] = json!("changed");
    tiny::write_json(&b.path().join("config.json"), &config);
    assert_ne!(digest, open(b.path()).unwrap().digest);
}

#[test]
fn a_model_inside_the_program_is_the_same_as_its_folder() {
    let dir = tiny::folder("qwen2");
    let leak =
        |name: &str| -> &'static [u8] { std::fs::read(dir.path().join(name)).unwrap().leak() };
    let embedded = EmbeddedModel {
        name: "tiny",
        config: leak("config.json"),
        weights: leak("model.safetensors"),
        tokenizer: leak("tokenizer.json"),
        tokenizer_config: leak("tokenizer_config.json"),
    };
    let inside = load(&Source::Embedded(embedded), &LoadOptions::default()).unwrap();
    let outside = open(dir.path()).unwrap();
    assert_eq!(inside.digest, outside.digest);
    assert_eq!(tiny::apart(&inside.decoder.weights.embed, &outside.decoder.weights.embed), 0.0);
    let broken = EmbeddedModel { weights: &embedded.weights[..100], ..embedded };
    let message =
        load(&Source::Embedded(broken), &LoadOptions::default()).err().unwrap().to_string();
    assert!(message.contains("tiny/model.safetensors"), "{message}");
}

#[test]
fn missing_files_are_named() {
    for (file, words) in [
        ("config.json", "is missing"),
        ("tokenizer.json", "is missing"),
        ("model.safetensors", "holds no model.safetensors"),
    ] {
        let dir = tiny::folder("llama");
        std::fs::remove_file(dir.path().join(file)).unwrap();
        let named = if file == "model.safetensors" { dir.path().to_str().unwrap() } else { file };
        refused(dir.path(), named, words);
    }
    let dir = tiny::folder("llama");
    std::fs::rename(dir.path().join("model.safetensors"), dir.path().join("pytorch_model.bin"))
        .unwrap();
    refused(dir.path(), "pytorch_model.bin", "safe_serialization");
}

#[test]
fn broken_files_are_named() {
    let cut = |file: &str, keep: usize| {
        let dir = tiny::folder("llama");
        let path = dir.path().join(file);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() * keep / 100]).unwrap();
        dir
    };
    for keep in [0, 1, 50, 99] {
        refused(cut("model.safetensors", keep).path(), "model.safetensors", "fetch the file again");
    }
    refused(cut("tokenizer.json", 50).path(), "tokenizer.json", "isn't a valid tokenizer.json");
    refused(cut("tokenizer_config.json", 50).path(), "tokenizer_config.json", "isn't valid JSON");
    refused(cut("config.json", 50).path(), "config.json", "JSON");
}

/// A folder whose tensors were changed by `change`.
fn with_tensors(
    change: impl FnOnce(&mut std::collections::BTreeMap<String, candle_core::Tensor>),
) -> tempfile::TempDir {
    let dir = tiny::folder("llama");
    let mut tensors = tiny::tensors("llama");
    change(&mut tensors);
    safetensors::serialize_to_file(tensors, None, &dir.path().join("model.safetensors")).unwrap();
    dir
}

#[test]
fn tensors_that_do_not_fit_are_named() {
    let name = "model.layers.1.self_attn.v_proj.weight";
    let dir = with_tensors(|t| drop(t.remove(name)));
    refused(dir.path(), name, "is missing");
    let dir = with_tensors(|t| {
        drop(t.insert(name.to_owned(), t[name].t().unwrap().contiguous().unwrap()));
    });
    refused(dir.path(), name, "has shape [32, 16]");
    let dir = with_tensors(|t| {
        drop(t.insert(
            "model.layers.0.self_attn.q_proj.bias".to_owned(),
            t["model.norm.weight"].clone(),
        ));
    });
    refused(dir.path(), "self_attn.q_proj.bias", "has no place in a llama");
    let dir =
        with_tensors(|t| drop(t.insert(name.to_owned(), t[name].to_dtype(DType::U8).unwrap())));
    refused(dir.path(), name, "quantized");
}

#[test]
fn configurations_that_can_not_be_run_are_refused() {
    let changed = |field: &str, value: serde_json::Value| {
        let dir = tiny::folder("llama");
        let mut config = tiny::config("llama");
        config[field] = value;
        tiny::write_json(&dir.path().join("config.json"), &config);
        dir
    };
    refused(
        changed("model_type", json!("gpt2")).path(),
        "config.json",
        "llama, mistral, qwen2, qwen3, phi3",
    );
    refused(
        changed("quantization_config", json!({ "quant_method": "gptq" })).path(),
        "config.json",
        "gptq",
    );
    refused(changed("num_hidden_layers", json!(3)).path(), "model.safetensors", "model.layers.2.");
    refused(changed("num_hidden_layers", json!(1)).path(), "model.safetensors", "has no place");
    refused(changed("vocab_size", json!(200)).path(), "model.safetensors", "set vocab_size to 264");
}

#[test]
fn bare_decoders_without_the_prefix_load_when_the_head_is_tied() {
    let dir = tiny::folder("qwen2");
    let tensors = tiny::tensors("qwen2")
        .into_iter()
        .map(|(n, t)| (n.trim_start_matches("model.").to_owned(), t));
    safetensors::serialize_to_file(tensors, None, &dir.path().join("model.safetensors")).unwrap();
    open(dir.path()).unwrap();
}
