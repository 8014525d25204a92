//! BERT classifiers and embeddings, on tiny models whose numbers can be worked out.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use host_model::bert::{Classifier, Encoder};
use serde_json::{Value, json};

const WIDTH: usize = 4;

fn config() -> Value {
    json!({
        "model_type": "bert", "vocab_size": 7, "hidden_size": WIDTH, "num_hidden_layers": 0,
        "num_attention_heads": 2, "intermediate_size": 8, "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1, "max_position_embeddings": 6, "type_vocab_size": 2,
        "initializer_range": 0.02, "layer_norm_eps": 1e-12, "pad_token_id": 0,
        "id2label": {"0": "fine", "1": "rude", "2": "harm"},
    })
}

/// Words that are numbers; every other one is [UNK].
fn tokenizer() -> Value {
    let words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "one", "two", "three"];
    let vocabulary: HashMap<&str, usize> = words
        .iter()
        .enumerate()
        .map(|(id, word)| (*word, id))
        .collect();
    let special = |id: usize| json!({"id": id, "content": words[id], "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true});
    let piece = |name: &str| json!({"SpecialToken": {"id": name, "type_id": 0}});
    let named = |name: &str, id: usize| json!({"id": name, "ids": [id], "tokens": [name]});
    json!({
        "version": "1.0",
        "added_tokens": [special(0), special(1), special(2), special(3)],
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [piece("[CLS]"), {"Sequence": {"id": "A", "type_id": 0}}, piece("[SEP]")],
            "pair": [piece("[CLS]"), {"Sequence": {"id": "A", "type_id": 0}}, piece("[SEP]"), {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"[CLS]": named("[CLS]", 2), "[SEP]": named("[SEP]", 3)},
        },
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab": vocabulary},
    })
}

fn values(count: usize, factor: f32) -> Vec<f32> {
    (0..count)
        .map(|at| ((at * 7 % 11) as f32 - 5.0) * factor)
        .collect()
}

fn tensors() -> HashMap<String, Tensor> {
    let tensor = |shape: &[usize], factor: f32| {
        Tensor::from_vec(values(shape.iter().product(), factor), shape, &Device::Cpu).unwrap()
    };
    let one = |shape: &[usize]| Tensor::ones(shape, candle_core::DType::F32, &Device::Cpu).unwrap();
    [
        (
            "bert.embeddings.word_embeddings.weight",
            tensor(&[7, WIDTH], 0.3),
        ),
        (
            "bert.embeddings.position_embeddings.weight",
            tensor(&[6, WIDTH], 0.1),
        ),
        (
            "bert.embeddings.token_type_embeddings.weight",
            tensor(&[2, WIDTH], 0.05),
        ),
        ("bert.embeddings.LayerNorm.weight", one(&[WIDTH])),
        ("bert.embeddings.LayerNorm.bias", tensor(&[WIDTH], 0.01)),
        ("bert.pooler.dense.weight", tensor(&[WIDTH, WIDTH], 0.2)),
        ("bert.pooler.dense.bias", tensor(&[WIDTH], 0.1)),
        ("classifier.weight", tensor(&[3, WIDTH], 0.4)),
        ("classifier.bias", tensor(&[3], 0.1)),
    ]
    .map(|(name, tensor)| (name.to_owned(), tensor))
    .into()
}

fn write(folder: &Path, config: &Value, tensors: &HashMap<String, Tensor>) {
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    std::fs::write(folder.join("tokenizer.json"), tokenizer().to_string()).unwrap();
    candle_core::safetensors::save(tensors, folder.join("model.safetensors")).unwrap();
}

fn normalised(row: &[f32]) -> Vec<f32> {
    let mean = row.iter().sum::<f32>() / row.len() as f32;
    let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / row.len() as f32;
    let bias = values(row.len(), 0.01);
    let scaled = row.iter().map(|x| (x - mean) / variance.sqrt());
    scaled.zip(bias).map(|(x, b)| x + b).collect()
}

/// What a model without blocks holds of these tokens, worked out by hand.
fn hidden(tokens: &[usize]) -> Vec<Vec<f32>> {
    let (word, position, kind) = (
        values(7 * WIDTH, 0.3),
        values(6 * WIDTH, 0.1),
        values(2 * WIDTH, 0.05),
    );
    let row = |(at, token): (usize, &usize)| {
        let unit = |i: usize| word[token * WIDTH + i] + position[at * WIDTH + i] + kind[i];
        normalised(&(0..WIDTH).map(unit).collect::<Vec<_>>())
    };
    tokens.iter().enumerate().map(row).collect()
}

fn linear(weight: &[f32], bias: &[f32], input: &[f32]) -> Vec<f32> {
    let rows = weight.chunks(input.len()).zip(bias);
    rows.map(|(row, bias)| row.iter().zip(input).map(|(w, x)| w * x).sum::<f32>() + bias)
        .collect()
}

fn logits(tokens: &[usize]) -> Vec<f32> {
    let pooled = linear(
        &values(WIDTH * WIDTH, 0.2),
        &values(WIDTH, 0.1),
        &hidden(tokens)[0],
    );
    let pooled: Vec<f32> = pooled.iter().map(|x| x.tanh()).collect();
    linear(&values(3 * WIDTH, 0.4), &values(3, 0.1), &pooled)
}

#[track_caller]
fn close(got: &[f32], want: &[f32]) {
    assert_eq!(got.len(), want.len());
    for (g, w) in got.iter().zip(want) {
        assert!((g - w).abs() < 1e-5, "{got:?} is not {want:?}");
    }
}

#[test]
fn a_classifier_gives_the_probabilities_that_are_worked_out_by_hand() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &config(), &tensors());
    let classifier = Classifier::load(folder.path()).unwrap();
    assert_eq!(classifier.labels(), ["fine", "rude", "harm"]);
    let exponents: Vec<f32> = logits(&[2, 4, 6, 3]).iter().map(|x| x.exp()).collect();
    let sum: f32 = exponents.iter().sum();
    let want: Vec<f32> = exponents.iter().map(|x| x / sum).collect();
    let got = classifier.probabilities("one three").unwrap();
    assert_eq!(got.len(), 1);
    close(&got[0], &want);

    let mut several = config();
    several["problem_type"] = "multi_label_classification".into();
    write(folder.path(), &several, &tensors());
    let own = Classifier::load(folder.path()).unwrap();
    assert!(own.is_independent() && !classifier.is_independent());
    assert_ne!(own.digest(), classifier.digest());
    let want: Vec<f32> = logits(&[2, 4, 6, 3])
        .iter()
        .map(|x| 1.0 / (1.0 + (-x).exp()))
        .collect();
    close(&own.probabilities("one three").unwrap()[0], &want);
}

#[test]
fn an_embedding_is_the_mean_of_all_tokens_and_of_length_one() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &config(), &tensors());
    let encoder = Encoder::load(folder.path()).unwrap();
    let rows = hidden(&[2, 5, 3]);
    let mean: Vec<f32> = (0..WIDTH)
        .map(|i| rows.iter().map(|row| row[i]).sum::<f32>() / 3.0)
        .collect();
    let length = mean.iter().map(|x| x * x).sum::<f32>().sqrt();
    let want: Vec<f32> = mean.iter().map(|x| x / length).collect();
    close(&encoder.embed("two").unwrap()[0], &want);
}

#[test]
fn a_long_text_is_read_in_windows_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &config(), &tensors());
    let encoder = Encoder::load(folder.path()).unwrap();
    // Six positions: four words and two special tokens.
    let whole = encoder.embed("one one one one two three").unwrap();
    assert_eq!(whole.len(), 2);
    assert_eq!(whole[0], encoder.embed("one one one one").unwrap()[0]);
    assert_eq!(whole[1], encoder.embed("two three").unwrap()[0]);

    std::fs::write(
        folder.path().join("sentence_bert_config.json"),
        r#"{"max_seq_length": 3}"#,
    )
    .unwrap();
    let shorter = Encoder::load(folder.path()).unwrap();
    assert_eq!(shorter.embed("one two three").unwrap().len(), 3);
}

#[test]
fn what_is_no_classifier_is_refused_with_the_file_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let message = |change: &dyn Fn(&mut Value, &mut HashMap<String, Tensor>)| {
        let (mut config, mut tensors) = (config(), tensors());
        change(&mut config, &mut tensors);
        write(folder.path(), &config, &tensors);
        Classifier::load(folder.path()).err().unwrap().to_string()
    };
    for (text, says) in [
        (
            message(&|config, _| config["model_type"] = "roberta".into()),
            "type roberta",
        ),
        (
            message(&|config, _| config["hidden_act"] = "other".into()),
            "config.json",
        ),
        (
            message(&|config, _| drop(config.as_object_mut().unwrap().remove("id2label"))),
            "id2label",
        ),
        (
            message(&|_, tensors| drop(tensors.remove("classifier.weight"))),
            "no classification head",
        ),
    ] {
        assert!(text.contains(says), "{text}");
    }
    std::fs::remove_file(folder.path().join("tokenizer.json")).unwrap();
    let text = Encoder::load(folder.path()).err().unwrap().to_string();
    assert!(text.contains("tokenizer.json"), "{text}");
}
