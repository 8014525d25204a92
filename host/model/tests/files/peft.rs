//! Adapters that `peft` wrote with other settings than this crate writes.

use std::path::Path;

use candle_core::{Device, Tensor};
use host_model::{Lora, Model, Target};
use serde_json::{Value, json};

use crate::adapters::{adapter, logits, model, read_config, same};
use crate::tiny;

/// An adapter on q of rank 2, alpha 3, whose configuration `change` changes; and the same with tensors changed.
fn changed(dir: &Path, model: &Model, change: impl Fn(&mut Value)) -> Result<Lora, String> {
    let out = dir.join("adapter");
    adapter(model, &[Target::Q]).save_peft(&out, &model.config, "x").unwrap();
    let mut config = read_config(&out);
    change(&mut config);
    tiny::write_json(&out.join("adapter_config.json"), &config);
    Lora::load_peft(&out, &model.config, &Device::Cpu).map_err(|error| error.to_string())
}

/// The adapter scaled by `factor` in layer `only`, or in all.
fn scaled(model: &Model, factor: f64, only: Option<usize>) -> Tensor {
    let lora = adapter(model, &[Target::Q]);
    for (name, var) in lora.named().filter(|(name, _)| name.contains("lora_B")) {
        if only.is_none_or(|layer| name.contains(&format!("layers.{layer}."))) {
            var.set(&(var.as_tensor() * factor).unwrap()).unwrap();
        }
    }
    logits(model, Some(&lora))
}

#[test]
fn rank_stabilized_and_patterned_adapters_are_loaded_as_peft_means_them() {
    let dir = tiny::folder("llama");
    let model = model(dir.path());
    let stabilized = changed(dir.path(), &model, |c| c["use_rslora"] = json!(true)).unwrap();
    // 3 / sqrt 2 in place of 3 / 2.
    let scaling = stabilized.pair(1, Target::Q).unwrap().scaling;
    assert!((scaling - 3.0 / 2f64.sqrt()).abs() < 1e-12);
    let gap =
        tiny::distance(&logits(&model, Some(&stabilized)), &scaled(&model, 2f64.sqrt(), None));
    assert!(gap < 1e-5, "{gap}");
    // Twice the alpha in layer 1.
    let pattern = json!({ r"layers\.1\..*q_proj": 6 });
    let doubled = changed(dir.path(), &model, |c| c["alpha_pattern"] = pattern.clone()).unwrap();
    let gap = tiny::distance(&logits(&model, Some(&doubled)), &scaled(&model, 2.0, Some(1)));
    assert!(gap < 1e-5, "{gap}");
    let effect = tiny::distance(&logits(&model, Some(&doubled)), &scaled(&model, 1.0, None));
    assert!(effect > 1e-3, "{effect}");
}

#[test]
fn modules_of_different_ranks_keep_them() {
    let dir = tiny::folder("llama");
    let model = model(dir.path());
    let out = dir.path().join("adapter");
    let both = adapter(&model, &[Target::Q, Target::V]);
    both.save_peft(&out, &model.config, "x").unwrap();
    let path = out.join("adapter_model.safetensors");
    let mut tensors = candle_core::safetensors::load(&path, &Device::Cpu).unwrap();
    // v gets rank 3 with a third row that does nothing.
    for (name, tensor) in tensors.iter_mut().filter(|(name, _)| name.contains("v_proj")) {
        *tensor = if name.contains("lora_A") {
            Tensor::cat(&[tensor.clone(), tensor.narrow(0, 0, 1).unwrap()], 0).unwrap()
        } else {
            tensor.pad_with_zeros(1, 0, 1).unwrap()
        };
    }
    candle_core::safetensors::save(&tensors, &path).unwrap();
    let mut config = read_config(&out);
    config["rank_pattern"] = json!({ "v_proj": 3 });
    config["alpha_pattern"] = json!({ "v_proj": 4.5 });
    tiny::write_json(&out.join("adapter_config.json"), &config);
    let lora = Lora::load_peft(&out, &model.config, &Device::Cpu).unwrap();
    let of = |target| lora.pair(0, target).map(|pair| (pair.rank, pair.scaling));
    assert_eq!((of(Target::Q), of(Target::V)), (Some((2, 1.5)), Some((3, 1.5))));
    assert!(tiny::distance(&logits(&model, Some(&lora)), &logits(&model, Some(&both))) < 1e-6);
    let again = dir.path().join("again");
    lora.save_peft(&again, &model.config, "x").unwrap();
    same(&lora, &Lora::load_peft(&again, &model.config, &Device::Cpu).unwrap());
    config["rank_pattern"] = json!({ "v_proj": 4 });
    tiny::write_json(&out.join("adapter_config.json"), &config);
    let error = Lora::load_peft(&out, &model.config, &Device::Cpu).unwrap_err().to_string();
    assert!(
        error.contains("v_proj") && error.contains("has shape [3, 32], not [4, 32]"),
        "{error}"
    );
}

#[test]
fn an_adapter_for_some_layers_stays_one() {
    for family in ["llama", "phi3"] {
        let dir = tiny::folder(family);
        let model = model(dir.path());
        let out = dir.path().join("adapter");
        let targets = [Target::Q, Target::K, Target::V, Target::Down];
        let lora = adapter(&model, &targets);
        lora.save_peft(&out, &model.config, "x").unwrap();
        let path = out.join("adapter_model.safetensors");
        let mut tensors = candle_core::safetensors::load(&path, &Device::Cpu).unwrap();
        tensors.retain(|name, _| name.contains("layers.1."));
        let header = [("parts".to_owned(), "q_proj,k_proj,v_proj,down_proj".to_owned())].into();
        safetensors::serialize_to_file(tensors, Some(header), &path).unwrap();
        let error = Lora::load_peft(&out, &model.config, &Device::Cpu).unwrap_err().to_string();
        assert!(error.contains("layers.0.") && error.contains("layers_to_transform"), "{error}");
        let mut config = read_config(&out);
        config["layers_to_transform"] = json!([1]);
        tiny::write_json(&out.join("adapter_config.json"), &config);
        let some = Lora::load_peft(&out, &model.config, &Device::Cpu).unwrap();
        assert!(some.pair(0, Target::Q).is_none() && some.pair(1, Target::Q).is_some());
        for (name, var) in lora.named().filter(|(name, _)| name.contains("layers.0.")) {
            if name.contains("lora_B") {
                var.set(&var.zeros_like().unwrap()).unwrap();
            }
        }
        let gap = tiny::distance(&logits(&model, Some(&some)), &logits(&model, Some(&lora)));
        assert!(gap < 1e-6, "{family}: {gap}");
        assert!(tiny::distance(&logits(&model, Some(&some)), &logits(&model, None)) > 1e-3);
        let again = dir.path().join("again");
        some.save_peft(&again, &model.config, "x").unwrap();
        same(&some, &Lora::load_peft(&again, &model.config, &Device::Cpu).unwrap());
        let merged = dir.path().join("merged");
        host_model::export::merge(&model, Some(&some), &merged, candle_core::DType::F32).unwrap();
        let gap =
            tiny::distance(&logits(&self::model(&merged), None), &logits(&model, Some(&some)));
        assert!(gap < 1e-5, "{family}: {gap}");
    }
}

#[test]
fn adapters_that_took_a_part_of_the_base_are_refused_by_name() {
    let dir = tiny::folder("llama");
    let model = model(dir.path());
    for (start, way_out) in [
        ("pissa", "merge_and_unload"),
        ("olora", "path_initial_model_for_weight_conversion"),
        ("OLoRA", "merge_and_unload"),
        ("loftq", "merge_and_unload"),
        ("corda", "path_initial_model_for_weight_conversion"),
        ("lora_ga", "path_initial_model_for_weight_conversion"),
        ("pissa_niter_16", "path_initial_model_for_weight_conversion"),
        ("of_the_future", "merge_and_unload"),
    ] {
        let error =
            changed(dir.path(), &model, |c| c["init_lora_weights"] = json!(start)).unwrap_err();
        assert!(error.contains(start) && error.contains(way_out), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
    for start in [json!("eva"), json!("gaussian"), json!("orthogonal"), json!(false), json!(null)] {
        changed(dir.path(), &model, |c| c["init_lora_weights"] = start.clone()).unwrap();
    }
}

#[test]
fn what_lies_beside_an_adapter_is_called_what_it_is() {
    let dir = tiny::folder("llama");
    let model = model(dir.path());
    let out = dir.path().join("adapter");
    adapter(&model, &[Target::Q]).save_peft(&out, &model.config, "x").unwrap();
    let path = out.join("adapter_model.safetensors");
    let good = candle_core::safetensors::load(&path, &Device::Cpu).unwrap();
    // A of rank 2.
    let some = good.iter().find(|(name, _)| name.contains("lora_A")).unwrap().1.clone();
    for (name, words) in [
        ("base_model.model.model.embed_tokens.weight", "resize_token_embeddings(2)"),
        ("base_model.model.lm_head.weight", "embedding or head"),
        ("base_model.model.lm_head.lora_A.weight", "isn't adapted here"),
        ("base_model.model.model.embed_tokens.lora_embedding_A", "adapts the embedding"),
        ("base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector", "use_dora"),
        ("base_model.model.model.layers.0.self_attn.q_proj.lora_B.bias", "a bias of the adapter"),
        ("base_model.model.model.layers.0.self_attn.q_proj.bias", "a bias of the model"),
        (
            "base_model.model.model.layers.5.self_attn.q_proj.lora_A.weight",
            "layer 5, but the model has 2",
        ),
        ("base_model.model.model.layers.0.self_attn.k_proj.lora_A.weight", "doesn't name"),
    ] {
        let mut tensors = good.clone();
        tensors.insert(name.to_owned(), some.clone());
        candle_core::safetensors::save(&tensors, &path).unwrap();
        let error = Lora::load_peft(&out, &model.config, &Device::Cpu).unwrap_err().to_string();
        assert!(error.contains(words) && !error.contains("another model"), "{words}: {error}");
    }
}
