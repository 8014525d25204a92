//! GGUF files of the tiny models, written by candle's writer.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::quantized::{GgmlDType, QTensor, gguf_file};
use candle_core::{Device, Tensor};
use gguf_file::Value;
use host_model::{Error, LoadOptions, Message, Model, RopeScaling, Source, load};

use crate::tiny;

type Metadata = BTreeMap<String, Value>;
type Tensors = BTreeMap<String, Tensor>;

fn open(path: &Path) -> Result<Model, Error> {
    load(&Source::Gguf(path.to_owned()), &LoadOptions::default())
}

fn metadata(family: &str) -> Metadata {
    let mut metadata = Metadata::new();
    let mut set = |key: &str, value: Value| drop(metadata.insert(key.to_owned(), value));
    set("general.architecture", Value::String(family.to_owned()));
    for (key, value) in [
        ("block_count", tiny::LAYERS),
        ("context_length", 128),
        ("embedding_length", tiny::HIDDEN),
        ("feed_forward_length", tiny::INNER),
        ("attention.head_count", tiny::HEADS),
        ("attention.head_count_kv", tiny::KV_HEADS),
    ] {
        set(&format!("{family}.{key}"), Value::U32(value as u32));
    }
    set(&format!("{family}.attention.layer_norm_rms_epsilon"), Value::F32(1e-5));
    let mut tokens = tiny::alphabet();
    tokens.extend(tiny::SPECIAL.map(str::to_owned));
    // Rows that no token uses have a name, too.
    tokens.extend((tokens.len()..tiny::VOCAB).map(|i| format!("<unused{i}>")));
    let kind = |i: usize| Value::I32(if (256..259).contains(&i) { 3 } else { 1 });
    set("tokenizer.ggml.token_type", Value::Array((0..tokens.len()).map(kind).collect()));
    set("tokenizer.ggml.tokens", Value::Array(tokens.into_iter().map(Value::String).collect()));
    // No two bytes are ever merged.
    set("tokenizer.ggml.merges", Value::Array(vec![]));
    set("tokenizer.ggml.model", Value::String("gpt2".to_owned()));
    set("tokenizer.ggml.pre", Value::String("gpt-2".to_owned()));
    set("tokenizer.ggml.eos_token_id", Value::U32(tiny::IM_END));
    set("tokenizer.chat_template", Value::String(tiny::CHATML.to_owned()));
    metadata
}

/// The tensors as a converter writes them: other names, and q and k of a Llama interleaved.
fn tensors(family: &str) -> Tensors {
    let rename = [
        ("model.embed_tokens", "token_embd"),
        ("model.norm", "output_norm"),
        ("lm_head", "output"),
        ("model.layers.", "blk."),
        ("input_layernorm", "attn_norm"),
        ("post_attention_layernorm", "ffn_norm"),
        ("self_attn.o_proj", "attn_output"),
        ("self_attn.qkv_proj", "attn_qkv"),
        ("self_attn.q_", "attn_q_"),
        ("self_attn.k_", "attn_k_"),
        ("self_attn.v_proj", "attn_v"),
        ("attn_q_proj", "attn_q"),
        ("attn_k_proj", "attn_k"),
        ("mlp.gate_up_proj", "ffn_up"),
        ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
    ];
    let convert = |(name, tensor): (String, Tensor)| {
        let name = rename.iter().fold(name, |name, (from, to)| name.replace(from, to));
        let heads = match (family, name.ends_with("attn_q.weight"), name.ends_with("attn_k.weight"))
        {
            ("llama", true, _) => tiny::HEADS,
            ("llama", _, true) => tiny::KV_HEADS,
            _ => return (name, tensor),
        };
        let interleaved = tensor
            .reshape((heads, 2, tiny::HEAD_DIM / 2, tiny::HIDDEN))
            .unwrap()
            .transpose(1, 2)
            .unwrap();
        (name, interleaved.contiguous().unwrap().reshape(tensor.shape()).unwrap())
    };
    tiny::tensors(family).into_iter().map(convert).collect()
}

fn write(dir: &Path, metadata: &Metadata, tensors: &Tensors) -> PathBuf {
    write_as(dir, metadata, tensors, GgmlDType::F32)
}

/// As `kind`, but for vectors and for rows that aren't whole blocks.
fn write_as(dir: &Path, metadata: &Metadata, tensors: &Tensors, kind: GgmlDType) -> PathBuf {
    let path = dir.join("tiny.gguf");
    let quantize = |t: &Tensor| match t.dims() {
        [_, columns] if columns.is_multiple_of(32) => QTensor::quantize(t, kind).unwrap(),
        _ => QTensor::quantize(t, GgmlDType::F32).unwrap(),
    };
    let quantized: Vec<(&String, QTensor)> =
        tensors.iter().map(|(name, t)| (name, quantize(t))).collect();
    let tensors: Vec<(&str, &QTensor)> =
        quantized.iter().map(|(name, t)| (name.as_str(), t)).collect();
    let metadata: Vec<(&str, &Value)> =
        metadata.iter().map(|(key, value)| (key.as_str(), value)).collect();
    let mut file = std::fs::File::create(&path).unwrap();
    gguf_file::write(&mut file, &metadata, &tensors).unwrap();
    path
}

#[test]
fn a_gguf_file_is_the_same_model_as_its_folder() {
    for family in ["llama", "qwen2", "qwen3", "phi3"] {
        let dir = tiny::folder(family);
        let folder =
            load(&Source::Directory(dir.path().to_owned()), &LoadOptions::default()).unwrap();
        let file = open(&write(dir.path(), &metadata(family), &tensors(family))).unwrap();
        assert_eq!(*folder.config, *file.config, "{family}");
        assert_eq!(tiny::distance(&folder.decoder.weights.embed, &file.decoder.weights.embed), 0.0);
        for (a, b) in folder.decoder.weights.layers.iter().zip(&file.decoder.weights.layers) {
            for (a, b) in
                [(&a.q, &b.q), (&a.k, &b.k), (&a.v, &b.v), (&a.up, &b.up), (&a.down, &b.down)]
            {
                assert_eq!(tiny::distance(&a.weight, &b.weight), 0.0, "{family}");
                assert_eq!(a.bias.is_some(), b.bias.is_some());
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
        let error = tiny::distance(exact, &model.decoder.weights.layers[1].q.weight);
        assert!(error > 0.0 && error < worst, "{kind:?}: {error}");
    }
}

/// One line that names the file and says `words`.
fn refused(path: &Path, words: &str) {
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
    refused(&with("general.architecture", text("gemma")), "llama, mistral, qwen2, qwen3, phi3");
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
