//! Merged models as folders.

use candle_core::{DType, Device, Tensor};
use host_model::export::merge;
use host_model::{LoadOptions, Message, Model, Source, Target, load};

use crate::adapters::{adapter, logits, model};
use crate::tiny;

fn reload(dir: &std::path::Path) -> Model {
    load(&Source::Directory(dir.to_owned()), &LoadOptions::default()).unwrap()
}

#[test]
fn a_merged_model_computes_what_the_adapted_one_does() {
    for family in tiny::FAMILIES {
        let dir = tiny::folder(family);
        let base = model(dir.path());
        let lora = adapter(&base, &Target::ALL);
        let out = dir.path().join("merged");
        merge(&base, Some(&lora), &out, DType::F32).unwrap();
        let merged = reload(&out);
        assert_eq!(merged.config, base.config);
        let error = tiny::distance(&logits(&merged, None), &logits(&base, Some(&lora)));
        let change = tiny::distance(&logits(&merged, None), &logits(&base, None));
        assert!(error < 1e-4 && change > 1e-2, "{family}: {error} {change}");
        let messages = [Message::user("Hi"), Message::assistant("there")];
        assert_eq!(
            merged.tokenizer.encode_chat(&messages).unwrap(),
            base.tokenizer.encode_chat(&messages).unwrap()
        );
    }
}

#[test]
#[cfg(unix)]
fn all_files_are_readable_alike() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tiny::folder("llama");
    let out = dir.path().join("copy");
    merge(&model(dir.path()), None, &out, DType::F32).unwrap();
    let modes: std::collections::BTreeSet<u32> = std::fs::read_dir(&out)
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().permissions().mode())
        .collect();
    assert_eq!(modes.len(), 1, "{modes:?}");
}

#[test]
fn without_an_adapter_the_weights_are_bit_for_bit_the_same() {
    for family in ["phi3", "gemma3_text", "olmo2"] {
        let dir = tiny::folder(family);
        let out = dir.path().join("copy");
        merge(&model(dir.path()), None, &out, DType::F32).unwrap();
        let stored =
            candle_core::safetensors::load(out.join("model.safetensors"), &Device::Cpu).unwrap();
        let original = tiny::tensors(family);
        assert_eq!(stored.len(), original.len());
        for (name, tensor) in original {
            assert_eq!(tiny::distance(&tensor, &stored[&name]), 0.0, "{name}");
        }
    }
}

#[test]
fn half_precision_is_written_and_named() {
    let dir = tiny::folder("llama");
    let out = dir.path().join("half");
    merge(&model(dir.path()), None, &out, DType::BF16).unwrap();
    let stored =
        candle_core::safetensors::load(out.join("model.safetensors"), &Device::Cpu).unwrap();
    assert!(stored.values().all(|t: &Tensor| t.dtype() == DType::BF16));
    let config: serde_json::Value =
        serde_json::from_slice(&std::fs::read(out.join("config.json")).unwrap()).unwrap();
    assert_eq!(config["torch_dtype"], "bfloat16");
    assert!(tiny::distance(&logits(&reload(&out), None), &logits(&model(dir.path()), None)) < 0.2);
    let message =
        merge(&model(dir.path()), None, &dir.path().join("u8"), DType::U8).unwrap_err().to_string();
    assert!(message.contains("f32, bf16 or f16"), "{message}");
}

#[test]
fn what_is_there_is_never_overwritten_and_nothing_half_written_stays() {
    let dir = tiny::folder("llama");
    let base = model(dir.path());
    let before = std::fs::read_dir(dir.path()).unwrap().count();
    let message = merge(&base, None, dir.path(), DType::F32).unwrap_err().to_string();
    assert!(message.contains("exists already"), "{message}");
    let other = tiny::folder("llama");
    let mut config = tiny::config("llama");
    config["num_hidden_layers"] = 1.into();
    tiny::write_json(&other.path().join("config.json"), &config);
    let short = tiny::tensors("llama").into_iter().filter(|(name, _)| !name.contains("layers.1."));
    safetensors::serialize_to_file(short, None, &other.path().join("model.safetensors")).unwrap();
    let lora = adapter(&model(other.path()), &[Target::Q]);
    assert!(merge(&base, Some(&lora), &dir.path().join("out"), DType::F32).is_err());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), before);
}
