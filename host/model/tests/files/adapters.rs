//! Adapters in the format of `peft`.

use std::path::Path;

use candle_core::{Device, Tensor};
use host_model::lora::Pair;
use host_model::{LoadOptions, Lora, LoraConfig, Model, Packed, Source, Target, load};
use serde_json::{Value, json};

use crate::tiny;

pub fn model(dir: &Path) -> Model {
    load(&Source::Directory(dir.to_owned()), &LoadOptions::default()).unwrap()
}

/// An adapter on those targets that the model has, or on q, whose B isn't zero.
pub fn adapter(model: &Model, targets: &[Target]) -> Lora {
    let served = model.config.targets();
    let mut targets: Vec<Target> =
        targets.iter().copied().filter(|target| served.contains(target)).collect();
    if targets.is_empty() {
        targets.push(Target::Q);
    }
    shaped(model, LoraConfig::new(2, 3.0, &targets))
}

/// Likewise, of any shape.
pub fn shaped(model: &Model, config: LoraConfig) -> Lora {
    let lora = Lora::for_weights(&model.config, &model.decoder.weights, config, 5).unwrap();
    for (seed, (name, var)) in lora.named().enumerate() {
        if name.contains("lora_B") {
            let count = var.elem_count();
            let values: Vec<f32> =
                (0..count).map(|i| ((i * 7 + seed * 3) % 11) as f32 / 50.0 - 0.1).collect();
            var.set(&Tensor::from_vec(values, var.shape(), &Device::Cpu).unwrap()).unwrap();
        }
    }
    lora
}

pub fn logits(model: &Model, adapter: Option<&Lora>) -> Tensor {
    let batch = Packed::from_sequences(&[vec![1u32, 2, 3, 50], vec![250, 9]]);
    let hidden = model.decoder.forward(&batch, adapter, &[]).unwrap().hidden;
    model.decoder.logits(&hidden.detach()).unwrap()
}

pub fn same(a: &Lora, b: &Lora) {
    assert_eq!(a.shape(), b.shape());
    let names = |lora: &Lora| lora.named().map(|(name, _)| name.to_owned()).collect::<Vec<_>>();
    assert_eq!(names(a), names(b));
    for ((name, a), (_, b)) in a.named().zip(b.named()) {
        assert_eq!(tiny::distance(a, b), 0.0, "{name}");
    }
}

pub fn read_config(dir: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(dir.join("adapter_config.json")).unwrap()).unwrap()
}

#[test]
fn an_adapter_comes_back_as_it_was() {
    for family in tiny::FAMILIES {
        let dir = tiny::folder(family);
        let model = model(dir.path());
        for targets in
            [&Target::ALL[..], &[Target::Q, Target::V], &[Target::K], &[Target::Up, Target::Down]]
        {
            let lora = adapter(&model, targets);
            let out = dir.path().join("adapter");
            lora.save_peft(&out, &model.config, "org/tiny").unwrap();
            same(&lora, &Lora::load_peft(&out, &model.config, &Device::Cpu).unwrap());
            let change = tiny::distance(&logits(&model, None), &logits(&model, Some(&lora)));
            assert!(change > 1e-3, "{family}: the adapter changes nothing");
        }
    }
}

#[test]
fn the_configuration_says_what_peft_asks_for() {
    let dir = tiny::folder("llama");
    let model = model(dir.path());
    let out = dir.path().join("adapter");
    adapter(&model, &[Target::Q, Target::Down]).save_peft(&out, &model.config, "org/tiny").unwrap();
    let config = read_config(&out);
    for (field, value) in [
        ("peft_type", json!("LORA")),
        ("task_type", json!("CAUSAL_LM")),
        ("r", json!(2)),
        ("lora_alpha", json!(3)),
        ("target_modules", json!(["q_proj", "down_proj"])),
        ("bias", json!("none")),
        ("base_model_name_or_path", json!("org/tiny")),
    ] {
        assert_eq!(config[field], value, "{field}");
    }
    let mut names: Vec<_> =
        std::fs::read_dir(&out).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["adapter_config.json", "adapter_model.safetensors"]);
}

#[test]
fn fused_modules_have_the_product_of_their_parts() {
    let dir = tiny::folder("phi3");
    let model = model(dir.path());
    let lora = adapter(&model, &[Target::Q, Target::V, Target::O]);
    let out = dir.path().join("adapter");
    lora.save_peft(&out, &model.config, "phi").unwrap();
    let config = read_config(&out);
    assert_eq!(config["target_modules"], json!(["o_proj", "qkv_proj"]));
    assert_eq!(config["rank_pattern"], json!({ "qkv_proj": 4 }));
    assert_eq!(config["alpha_pattern"], json!({ "qkv_proj": 6.0 }));
    let stored =
        candle_core::safetensors::load(out.join("adapter_model.safetensors"), &Device::Cpu)
            .unwrap();
    let fused = |side: &str| {
        &stored[&format!("base_model.model.model.layers.1.self_attn.qkv_proj.{side}.weight")]
    };
    let product = fused("lora_B").matmul(fused("lora_A")).unwrap();
    let part = |target| {
        let Pair { a, b, .. } = lora.pair(1, target).unwrap();
        b.matmul(a.as_tensor()).unwrap()
    };
    assert!(tiny::distance(&product.narrow(0, 0, 32).unwrap(), &part(Target::Q)) < 1e-7);
    assert!(tiny::distance(&product.narrow(0, 48, 16).unwrap(), &part(Target::V)) < 1e-7);
    let nothing = product.narrow(0, 32, 16).unwrap().abs().unwrap().sum_all().unwrap();
    assert_eq!(nothing.to_scalar::<f32>().unwrap(), 0.0);
}

#[test]
fn an_adapter_trained_on_a_fused_module_is_split_with_the_same_product() {
    let dir = tiny::folder("phi3");
    let model = model(dir.path());
    let out = dir.path().join("adapter");
    let only_o = adapter(&model, &[Target::O]);
    only_o.save_peft(&out, &model.config, "phi").unwrap();
    let mut tensors =
        candle_core::safetensors::load(out.join("adapter_model.safetensors"), &Device::Cpu)
            .unwrap();
    for layer in 0..tiny::LAYERS {
        let name = |side: &str| {
            format!("base_model.model.model.layers.{layer}.self_attn.qkv_proj.{side}.weight")
        };
        tensors.insert(
            name("lora_A"),
            Tensor::randn(0f32, 1.0, (2, tiny::HIDDEN), &Device::Cpu).unwrap(),
        );
        tensors.insert(name("lora_B"), Tensor::randn(0f32, 1.0, (64, 2), &Device::Cpu).unwrap());
    }
    candle_core::safetensors::save(&tensors, out.join("adapter_model.safetensors")).unwrap();
    let mut config = read_config(&out);
    config["target_modules"] = json!(["o_proj", "qkv_proj"]);
    tiny::write_json(&out.join("adapter_config.json"), &config);
    let split = Lora::load_peft(&out, &model.config, &Device::Cpu).unwrap();
    let mut targets: Vec<Target> = split.pairs().map(|(_, target, _)| target).collect();
    targets.dedup();
    let one_layer = [Target::Q, Target::K, Target::V, Target::O];
    assert_eq!(targets, one_layer.repeat(tiny::LAYERS));
    let Pair { a, b, .. } = split.pair(0, Target::K).unwrap();
    let whole = tensors["base_model.model.model.layers.0.self_attn.qkv_proj.lora_B.weight"]
        .matmul(&tensors["base_model.model.model.layers.0.self_attn.qkv_proj.lora_A.weight"])
        .unwrap();
    assert!(
        tiny::distance(&whole.narrow(0, 32, 16).unwrap(), &b.matmul(a.as_tensor()).unwrap()) < 1e-5
    );
}

#[test]
fn blocks_that_were_trained_on_as_a_whole_are_refused() {
    let dir = tiny::folder("phi3");
    let model = model(dir.path());
    let out = dir.path().join("adapter");
    adapter(&model, &[Target::Q, Target::V]).save_peft(&out, &model.config, "phi").unwrap();
    let path = out.join("adapter_model.safetensors");
    let stored = candle_core::safetensors::load(&path, &Device::Cpu).unwrap();
    let changed = stored.into_iter().map(|(name, t)| {
        let filled = if name.contains("lora_B") { (t + 0.01).unwrap() } else { t };
        (name, filled)
    });
    let parts = [("parts".to_owned(), "q_proj,v_proj".to_owned())].into();
    safetensors::serialize_to_file(changed, Some(parts), &path).unwrap();
    let error = Lora::load_peft(&out, &model.config, &Device::Cpu).unwrap_err().to_string();
    assert!(error.contains("block-diagonal"), "{error}");
}

#[test]
fn settings_that_can_not_be_honoured_are_refused() {
    let dir = tiny::folder("llama");
    let model = model(dir.path());
    let out = dir.path().join("adapter");
    adapter(&model, &[Target::Q]).save_peft(&out, &model.config, "x").unwrap();
    let good = read_config(&out);
    for (field, value) in [
        ("peft_type", json!("IA3")),
        ("use_dora", json!(true)),
        ("use_dora", json!("yes")),
        ("use_rslora", json!("yes")),
        ("bias", json!("some")),
        ("lora_bias", json!(true)),
        ("use_qalora", json!(true)),
        ("layer_replication", json!([[0, 1], [0, 1]])),
        ("target_parameters", json!(["experts.gate_up_proj"])),
        ("trainable_token_indices", json!([3])),
        ("exclude_modules", json!(["q_proj"])),
        ("target_modules", json!(["k_proj"])),
        ("target_modules", json!("(?=x)q_proj")),
        ("a_setting_of_the_future", json!({ "on": 1 })),
        ("modules_to_save", json!(["lm_head"])),
        ("layers_to_transform", json!([0])),
        ("rank_pattern", json!({ "q_proj": 4 })),
        ("r", json!("two")),
        ("r", json!(4)),
        ("lora_alpha", json!(null)),
        ("lora_alpha", json!(-1)),
    ] {
        let mut config = good.clone();
        config[field] = value.clone();
        tiny::write_json(&out.join("adapter_config.json"), &config);
        let error = Lora::load_peft(&out, &model.config, &Device::Cpu).err();
        let error = error.unwrap_or_else(|| panic!("{field} = {value} was accepted")).to_string();
        assert!(!error.contains('\n') && error.contains("; "), "{error}");
    }
    let mut harmless = good.clone();
    // For linear layers peft sets it to false; this model has no biases that could have been trained.
    harmless["fan_in_fan_out"] = json!(true);
    harmless["bias"] = json!("all");
    harmless["a_setting_of_the_future"] = json!(false);
    harmless["use_dora"] = json!(null);
    harmless["modules_to_save"] = json!([]);
    harmless["eva_config"] = json!({ "rho": 2.0 });
    tiny::write_json(&out.join("adapter_config.json"), &harmless);
    Lora::load_peft(&out, &model.config, &Device::Cpu).unwrap();
}

#[test]
fn adapters_of_another_model_and_broken_ones_are_refused() {
    let (llama, qwen) = (tiny::folder("llama"), tiny::folder("qwen3"));
    let model = model(llama.path());
    let out = llama.path().join("adapter");
    let refused = |words: &str| {
        let error = Lora::load_peft(&out, &model.config, &Device::Cpu).unwrap_err().to_string();
        assert!(error.contains(words), "no {words:?} in: {error}");
    };
    refused("adapter_config.json");
    adapter(&model, &[Target::Q]).save_peft(&out, &model.config, "x").unwrap();
    let path = out.join("adapter_model.safetensors");
    let tensors = candle_core::safetensors::load(&path, &Device::Cpu).unwrap();
    let save = |rename: &dyn Fn(&str) -> String| {
        let renamed: std::collections::HashMap<_, _> =
            tensors.iter().map(|(n, t)| (rename(n), t.clone())).collect();
        candle_core::safetensors::save(&renamed, &path).unwrap();
    };
    save(&|name| name.replace("q_proj", "k_proj"));
    refused("k_proj");
    save(&|name| name.replace("q_proj", "shared_expert"));
    refused("holds no LoRA tensors");
    save(&|name| name.replace("layers.1.", "layers.7."));
    refused("layers.");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    refused("isn't a complete safetensors file");
    std::fs::rename(&path, out.join("adapter_model.bin")).unwrap();
    refused("safe_serialization");
    drop(qwen);
}
