//! Models in GGUF files.

use std::path::{Path, PathBuf};

use candle_core::quantized::{GgmlDType, gguf_file};
use candle_core::{Device, Tensor};
use gguf_file::Value;
use host_model::{Error, LoadOptions, Message, Model, RopeScaling, Source, load};

use crate::tiny;
use crate::tiny_gguf::{metadata, tensors, write, write_as};

pub fn open(path: &Path) -> Result<Model, Error> {
    load(&Source::Gguf(path.to_owned()), &LoadOptions::default())
}

#[test]
fn a_gguf_file_is_the_same_model_as_its_folder() {
    // A Mistral is a Llama there, a Granite 4 a Granite.
    let others = ["mistral", "granitemoehybrid"];
    let families = tiny::FAMILIES.into_iter().filter(|it| !others.contains(it));
    for family in families {
        let dir = tiny::folder(family);
        let folder =
            load(&Source::Directory(dir.path().to_owned()), &LoadOptions::default()).unwrap();
        let file = open(&write(dir.path(), &metadata(family), &tensors(family))).unwrap();
        assert_eq!(*folder.config, *file.config, "{family}");
        assert_eq!(tiny::apart(&folder.decoder.weights.embed, &file.decoder.weights.embed), 0.0);
        for (a, b) in folder.decoder.weights.layers.iter().zip(&file.decoder.weights.layers) {
            for (a, b) in tiny::linears(a).into_iter().zip(tiny::linears(b)) {
                assert_eq!(tiny::apart(&a.weight, &b.weight), 0.0, "{family}");
                assert_eq!(a.bias.is_some(), b.bias.is_some());
            }
            for (a, b) in a.norms().into_iter().zip(b.norms()) {
                assert_eq!(a.is_some(), b.is_some(), "{family}");
                if let (Some(a), Some(b)) = (a, b) {
                    // A Gemma's is stored with 1 added.
                    assert!(tiny::distance(a, b) < 1e-7, "{family}");
                }
            }
        }
        let messages = [Message::user("Hello, ü 123"), Message::assistant("yes")];
        assert_eq!(
            folder.tokenizer.encode_chat(&messages).unwrap(),
            file.tokenizer.encode_chat(&messages).unwrap()
        );
        assert_eq!(file.tokenizer.stop_tokens(), [tiny::IM_END]);
    }
}

#[test]
fn the_pattern_of_windows_is_the_files_or_the_familys() {
    let dir = tempfile::tempdir().unwrap();
    let flags = |flags: [bool; 2]| Value::Array(flags.map(Value::Bool).to_vec());
    let both = [Some(6); 2];
    for (pattern, windows) in [
        (None, both),
        (Some(Value::U32(0)), both),
        (Some(Value::U32(1)), [None; 2]),
        (Some(Value::U32(2)), [Some(6), None]),
        (Some(flags([false, true])), [None, Some(6)]),
    ] {
        let mut metadata = metadata("gemma3_text");
        let key = "gemma3.attention.sliding_window_pattern".to_owned();
        metadata.extend(pattern.map(|pattern| (key, pattern)));
        let model = open(&write(dir.path(), &metadata, &tensors("gemma3_text"))).unwrap();
        assert_eq!([0, 1].map(|layer| model.config.window(layer)), windows);
    }
    let mut metadata = metadata("gemma3_text");
    let short = Value::Array(vec![Value::Bool(true)]);
    metadata.insert("gemma3.attention.sliding_window_pattern".to_owned(), short);
    let path = write(dir.path(), &metadata, &tensors("gemma3_text"));
    refused(&path, "sliding_window_pattern` is neither a whole number nor a flag for every layer");
}

#[test]
fn llama_3_frequencies_come_from_their_tensor() {
    let dir = tempfile::tempdir().unwrap();
    let mut tensors = tensors("llama");
    tensors.insert(
        "rope_freqs.weight".to_owned(),
        Tensor::new(&[1f32, 1.0, 2.5, 8.0], &Device::Cpu).unwrap(),
    );
    let model = open(&write(dir.path(), &metadata("llama"), &tensors)).unwrap();
    assert_eq!(
        model.config.rope.scaling,
        RopeScaling::Factors { factors: vec![1.0, 1.0, 2.5, 8.0] }
    );
}

#[test]
fn quantized_blocks_become_numbers() {
    let dir = tempfile::tempdir().unwrap();
    for (kind, worst) in [(GgmlDType::Q8_0, 2e-3), (GgmlDType::Q4_1, 3e-2), (GgmlDType::F16, 2e-4)]
    {
        let path = write_as(dir.path(), &metadata("llama"), &tensors("llama"), kind);
        let model = open(&path).unwrap();
        let exact = &tiny::tensors("llama")["model.layers.1.self_attn.q_proj.weight"];
        let error = tiny::apart(&exact.clone().into(), &model.decoder.weights.layers[1].q.weight);
        assert!(error > 0.0 && error < worst, "{kind:?}: {error}");
    }
}

/// One line that names the file and says `words`.
pub fn refused(path: &Path, words: &str) {
    let message = open(path).err().expect("loaded").to_string();
    assert!(message.contains("tiny.gguf") && message.contains(words), "no {words:?} in: {message}");
    assert!(!message.contains('\n'), "{message}");
}

#[test]
fn broken_files_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), &metadata("llama"), &tensors("llama"));
    let bytes = std::fs::read(&path).unwrap();
    for keep in [0, 3, 40, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..keep]).unwrap();
        refused(&path, "fetch the file again");
    }
    std::fs::write(&path, b"GGML and something else").unwrap();
    refused(&path, "isn't a complete GGUF file");
}

#[test]
fn files_that_can_not_be_run_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let with = |key: &str, value: Value| {
        let mut metadata = metadata("llama");
        metadata.insert(key.to_owned(), value);
        write(dir.path(), &metadata, &tensors("llama"))
    };
    let text = |text: &str| Value::String(text.to_owned());
    refused(&with("general.architecture", text("gpt2")), "llama, mistral, qwen2, qwen3, phi3");
    refused(
        &with("general.architecture", text("gpt2")),
        "the nearest is llama, but it has layer norms",
    );
    refused(&with("general.architecture", text("qwen2moe")), "shared expert");
    refused(&with("llama.expert_count", Value::U32(8)), "expert_used_count");
    refused(&with("llama.block_count", Value::U64(1 << 45)), "outside 1 to 268435456");
    refused(&with("split.count", Value::U16(2)), "one of 2 parts");
    refused(&with("llama.block_count", Value::U32(3)), "model.layers.2.");
    refused(
        &with("tokenizer.ggml.pre", text("deepseek-llm")),
        "known: smollm, gpt-2, llama-bpe, qwen2",
    );
    refused(&with("tokenizer.ggml.model", text("llama")), "tokenizer.json");
}

#[test]
fn an_unknown_tokenizer_is_read_from_the_file_beside_if_it_is_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let mut metadata = metadata("llama");
    metadata.insert("tokenizer.ggml.pre".to_owned(), Value::String("unheard-of".to_owned()));
    let path = write(dir.path(), &metadata, &tensors("llama"));
    tiny::tokenizer().save(dir.path().join("tokenizer.json"), false).unwrap();
    assert_eq!(open(&path).unwrap().tokenizer.encode("ab").unwrap().len(), 2);
    let Some(Value::Array(tokens)) = metadata.get_mut("tokenizer.ggml.tokens") else { panic!() };
    tokens.swap(3, 4);
    write(dir.path(), &metadata, &tensors("llama"));
    let message = open(&path).err().unwrap().to_string();
    assert!(message.contains("tokenizer.json") && message.contains("token 3"), "{message}");
}

/// Loads, and says one line that holds all of `words`.
pub fn told(path: &Path, words: &[&str]) -> Model {
    let model = open(path).unwrap();
    let says = |notice: &&String| words.iter().all(|word| notice.contains(word));
    assert_eq!(model.notices.iter().filter(says).count(), 1, "{words:?}: {:#?}", model.notices);
    model
}

/// A Llama with more metadata.
pub fn with(dir: &Path, more: &[(&str, Value)]) -> PathBuf {
    let mut metadata = metadata("llama");
    metadata.extend(more.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
    write(dir, &metadata, &tensors("llama"))
}

pub fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

#[test]
fn rope_scaling_is_read_as_llama_cpp_reads_it() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let scaling = |model: Model| model.config.rope.scaling.clone();
    let factor = ("llama.rope.scaling.factor", Value::F32(4.0));
    let kind = |name: &str| ("llama.rope.scaling.type", text(name));
    let linear = RopeScaling::Linear { factor: 4.0 };
    let model = told(
        &with(dir, std::slice::from_ref(&factor)),
        &["rope.scaling.factor", "linear", "llama.cpp"],
    );
    assert_eq!(scaling(model), linear);
    let old = ("llama.rope.scale_linear", Value::F32(4.0));
    assert_eq!(scaling(told(&with(dir, &[old]), &["scale_linear", "linear"])), linear);
    let stated = open(&with(dir, &[kind("linear"), factor.clone()])).unwrap();
    assert!(stated.notices.is_empty());
    assert_eq!(scaling(stated), linear);
    let none = told(&with(dir, &[kind("none"), factor.clone()]), &["isn't read", "none"]);
    assert_eq!(scaling(none), RopeScaling::None);
    let original = ("llama.rope.scaling.original_context_length", Value::U32(32));
    let attention = ("llama.rope.scaling.attn_factor", Value::F32(0.5));
    let yarn =
        open(&with(dir, &[kind("yarn"), factor.clone(), original, attention.clone()])).unwrap();
    let RopeScaling::Yarn { factor: 4.0, original_max_position: 32, attention_factor, .. } =
        scaling(yarn)
    else {
        panic!()
    };
    // 1 + 0.1 ln 4, times the factor of the file.
    assert!((attention_factor - 0.5 * 1.138629436111989).abs() < 1e-7);
    let scaled = open(&with(dir, &[kind("linear"), factor.clone(), attention])).unwrap();
    let RopeScaling::LongRope { short_factor, attention_factor: 0.5, .. } = scaling(scaled) else {
        panic!()
    };
    assert_eq!(short_factor, vec![4.0; 4]);
    let beta = ("llama.rope.scaling.yarn_beta_fast", Value::F32(16.0));
    told(&with(dir, &[kind("yarn"), factor.clone(), beta]), &["yarn_beta_fast", "isn't read"]);
    refused(&with(dir, &[kind("yarn")]), "rope.scaling.factor");
    refused(&with(dir, &[kind("ntk"), factor.clone()]), "none, linear, yarn and longrope");
    refused(&with(dir, &[kind("longrope"), factor.clone()]), "rope_factors_short.weight");
    refused(&with(dir, &[("llama.rope.scaling.factor", Value::F32(-1.0))]), "rope.scaling.factor");

    // Divisors from a tensor come on top of the factor.
    let mut tensors = tensors("llama");
    let freqs = Tensor::new(&[1f32, 1.0, 2.5, 8.0], &Device::Cpu).unwrap();
    tensors.insert("rope_freqs.weight".to_owned(), freqs);
    let mut metadata = metadata("llama");
    metadata.insert(factor.0.to_owned(), factor.1);
    let model = open(&write(dir, &metadata, &tensors)).unwrap();
    assert_eq!(scaling(model), RopeScaling::Factors { factors: vec![4.0, 4.0, 10.0, 32.0] });
}

#[test]
fn what_the_metadata_and_the_files_beside_say_twice_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = with(dir.path(), &[]);
    assert!(open(&path).unwrap().notices.is_empty());
    told(
        &with(dir.path(), &[("llama.vocab_size", Value::U32(300))]),
        &["vocab_size", "264 tokens"],
    );
    for name in ["tokenizer.json", "config.json", "chat_template.jinja"] {
        std::fs::write(dir.path().join(name), "{}").unwrap();
    }
    let path = with(dir.path(), &[]);
    told(&path, &["isn't read: tokenizer.json"]);
    told(&path, &["isn't read: config.json, chat_template.jinja"]);
}

/// llama.cpp puts the first token before a prompt whose template doesn't write it.
#[test]
fn the_first_token_comes_before_the_template_if_the_file_asks_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let bos = ("tokenizer.ggml.bos_token_id", Value::U32(256));
    let asked = |flag| ("tokenizer.ggml.add_bos_token", Value::Bool(flag));
    let first = |model: &Model| model.tokenizer.encode_prompt(&[Message::user("a")]).unwrap()[0];
    let plain = open(&with(dir.path(), &[bos.clone(), asked(false)])).unwrap();
    assert!(plain.notices.is_empty() && first(&plain) == 257);
    let begun =
        told(&with(dir.path(), &[bos.clone(), asked(true)]), &["add_bos_token", "<|endoftext|>"]);
    assert_eq!(first(&begun), 256);
    let own = format!("{{{{ bos_token }}}}{}", tiny::CHATML);
    let model =
        open(&with(dir.path(), &[bos, asked(true), ("tokenizer.chat_template", text(&own))]))
            .unwrap();
    assert!(model.notices.is_empty() && first(&model) == 256);
    told(
        &with(dir.path(), &[("tokenizer.ggml.add_eos_token", Value::Bool(true))]),
        &["add_eos_token"],
    );
}

/// The same for a text that no template writes, as `/v1/completions` of a server takes it.
#[test]
fn the_first_token_comes_before_a_bare_text_if_the_file_asks_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let bos = ("tokenizer.ggml.bos_token_id", Value::U32(256));
    let asked = |flag| ("tokenizer.ggml.add_bos_token", Value::Bool(flag));
    let ids = |more: &[(&'static str, Value)], text: &str| {
        let tokenizer = open(&with(dir.path(), more)).unwrap().tokenizer;
        // What a template writes has it already.
        assert!(!tokenizer.encode(text).unwrap().contains(&256));
        tokenizer.encode_text(text).unwrap()
    };
    let bare = ids(&[bos.clone(), asked(false)], "ab");
    assert!(!bare.is_empty() && !bare.contains(&256));
    assert_eq!(ids(&[bos.clone(), asked(true)], "ab"), [&[256], bare.as_slice()].concat());
    // This pre-tokenizer has none unless it is asked for.
    assert_eq!(ids(&[bos], "ab"), bare);
}

/// A Llama with biases, which llama.cpp takes as they are.
#[test]
fn biases_that_are_there_are_taken() {
    let dir = tempfile::tempdir().unwrap();
    let mut tensors = tensors("llama");
    for layer in 0..tiny::LAYERS {
        for (name, size) in [("attn_v", 16), ("attn_q", 32), ("attn_k", 16)] {
            let bias = Tensor::full(0.25f32, size, &Device::Cpu).unwrap();
            tensors.insert(format!("blk.{layer}.{name}.bias"), bias);
        }
    }
    let model = open(&write(dir.path(), &metadata("llama"), &tensors)).unwrap();
    assert!(model.config.qkv_bias && !model.config.o_bias);
    let merged = dir.path().join("merged");
    let error = host_model::export::merge(&model, None, &merged, candle_core::DType::F32);
    assert!(error.unwrap_err().to_string().contains("biases on some projections"));
    tensors.remove("blk.1.attn_k.bias");
    refused(&write(dir.path(), &metadata("llama"), &tensors), "k_proj.bias is missing");
}

/// The file with the type of the tensors `names` written as `kind`.
fn retyped(path: &Path, names: &[&str], kind: u32) {
    let mut bytes = std::fs::read(path).unwrap();
    for name in names {
        let at = bytes.windows(name.len()).position(|part| part == name.as_bytes()).unwrap();
        // Behind the name: the number of dimensions, the dimensions, the type.
        let dimensions = at + name.len();
        let count =
            u32::from_le_bytes(bytes[dimensions..dimensions + 4].try_into().unwrap()) as usize;
        let at = dimensions + 4 + 8 * count;
        bytes[at..at + 4].copy_from_slice(&kind.to_le_bytes());
    }
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn types_that_are_not_read_are_named_and_a_whole_file_is_not_called_broken() {
    let dir = tempfile::tempdir().unwrap();
    let names = ["blk.0.ffn_down.weight", "blk.1.ffn_down.weight"];
    for (kind, called) in
        [(20, "IQ4_NL"), (39, "MXFP4"), (23, "IQ4_XS"), (24, "I8"), (77, "type 77")]
    {
        let path = with(dir.path(), &[]);
        retyped(&path, &names, kind);
        retyped(&path, &["token_embd.weight"], 34);
        let message = open(&path).err().unwrap().to_string();
        for word in [
            called,
            "(blk.0.ffn_down.weight and 1 more)",
            "TQ1_0 (token_embd.weight)",
            "3 of its 21",
            "llama-quantize",
            "Q8_0",
        ] {
            assert!(message.contains(word), "no {word:?} in {message}");
        }
        assert!(!message.contains("fetch") && !message.contains('\n'), "{message}");
    }
    // A header that ends too early is broken whatever its types.
    let path = with(dir.path(), &[]);
    retyped(&path, &names, 20);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..200]).unwrap();
    refused(&path, "isn't a complete GGUF file");
}
