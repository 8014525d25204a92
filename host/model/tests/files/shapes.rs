//! Adapters whose projections differ in rank and alpha, or that are on some of them.

use candle_core::{Device, Tensor};
use host_model::lora::Init;
use host_model::{Lora, LoraConfig, Names, Target};
use serde_json::json;

use crate::adapters::{logits, model, read_config, same, shaped};
use crate::tiny;

fn names(names: &[&str]) -> Names {
    Names::List(names.iter().map(|name| (*name).to_owned()).collect())
}

fn text(text: &str) -> Names {
    Names::Text(text.to_owned())
}

/// Layer and target of every adapted projection.
fn adapted(model: &host_model::Model, config: LoraConfig) -> Vec<(usize, Target)> {
    let shape = config.shape(&model.config).unwrap();
    shape.adapted().map(|(layer, target, _)| (layer, target)).collect()
}

#[test]
fn targets_are_names_ends_of_names_all_or_an_expression() {
    let dir = tiny::folder("llama");
    let model = model(dir.path());
    let of = |targets: Names, exclude: Option<Names>, layers: &[usize]| {
        let config = LoraConfig { targets, exclude, ..LoraConfig::new(2, 3.0, &[]) };
        adapted(&model, LoraConfig { layers: layers.to_vec(), ..config })
    };
    assert_eq!(of(names(&["q_proj"]), None, &[]), [(0, Target::Q), (1, Target::Q)]);
    assert_eq!(of(names(&["layers.1.mlp.up_proj"]), None, &[]), [(1, Target::Up)]);
    assert_eq!(of(text("all-linear"), None, &[]).len(), 7 * tiny::LAYERS);
    assert_eq!(of(text(r".*\.1\..*\.(q|v)_proj"), None, &[]), [(1, Target::Q), (1, Target::V)]);
    assert_eq!(of(text("all-linear"), Some(names(&["mlp.up_proj"])), &[1]).len(), 6);
    // Phi-3's files have one module for three projections; its name means all of them.
    let dir = tiny::folder("phi3");
    let model = self::model(dir.path());
    let config = LoraConfig { targets: names(&["qkv_proj"]), ..LoraConfig::new(2, 3.0, &[]) };
    let parts = [Target::Q, Target::K, Target::V];
    assert_eq!(adapted(&model, config)[..3], parts.map(|part| (0, part)));
}

#[test]
fn what_fits_nothing_is_refused_by_name() {
    let dir = tiny::folder("llama");
    let model = model(dir.path());
    let plain = || LoraConfig::new(2, 3.0, &[Target::Q, Target::V]);
    let with_ranks = |ranks: &[(&str, usize)]| {
        let ranks = ranks.iter().map(|(key, rank)| ((*key).to_owned(), *rank)).collect();
        LoraConfig { rank_pattern: ranks, ..plain() }
    };
    let refused = |config: LoraConfig| config.shape(&model.config).unwrap_err().to_string();
    for (config, said) in [
        (LoraConfig { targets: names(&["q_proy"]), ..plain() }, "called \"q_proy\"; use q_proj"),
        (LoraConfig { targets: text("q_proj"), ..plain() }, "no projection is adapted"),
        (LoraConfig { targets: text("(q"), ..plain() }, "no regular expression"),
        (LoraConfig { exclude: Some(names(&["w_proj"])), ..plain() }, "exclude"),
        (LoraConfig { layers: vec![1, 7], ..plain() }, "no layer 7; the model's layers are 0 to 1"),
        (with_ranks(&[("up_proj", 4)]), "\"up_proj\" fits no adapted module"),
        (with_ranks(&[("q_proj", 4), (".*0.*q_proj", 8)]), "gives"),
        (with_ranks(&[("q_proj", 0)]), "rank of layer 0's q_proj is 0; choose 1 to 4096"),
    ] {
        let error = refused(config);
        assert!(error.contains(said) && !error.contains('\n'), "{said}: {error}");
    }
}

/// Ranks and alphas of some modules, not in all layers, rank-stabilised.
fn mixed() -> LoraConfig {
    LoraConfig {
        rank_stabilized: true,
        exclude: Some(names(&["layers.0.mlp.up_proj"])),
        rank_pattern: [("self_attn.*".into(), 3), (r"layers\.1\.mlp.*".into(), 5)].into(),
        alpha_pattern: [("mlp.down_proj".into(), 1.5)].into(),
        ..LoraConfig::new(2, 3.0, &[Target::Q, Target::V, Target::Up, Target::Down])
    }
}

#[test]
fn ranks_and_alphas_by_module_go_through_files_and_merging() {
    for family in ["llama", "phi3"] {
        let dir = tiny::folder(family);
        let model = model(dir.path());
        let lora = shaped(&model, mixed());
        let of = |layer, target| lora.pair(layer, target).map(|pair| (pair.rank, pair.scaling));
        assert_eq!(of(0, Target::Q), Some((3, 3.0 / 3f64.sqrt())));
        assert_eq!(of(1, Target::Down), Some((5, 1.5 / 5f64.sqrt())));
        assert_eq!(of(0, Target::Down), Some((2, 1.5 / 2f64.sqrt())));
        assert_eq!((of(0, Target::Up), of(0, Target::K)), (None, None));
        let out = dir.path().join("adapter");
        lora.save_peft(&out, &model.config, "x").unwrap();
        let again = Lora::load_peft(&out, &model.config, &Device::Cpu).unwrap();
        let expected = logits(&model, Some(&lora));
        let gap = tiny::distance(&logits(&model, Some(&again)), &expected);
        assert!(gap < 1e-6, "{family}: {gap}");
        assert!(tiny::distance(&logits(&model, None), &expected) > 1e-3, "{family}");
        let merged = dir.path().join("merged");
        host_model::export::merge(&model, Some(&lora), &merged, candle_core::DType::F32).unwrap();
        let gap = tiny::distance(&logits(&self::model(&merged), None), &expected);
        assert!(gap < 1e-5, "{family}: merged {gap}");
        // The same as the model's own weights, with a digest of its own.
        let digest = model.digest.clone();
        let taken = model.with_adapter(&out).unwrap();
        assert!(taken.digest != digest && taken.name.ends_with("+adapter"), "{}", taken.name);
        let gap = tiny::distance(&logits(&taken, None), &expected);
        assert!(gap < 1e-5, "{family}: taken in {gap}");
    }
}

#[test]
fn magnitudes_go_through_files_and_merging() {
    for family in tiny::FAMILIES {
        let dir = tiny::folder(family);
        let model = model(dir.path());
        let config = LoraConfig::new(2, 3.0, model.config.targets());
        let lora = shaped(&model, LoraConfig { magnitudes: true, ..config });
        for (_, var) in lora.named().filter(|(name, _)| name.contains("magnitude")) {
            let factors = (0..var.elem_count()).map(|i| 1.0 + (i % 5) as f32 / 10.0);
            let factors = Tensor::from_iter(factors, &Device::Cpu).unwrap();
            var.set(&(var.as_tensor() * factors).unwrap()).unwrap();
        }
        let out = dir.path().join("adapter");
        lora.save_peft(&out, &model.config, "x").unwrap();
        assert_eq!(read_config(&out)["use_dora"], json!(true));
        same(&lora, &Lora::load_peft(&out, &model.config, &Device::Cpu).unwrap());
        let expected = logits(&model, Some(&lora));
        let merged = dir.path().join("merged");
        host_model::export::merge(&model, Some(&lora), &merged, candle_core::DType::F32).unwrap();
        let gap = tiny::distance(&logits(&self::model(&merged), None), &expected);
        assert!(gap < 1e-5, "{family}: merged {gap}");
        let taken = model.with_adapter(&out).unwrap();
        let gap = tiny::distance(&logits(&taken, None), &expected);
        assert!(gap < 1e-5, "{family}: taken in {gap}");
    }
}

#[test]
fn parts_of_a_module_have_magnitudes_together_or_not_at_all() {
    let dir = tiny::folder("phi3");
    let model = model(dir.path());
    let some = LoraConfig { magnitudes: true, ..LoraConfig::new(2, 3.0, &[Target::Q, Target::V]) };
    let error = Lora::for_weights(&model.config, &model.decoder.weights, some, 5).unwrap_err();
    let error = error.to_string();
    assert!(error.contains("qkv_proj") && error.contains("adapt all of them or none"), "{error}");
    // A file that lacks some.
    let whole = LoraConfig { magnitudes: true, ..LoraConfig::new(2, 3.0, &Target::ALL) };
    let out = dir.path().join("adapter");
    shaped(&model, whole).save_peft(&out, &model.config, "x").unwrap();
    let path = out.join("adapter_model.safetensors");
    let mut tensors = candle_core::safetensors::load(&path, &Device::Cpu).unwrap();
    let name = "base_model.model.model.layers.1.self_attn.qkv_proj.lora_magnitude_vector";
    let lengths = tensors.remove(name).unwrap();
    let mut refused = |change: Option<Tensor>| {
        change.into_iter().for_each(|tensor| drop(tensors.insert(name.to_owned(), tensor)));
        candle_core::safetensors::save(&tensors, &path).unwrap();
        Lora::load_peft(&out, &model.config, &Device::Cpu).unwrap_err().to_string()
    };
    let error = refused(None);
    assert!(error.contains(name) && error.contains("is missing"), "{error}");
    let error = refused(Some(lengths.narrow(0, 0, 3).unwrap().contiguous().unwrap()));
    assert!(error.contains(name) && error.contains("shape [3]"), "{error}");
}

#[test]
fn a_start_at_singular_values_is_an_adapter_of_twice_the_rank_in_files() {
    for family in ["llama", "phi3"] {
        let dir = tiny::folder(family);
        let model = model(dir.path());
        let config = LoraConfig { init: Init::Pissa, ..LoraConfig::new(2, 3.0, &Target::ALL) };
        let lora = Lora::for_weights(&model.config, &model.decoder.weights, config, 5).unwrap();
        let gap = tiny::distance(&logits(&model, Some(&lora)), &logits(&model, None));
        assert!(gap < 1e-4, "{family}: {gap}");
        let out = dir.path().join("adapter");
        lora.save_peft(&out, &model.config, "x").unwrap();
        let config = read_config(&out);
        assert_eq!((&config["r"], &config["lora_alpha"]), (&json!(4), &json!(6)), "{family}");
        same(&lora, &Lora::load_peft(&out, &model.config, &Device::Cpu).unwrap());
    }
}

#[test]
fn an_adapter_for_some_layers_says_so_in_few_words() {
    let dir = tiny::folder("llama");
    let model = model(dir.path());
    let out = dir.path().join("adapter");
    let some = LoraConfig { layers: vec![1], ..LoraConfig::new(2, 3.0, &[Target::Q, Target::O]) };
    let some = LoraConfig { rank_pattern: [("o_proj".to_owned(), 4)].into(), ..some };
    shaped(&model, some).save_peft(&out, &model.config, "x").unwrap();
    let config = read_config(&out);
    assert_eq!(config["target_modules"], json!(["q_proj", "o_proj"]));
    assert_eq!(config["layers_to_transform"], json!([1]));
    assert_eq!(config["rank_pattern"], json!({ "o_proj": 4 }));
    assert_eq!(config["alpha_pattern"], json!({}));
}
