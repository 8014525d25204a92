//! BERT classifiers and embeddings, on tiny models whose numbers can be worked out.

use std::collections::HashMap;

use candle_core::Tensor;
use host_model::bert::{Classifier, Encoder};
use serde_json::Value;

use super::tiny_bert::{WIDTH, config, tensors, values, write};

fn normalised(row: &[f32]) -> Vec<f32> {
    let mean = row.iter().sum::<f32>() / row.len() as f32;
    let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / row.len() as f32;
    let bias = values(row.len(), 0.01);
    let scaled = row.iter().map(|x| (x - mean) / variance.sqrt());
    scaled.zip(bias).map(|(x, b)| x + b).collect()
}

/// What a model without blocks holds of these tokens, worked out by hand.
fn hidden(tokens: &[usize]) -> Vec<Vec<f32>> {
    let (word, position, kind) =
        (values(7 * WIDTH, 0.3), values(6 * WIDTH, 0.1), values(2 * WIDTH, 0.05));
    let row = |(at, token): (usize, &usize)| {
        let unit = |i: usize| word[token * WIDTH + i] + position[at * WIDTH + i] + kind[i];
        normalised(&(0..WIDTH).map(unit).collect::<Vec<_>>())
    };
    tokens.iter().enumerate().map(row).collect()
}

fn linear(weight: &[f32], bias: &[f32], input: &[f32]) -> Vec<f32> {
    let rows = weight.chunks(input.len()).zip(bias);
    rows.map(|(row, bias)| row.iter().zip(input).map(|(w, x)| w * x).sum::<f32>() + bias).collect()
}

fn logits(tokens: &[usize]) -> Vec<f32> {
    let pooled = linear(&values(WIDTH * WIDTH, 0.2), &values(WIDTH, 0.1), &hidden(tokens)[0]);
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
    let want: Vec<f32> = logits(&[2, 4, 6, 3]).iter().map(|x| 1.0 / (1.0 + (-x).exp())).collect();
    close(&own.probabilities("one three").unwrap()[0], &want);
}

#[test]
fn an_embedding_is_the_mean_of_all_tokens_and_of_length_one() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &config(), &tensors());
    let encoder = Encoder::load(folder.path()).unwrap();
    let rows = hidden(&[2, 5, 3]);
    let mean: Vec<f32> =
        (0..WIDTH).map(|i| rows.iter().map(|row| row[i]).sum::<f32>() / 3.0).collect();
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

    std::fs::write(folder.path().join("sentence_bert_config.json"), r#"{"max_seq_length": 3}"#)
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
        (message(&|config, _| config["model_type"] = "roberta".into()), "type roberta"),
        (message(&|config, _| config["hidden_act"] = "other".into()), "config.json"),
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

/// The numbers are from an implementation of its own, in Python without libraries.
#[test]
#[ignore = "needs HOST_TEST_MINILM, the folder of all-MiniLM-L6-v2"]
fn minilm_embeds_as_another_implementation_does() {
    let folder = std::env::var("HOST_TEST_MINILM").expect("HOST_TEST_MINILM names the folder");
    let encoder = Encoder::load(folder.as_ref()).unwrap();
    let windows = encoder.embed("How do I cook bread?").unwrap();
    assert_eq!((windows.len(), windows[0].len()), (1, 384));
    let want = [0.01995, 0.02683, -0.03104, -0.01105, -0.1213, -0.01315];
    close(&windows[0][..6], &want);
    close(&windows[0][381..], &[-0.01751, -0.04983, -0.11496]);
}
