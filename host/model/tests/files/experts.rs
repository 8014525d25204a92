//! Files of models with experts.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use host_model::{LoadOptions, Lora, LoraConfig, Model, Source, Target, load};
use serde_json::{Value, json};

use crate::adapters::{adapter, logits, read_config};
use crate::tiny;

fn open(dir: &Path) -> Result<Model, String> {
    load(&Source::Directory(dir.to_owned()), &LoadOptions::default()).map_err(|e| e.to_string())
}

/// What GGUF says of the MLP.
pub fn sizes(family: &str) -> Vec<(&'static str, usize)> {
    let inner = if family == "mixtral" { tiny::EXPERT_INNER } else { tiny::INNER };
    let mut sizes = vec![("feed_forward_length", inner)];
    if ["mixtral", "qwen3_moe"].contains(&family) {
        sizes.push(("expert_count", tiny::EXPERTS));
        sizes.push(("expert_used_count", tiny::EXPERTS_PER_TOKEN));
        sizes.push(("expert_feed_forward_length", tiny::EXPERT_INNER));
    }
    sizes
}

/// Gate, up and down of all experts as one tensor each, as in GGUF.
pub fn stacked(mut tensors: BTreeMap<String, Tensor>) -> BTreeMap<String, Tensor> {
    for layer in 0..tiny::LAYERS {
        for (router, parts, block) in [
            ("block_sparse_moe.gate", ["w1", "w3", "w2"], "block_sparse_moe"),
            ("mlp.gate", ["gate_proj", "up_proj", "down_proj"], "mlp"),
        ] {
            let at = format!("model.layers.{layer}");
            let Some(router) = tensors.remove(&format!("{at}.{router}.weight")) else {
                continue;
            };
            tensors.insert(format!("blk.{layer}.ffn_gate_inp.weight"), router);
            for (part, name) in parts.into_iter().zip(["gate", "up", "down"]) {
                let all: Vec<Tensor> = (0..tiny::EXPERTS)
                    .map(|expert| {
                        let name = format!("{at}.{block}.experts.{expert}.{part}.weight");
                        tensors.remove(&name).unwrap()
                    })
                    .collect();
                let name = format!("blk.{layer}.ffn_{name}_exps.weight");
                tensors.insert(name, Tensor::stack(&all, 0).unwrap());
            }
        }
    }
    tensors
}

/// The tensors as transformers 5 has them as parameters.
fn fused(family: &str) -> BTreeMap<String, Tensor> {
    let mut tensors = tiny::tensors(family);
    let (block, parts) = match family {
        "mixtral" => ("block_sparse_moe", ["w1", "w3", "w2"]),
        _ => ("mlp", ["gate_proj", "up_proj", "down_proj"]),
    };
    for layer in 0..tiny::LAYERS {
        let at = format!("model.layers.{layer}");
        let router = tensors.remove(&format!("{at}.{block}.gate.weight")).unwrap();
        tensors.insert(format!("{at}.mlp.gate.weight"), router);
        let [gate, up, down] = parts.map(|part| {
            let expert = |expert| format!("{at}.{block}.experts.{expert}.{part}.weight");
            let all = (0..tiny::EXPERTS).map(|index| tensors.remove(&expert(index)).unwrap());
            Tensor::stack(&all.collect::<Vec<_>>(), 0).unwrap()
        });
        let both = Tensor::cat(&[gate, up], 1).unwrap();
        tensors.insert(format!("{at}.mlp.experts.gate_up_proj"), both);
        tensors.insert(format!("{at}.mlp.experts.down_proj"), down);
    }
    tensors
}

#[test]
fn experts_that_are_one_tensor_are_the_same_experts() {
    for family in ["mixtral", "qwen3_moe"] {
        let dir = tiny::folder(family);
        let separate = open(dir.path()).unwrap();
        let file = dir.path().join("model.safetensors");
        safetensors::serialize_to_file(fused(family), None, &file).unwrap();
        let whole = open(dir.path()).unwrap();
        let layers = |model: &Model| model.decoder.weights.layers.clone();
        for (a, b) in layers(&separate).iter().zip(&layers(&whole)) {
            for (a, b) in tiny::linears(a).into_iter().zip(tiny::linears(b)) {
                assert_eq!(tiny::apart(&a.weight, &b.weight), 0.0, "{family}");
            }
        }
        assert_eq!(tiny::distance(&logits(&separate, None), &logits(&whole, None)), 0.0);
    }
}

#[test]
fn an_expert_that_is_missing_or_has_no_place_is_named() {
    let dir = tiny::folder("mixtral");
    let mut tensors = tiny::tensors("mixtral");
    let name = "model.layers.1.block_sparse_moe.experts.3.w2.weight";
    let taken = tensors.remove(name).unwrap();
    let file = dir.path().join("model.safetensors");
    safetensors::serialize_to_file(&tensors, None, &file).unwrap();
    let message = open(dir.path()).err().unwrap();
    assert!(message.contains(name) && message.contains("is missing"), "{message}");
    tensors.insert(name.to_owned(), taken.clone());
    tensors.insert(name.replace("experts.3", "experts.4"), taken);
    safetensors::serialize_to_file(&tensors, None, &file).unwrap();
    let message = open(dir.path()).err().unwrap();
    assert!(message.contains("experts.4.w2") && message.contains("no place"), "{message}");
}

#[test]
fn other_kinds_of_experts_are_refused_by_name() {
    let dir = tiny::folder("qwen3_moe");
    let with = |change: &dyn Fn(&mut Value)| {
        let mut config = tiny::config("qwen3_moe");
        change(&mut config);
        tiny::write_json(&dir.path().join("config.json"), &config);
        open(dir.path())
    };
    let refused = |change: &dyn Fn(&mut Value), words: &[&str]| {
        let message = with(change).err().unwrap();
        assert!(words.iter().all(|word| message.contains(word)), "{words:?}: {message}");
        assert!(!message.contains('\n'), "{message}");
    };
    refused(&|c| c["model_type"] = json!("qwen2_moe"), &["qwen2_moe", "shared expert"]);
    refused(&|c| c["model_type"] = json!("gpt_oss"), &["gpt_oss", "sinks", "mixtral, qwen3_moe"]);
    refused(&|c| c["num_local_experts"] = json!(5), &["num_local_experts", "num_experts"]);
    refused(&|c| c["num_experts_per_tok"] = json!(5), &["num_experts_per_tok", "1 to the 4"]);
    refused(&|c| c["num_experts"] = json!(0), &["model.layers.0.mlp"]);
    refused(&|c| c["mlp_only_layers"] = json!(["1"]), &["mlp_only_layers"]);
    refused(&|c| c["decoder_sparse_step"] = json!(0), &["decoder_sparse_step", "is 0"]);
    refused(&|c| c["mlp_only_layers"] = json!([1]), &["model.layers.1.mlp"]);
    let model = with(&|c| c["output_router_logits"] = json!(true)).unwrap();
    let told = |notice: &String| notice.contains("load-balancing loss isn't added");
    assert_eq!(model.notices.iter().filter(|notice| told(notice)).count(), 1);
    let scaled = with(&|c| c["norm_topk_prob"] = json!(false)).unwrap();
    assert!(tiny::distance(&logits(&scaled, None), &logits(&model, None)) > 1e-3);
}

#[test]
fn experts_have_no_adapter() {
    let dir = tiny::folder("mixtral");
    let model = open(dir.path()).unwrap();
    let config = LoraConfig::new(2, 4.0, &[Target::Q, Target::Up]);
    let message = Lora::new(&model.config, config, 1, &Device::Cpu).err().unwrap().to_string();
    let named = message.contains("up_proj") && message.contains("experts are frozen");
    assert!(named && message.contains("q_proj, k_proj, v_proj, o_proj"), "{message}");

    let out = dir.path().join("adapter");
    adapter(&model, &[Target::Q]).save_peft(&out, &model.config, "org/tiny").unwrap();
    assert_eq!(read_config(&out)["target_modules"], json!(["q_proj"]));
    let file = out.join("adapter_model.safetensors");
    let mut tensors: BTreeMap<String, Tensor> =
        candle_core::safetensors::load(&file, &Device::Cpu).unwrap().into_iter().collect();
    let name = "base_model.model.model.layers.0.block_sparse_moe.experts.1.w1.lora_A.weight";
    let a = Tensor::zeros((2, tiny::HIDDEN), candle_core::DType::F32, &Device::Cpu).unwrap();
    tensors.insert(name.to_owned(), a);
    safetensors::serialize_to_file(&tensors, None, &file).unwrap();
    let message = Lora::load_peft(&out, &model.config, &Device::Cpu).err().unwrap().to_string();
    assert!(message.contains(name) && message.contains("experts"), "{message}");
}
