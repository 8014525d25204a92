//! Models and adapters written as GGUF, read back by this program and by candle.

use std::collections::BTreeMap;
use std::io::BufReader;
use std::path::Path;

use candle_core::quantized::GgmlDType;
use candle_core::quantized::gguf_file::{Content, Value};
use candle_core::{DType, Device, Tensor};
use host_model::export::gguf::{GgufExport, GgufType};
use host_model::{LoadOptions, LoraConfig, Message, Model, Packed, Source, Target, load};
use serde_json::json;

use crate::adapters::{adapter, logits, model, shaped};
use crate::gguf::open;
use crate::tiny;
use crate::tiny_gguf::{metadata, tensors, write};

fn export(model: &Model) -> GgufExport<'_> {
    GgufExport { model, source: None, base: Some("org/tiny") }
}

/// All tensors as f32, and the metadata, as candle reads them.
fn raw(path: &Path) -> (BTreeMap<String, Tensor>, Content) {
    let mut file = BufReader::new(std::fs::File::open(path).unwrap());
    let content = Content::read(&mut file).unwrap();
    let tensor = |name: &String| {
        let tensor = content.tensor(&mut file, name, &Device::Cpu).unwrap();
        (name.clone(), tensor.dequantize(&Device::Cpu).unwrap())
    };
    let tensors = content.tensor_infos.keys().map(tensor).collect();
    (tensors, content)
}

fn text<'c>(content: &'c Content, key: &str) -> &'c str {
    content.metadata[key].to_string().unwrap()
}

fn messages() -> [Message; 3] {
    [Message::user("Hello, ü 123"), Message::assistant("yes"), Message::user("  two\n\n words ")]
}

#[test]
fn a_merged_model_of_every_family_comes_back_from_its_gguf_file() {
    for family in tiny::FAMILIES {
        let dir = tiny::folder(family);
        let base = model(dir.path());
        let lora = adapter(&base, &Target::ALL);
        let path = dir.path().join("merged.gguf");
        export(&base).merged(Some(&lora), GgufType::F32, &path).unwrap();
        let merged = open(&path).unwrap();
        let error = tiny::distance(&logits(&merged, None), &logits(&base, Some(&lora)));
        let change = tiny::distance(&logits(&merged, None), &logits(&base, None));
        assert!(error < 1e-4 && change > 1e-2, "{family}: {error} {change}");
        assert_eq!(
            merged.tokenizer.encode_prompt(&messages()).unwrap(),
            base.tokenizer.encode_prompt(&messages()).unwrap(),
            "{family}"
        );
        assert_eq!(merged.tokenizer.stop_tokens(), base.tokenizer.stop_tokens(), "{family}");
        assert_eq!(merged.tokenizer.chat_template(), Some(tiny::CHATML));
        let (_, content) = raw(&path);
        assert_eq!(text(&content, "general.type"), "model");
        assert_eq!(text(&content, "general.base_model.0.organization"), "org");
    }
}

#[test]
fn without_an_adapter_the_tensors_are_bit_for_bit_the_same() {
    for family in tiny::FAMILIES {
        let dir = tiny::folder(family);
        let base = model(dir.path());
        let path = dir.path().join("copy.gguf");
        let notices = export(&base).merged(None, GgufType::F32, &path).unwrap();
        assert!(notices.is_empty(), "{notices:?}");
        let copy = open(&path).unwrap();
        let pairs = base.decoder.weights.matrices().zip(copy.decoder.weights.matrices());
        for (index, (a, b)) in pairs.enumerate() {
            assert_eq!(tiny::apart(a, b), 0.0, "{family}: matrix {index}");
        }
        // Norms of a Gemma are stored with 1 added, which rounds them.
        let bound = if family.starts_with("gemma") { 1e-5 } else { 0.0 };
        let gap = tiny::distance(&logits(&copy, None), &logits(&base, None));
        assert!(gap <= bound, "{family}: {gap}");
    }
}

/// Base + alpha / rank * B A, as llama.cpp computes it from the files of base and adapter, is the merged file.
#[test]
fn an_adapter_alone_makes_of_the_base_what_the_merged_file_holds() {
    for family in tiny::FAMILIES {
        let dir = tiny::folder(family);
        let model = model(dir.path());
        // llama.cpp knows one alpha, ranks by tensor, and no square root.
        let patterned = LoraConfig {
            rank_pattern: [("o_proj".to_owned(), 4)].into(),
            alpha_pattern: [("layers\\.1\\..*".to_owned(), 7.0)].into(),
            rank_stabilized: true,
            ..LoraConfig::new(2, 3.0, &[Target::Q, Target::K, Target::V, Target::O])
        };
        let adapters = [
            adapter(&model, &Target::ALL),
            adapter(&model, &[Target::Q, Target::V, Target::Down]),
            shaped(&model, patterned),
        ];
        for (number, lora) in adapters.into_iter().enumerate() {
            let path = |name: &str| dir.path().join(format!("{name}-{number}.gguf"));
            let [base, merged, alone] = ["base", "merged", "alone"].map(path);
            export(&model).merged(None, GgufType::F32, &base).unwrap();
            export(&model).merged(Some(&lora), GgufType::F32, &merged).unwrap();
            export(&model).adapter(&lora, &alone).unwrap();
            let ((base, of_base), (merged, _), (factors, content)) =
                (raw(&base), raw(&merged), raw(&alone));
            assert_eq!(text(&content, "general.type"), "adapter");
            assert_eq!(text(&content, "adapter.type"), "lora");
            let architecture = "general.architecture";
            assert_eq!(text(&content, architecture), text(&of_base, architecture));
            let alpha = content.metadata["adapter.lora.alpha"].to_f32().unwrap();
            let mut adapted = 0;
            for (name, weight) in &base {
                let mut weight = weight.clone();
                if let Some(a) = factors.get(&format!("{name}.lora_a")) {
                    let b = &factors[&format!("{name}.lora_b")];
                    let scale = f64::from(alpha) / a.dims()[0] as f64;
                    weight = (weight + (b.matmul(a).unwrap() * scale).unwrap()).unwrap();
                    adapted += 1;
                }
                let error = tiny::distance(&weight, &merged[name]);
                assert!(error < 1e-6, "{family} {name}: {error}");
            }
            assert_eq!(factors.len(), 2 * adapted, "{family}");
        }
    }
}

/// A Llama wide enough for blocks of 256.
fn wide() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut config = tiny::config("llama");
    for (key, value) in [("hidden_size", 256), ("intermediate_size", 512)] {
        config[key] = json!(value);
    }
    tiny::write_json(&dir.path().join("config.json"), &config);
    tiny::write_tokenizer(dir.path());
    let mut seed = 1u32;
    let widened = |(name, tensor): (String, Tensor)| {
        let size = |size: usize| match size {
            tiny::HIDDEN => 256,
            tiny::INNER => 512,
            // k and v: two heads of 64.
            16 => 128,
            other => other,
        };
        let shape: Vec<usize> = tensor.dims().iter().map(|dim| size(*dim)).collect();
        let mut random = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) as f32 / (1 << 24) as f32 - 0.5
        };
        let is_norm = name.contains("norm");
        let values =
            (0..shape.iter().product()).map(|_| if is_norm { 1.0 } else { random() * 0.4 });
        let values: Vec<f32> = values.collect();
        (name, Tensor::from_vec(values, shape, &Device::Cpu).unwrap())
    };
    let tensors: BTreeMap<String, Tensor> =
        tiny::tensors("llama").into_iter().map(widened).collect();
    safetensors::serialize_to_file(tensors, None, &dir.path().join("model.safetensors")).unwrap();
    dir
}

/// Mean cross-entropy of a text.
fn loss(model: &Model) -> f32 {
    let tokens: Vec<u32> = (0..60).map(|i| (i * 37 + 11) % 250).collect();
    let batch = Packed::from_sequences(&[tokens[..59].to_vec()]);
    let hidden = model.decoder.forward(&batch, None, &[]).unwrap().hidden.detach();
    let logits = model.decoder.logits(&hidden).unwrap().to_dtype(DType::F32).unwrap();
    let targets = Tensor::new(&tokens[1..], &Device::Cpu).unwrap();
    candle_nn::loss::cross_entropy(&logits, &targets).unwrap().to_scalar().unwrap()
}

#[test]
fn a_rounded_model_has_nearly_the_same_loss_and_the_stated_formats() {
    let dir = wide();
    let model = model(dir.path());
    let exact = loss(&model);
    for (kind, inner, head, most) in [
        (GgufType::F16, GgmlDType::F16, GgmlDType::F16, 1e-3),
        (GgufType::Bf16, GgmlDType::BF16, GgmlDType::BF16, 1e-2),
        (GgufType::Q8_0, GgmlDType::Q8_0, GgmlDType::Q8_0, 2e-2),
        (GgufType::Q6K, GgmlDType::Q6K, GgmlDType::Q6K, 5e-2),
        (GgufType::Q5K, GgmlDType::Q5K, GgmlDType::Q6K, 1e-1),
        (GgufType::Q4K, GgmlDType::Q4K, GgmlDType::Q6K, 2e-1),
    ] {
        let path = dir.path().join(format!("{}.gguf", kind.name()));
        let notices = export(&model).merged(None, kind, &path).unwrap();
        assert!(notices.is_empty(), "{kind:?}: {notices:?}");
        let (_, content) = raw(&path);
        assert_eq!(content.tensor_infos["blk.1.ffn_down.weight"].ggml_dtype, inner);
        assert_eq!(content.tensor_infos["output.weight"].ggml_dtype, head, "{kind:?}");
        assert_eq!(content.tensor_infos["output_norm.weight"].ggml_dtype, GgmlDType::F32);
        let error = (loss(&open(&path).unwrap()) - exact).abs();
        assert!(error > 0.0 && error < most, "{kind:?}: {error} of {exact}");
    }
}

#[test]
fn lines_that_are_no_whole_blocks_are_written_in_another_format_and_told() {
    let dir = tiny::folder("llama");
    let path = dir.path().join("q4.gguf");
    let notices = export(&model(dir.path())).merged(None, GgufType::Q4K, &path).unwrap();
    let told = notices.iter().find(|line| line.contains("whole blocks of q4_k")).unwrap();
    assert!(told.contains("16 of 16 matrices") && told.contains("Q8_0"), "{told}");
    let (_, content) = raw(&path);
    // 48 values a line are one and a half blocks of 32.
    assert_eq!(content.tensor_infos["blk.0.ffn_down.weight"].ggml_dtype, GgmlDType::F16);
    assert_eq!(content.tensor_infos["blk.0.ffn_up.weight"].ggml_dtype, GgmlDType::Q8_0);
}

#[test]
fn experts_are_one_tensor_per_projection_and_their_router_stays_exact() {
    for family in ["mixtral", "qwen3_moe"] {
        let dir = tiny::folder(family);
        let base = model(dir.path());
        let path = dir.path().join("q8.gguf");
        let notices = export(&base).merged(None, GgufType::Q8_0, &path).unwrap();
        assert!(notices.is_empty(), "{notices:?}");
        let (tensors, content) = raw(&path);
        let (inner, hidden) = (tiny::EXPERT_INNER, tiny::HIDDEN);
        for (part, lines, columns) in
            [("gate", inner, hidden), ("up", inner, hidden), ("down", hidden, inner)]
        {
            let info = &content.tensor_infos[&format!("blk.1.ffn_{part}_exps.weight")];
            assert_eq!(info.shape.dims(), [tiny::EXPERTS, lines, columns], "{family} {part}");
            assert_eq!(info.ggml_dtype, GgmlDType::Q8_0);
        }
        let router = "blk.1.ffn_gate_inp.weight";
        assert_eq!(content.tensor_infos[router].ggml_dtype, GgmlDType::F32);
        assert!(!tensors.contains_key("blk.1.ffn_up.weight"));
        let number = |key: &str| {
            let architecture = text(&content, "general.architecture");
            content.metadata[&format!("{architecture}.{key}")].to_u32().unwrap() as usize
        };
        assert_eq!(number("expert_count"), tiny::EXPERTS);
        assert_eq!(number("expert_used_count"), tiny::EXPERTS_PER_TOKEN);
        let again = open(&path).unwrap();
        assert!(tiny::distance(&logits(&again, None), &logits(&base, None)) < 0.1, "{family}");
    }
}

#[test]
fn a_model_from_a_gguf_file_keeps_the_metadata_and_settings_of_that_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut metadata = metadata("llama");
    for (key, value) in [
        ("general.author", Value::String("somebody".into())),
        ("general.alignment", Value::U32(64)),
        ("general.file_type", Value::U32(0)),
        ("tokenizer.ggml.add_bos_token", Value::Bool(false)),
    ] {
        metadata.insert(key.to_owned(), value);
    }
    metadata.remove("general.alignment");
    let mut tensors = tensors("llama");
    let divisors = Tensor::new(&[1f32, 1.0, 2.5, 8.0], &Device::Cpu).unwrap();
    tensors.insert("rope_freqs.weight".to_owned(), divisors);
    let source = write(dir.path(), &metadata, &tensors);
    let model = open(&source).unwrap();
    let path = dir.path().join("again.gguf");
    let from_source = GgufExport { model: &model, source: Some(&source), base: None };
    from_source.merged(None, GgufType::F16, &path).unwrap();
    let (_, content) = raw(&path);
    assert_eq!(text(&content, "general.author"), "somebody");
    assert_eq!(content.metadata["general.file_type"].to_u32().unwrap(), 1);
    for (key, value) in &metadata {
        if key != "general.file_type" {
            assert_eq!(format!("{:?}", content.metadata[key]), format!("{value:?}"), "{key}");
        }
    }
    let again = open(&path).unwrap();
    assert_eq!(*again.config, *model.config);
    assert!(tiny::distance(&logits(&again, None), &logits(&model, None)) < 2e-2);
    // Another template takes the place of the file's.
    let template = dir.path().join("other.jinja");
    std::fs::write(&template, "{% for message in messages %}[{{ message.content }}]{% endfor %}")
        .unwrap();
    let options = LoadOptions { chat_template: Some(template), ..LoadOptions::default() };
    let model = load(&Source::Gguf(source.clone()), &options).unwrap();
    let path = dir.path().join("other.gguf");
    let from_source = GgufExport { model: &model, source: Some(&source), base: None };
    from_source.merged(None, GgufType::F16, &path).unwrap();
    assert!(text(&raw(&path).1, "tokenizer.chat_template").contains("[{{ message.content }}]"));
}

#[test]
fn nothing_is_replaced_and_nothing_half_written_stays() {
    let dir = tiny::folder("llama");
    let base = model(dir.path());
    let path = dir.path().join("there.gguf");
    std::fs::write(&path, "mine").unwrap();
    let before = std::fs::read_dir(dir.path()).unwrap().count();
    let lora = adapter(&base, &[Target::Q]);
    let other = wide();
    let of_other = adapter(&model(other.path()), &[Target::Q]);
    let new = dir.path().join("new.gguf");
    for (error, words) in [
        (export(&base).merged(None, GgufType::F32, &path).unwrap_err(), "exists already"),
        (export(&base).adapter(&lora, &path).unwrap_err(), "exists already"),
        (export(&base).merged(Some(&of_other), GgufType::F32, &new).unwrap_err(), "other shapes"),
        (export(&base).adapter(&of_other, &new).unwrap_err(), "other shapes"),
    ] {
        let message = error.to_string();
        assert!(message.contains(words) && !message.contains('\n'), "{message}");
    }
    assert_eq!(std::fs::read(&path).unwrap(), b"mine");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), before);
}

/// A tokenizer that llama.cpp would take apart otherwise is refused, with the way that is left.
#[test]
fn a_tokenizer_without_a_name_in_llama_cpp_is_refused() {
    for (part, words) in [
        (json!({ "pre_tokenizer": { "type": "Whitespace" } }), "neither byte-level"),
        (
            json!({ "pre_tokenizer": { "type": "Sequence", "pretokenizers": [
                { "type": "Digits", "individual_digits": false },
                { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true }] } }),
            "isn't known here",
        ),
        (json!({ "normalizer": { "type": "Lowercase" } }), "the normalizer Lowercase"),
    ] {
        let dir = tiny::folder("llama");
        let path = dir.path().join("tokenizer.json");
        let mut tokenizer: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        for (key, value) in part.as_object().unwrap() {
            tokenizer[key] = value.clone();
        }
        tiny::write_json(&path, &tokenizer);
        let out = dir.path().join("out.gguf");
        let error = export(&model(dir.path())).merged(None, GgufType::F32, &out).unwrap_err();
        let message = error.to_string();
        assert!(message.contains(words) && message.contains("--merged"), "{message}");
        assert!(!out.exists());
    }
}
