//! Files beside tokenizer.json: which counts, and what they add.

use std::path::Path;

use serde_json::{Value, json};

use crate::agreement::{open, told};
use crate::tiny;

fn write(dir: &Path, file: &str, value: Value) {
    tiny::write_json(&dir.join(file), &value);
}

#[test]
fn files_of_the_tokenizer_are_compared() {
    let dir = tiny::folder("llama");
    let path = dir.path();
    write(path, "generation_config.json", json!({ "eos_token_id": [5, 6] }));
    let model = open(path).unwrap();
    told(&model, &["generation_config.json", "[5, 6] and counts", "[258]"]);
    told(&model, &["tokenizer_config.json", "`eos_token`", "<|im_end|>"]);
    assert_eq!(model.tokenizer.stop_tokens(), [5, 6, tiny::IM_END]);
    write(path, "generation_config.json", json!({ "eos_token_id": [5, tiny::IM_END] }));
    assert!(open(path).unwrap().notices.is_empty());

    let mut config =
        json!({ "eos_token": "<|im_end|>", "chat_template": tiny::CHATML, "model_max_length": 64 });
    write(path, "tokenizer_config.json", config.clone());
    told(&open(path).unwrap(), &["model_max_length", "64", "128"]);
    config["model_max_length"] = json!(1e30);
    write(path, "tokenizer_config.json", config.clone());
    write(path, "special_tokens_map.json", json!({ "eos_token": { "content": "<|endoftext|>" } }));
    let map_first = open(path).unwrap();
    told(&map_first, &["eos_token", "<|endoftext|>", "which counts"]);
    assert_eq!(map_first.tokenizer.special_tokens().eos, "<|endoftext|>");
    config["added_tokens_decoder"] = json!({ "258": { "content": "<|im_end|>", "special": true } });
    write(path, "tokenizer_config.json", config.clone());
    let config_first = open(path).unwrap();
    told(&config_first, &["eos_token", "and counts", "<|endoftext|>"]);
    assert_eq!(config_first.tokenizer.special_tokens().eos, "<|im_end|>");
    std::fs::remove_file(path.join("special_tokens_map.json")).unwrap();

    config["added_tokens_decoder"]["259"] = json!({ "content": "<|tool|>", "special": true });
    config["added_tokens_decoder"]["7"] = json!({ "content": "<|im_start|>", "special": true });
    write(path, "tokenizer_config.json", config.clone());
    let model = open(path).unwrap();
    told(&model, &["adds \"<|tool|>\"", "are used"]);
    told(&model, &["<|im_start|>", "token 7", "257"]);
    assert_eq!(model.tokenizer.encode("a<|tool|>").unwrap()[1], 259);
    std::fs::write(path.join("chat_template.jinja"), "{{ messages[0].content }}").unwrap();
    told(&open(path).unwrap(), &["chat_template.jinja", "counts"]);
}

#[test]
fn a_tokenizer_larger_than_the_embedding_is_limited() {
    let dir = tiny::folder("llama");
    let model = open(dir.path()).unwrap();
    assert!(model.notices.is_empty());
    let mut tokenizer = tiny::tokenizer();
    let more: Vec<_> =
        (0..6).map(|i| tokenizers::AddedToken::from(format!("<|more{i}|>"), true)).collect();
    tokenizer.add_tokens(more).unwrap();
    tokenizer.save(dir.path().join("tokenizer.json"), false).unwrap();
    let model = open(dir.path()).unwrap();
    told(&model, &["1 token ids beyond the 264", "<|more5|>"]);
    assert_eq!(model.tokenizer.encode("<|more4|>").unwrap(), [263]);
    let message = model.tokenizer.encode("a <|more5|>").unwrap_err().to_string();
    assert!(
        message.contains("<|more5|>") && message.contains("264") && message.contains("; "),
        "{message}"
    );
}

/// A folder whose tokenizer files are these, loaded; and the ids of a text.
fn ids(files: &[(&str, Value)], text: &str) -> (host_model::Model, Vec<u32>) {
    let dir = tiny::folder("llama");
    std::fs::remove_file(dir.path().join("tokenizer_config.json")).ok();
    let mut config = json!({ "eos_token": "<|im_end|>", "chat_template": tiny::CHATML });
    for (name, value) in files {
        if *name == "tokenizer_config.json" {
            value.as_object().unwrap().iter().for_each(|(key, value)| config[key] = value.clone());
        } else {
            write(dir.path(), name, value.clone());
        }
    }
    write(dir.path(), "tokenizer_config.json", config);
    let model = open(dir.path()).unwrap();
    let ids = model.tokenizer.encode(text).unwrap();
    (model, ids)
}

#[test]
fn tokens_of_every_file_are_added_as_in_transformers() {
    let next = tiny::tokenizer().get_vocab_size(true) as u32;
    let config = |value| ("tokenizer_config.json", value);
    let special = |model: &host_model::Model, id| model.tokenizer.decode(&[id]).unwrap().is_empty();

    let listed = [("added_tokens.json", json!({ "<x>": next + 3, "<y>": 1, "<z>": 256 }))];
    let (model, found) = ids(&listed, "<x><y>");
    // In the order of the stated ids.
    assert_eq!(found[..2], [next + 1, next]);
    told(&model, &["added_tokens.json", "adds \"<", "1 more"]);
    told(&model, &["added_tokens.json", "\"<z>\" is token 256", "isn't added"]);
    assert!(!special(&model, next));
    let decoder = config(json!({ "added_tokens_decoder": {} }));
    let (model, found) = ids(&[listed[0].clone(), decoder.clone()], "<x>");
    assert!(found.len() > 1);
    told(&model, &["added_tokens.json", "aren't used beside `added_tokens_decoder`"]);

    for files in [
        vec![config(json!({ "extra_special_tokens": ["<x>"] }))],
        vec![config(json!({ "additional_special_tokens": ["<x>"], "extra_special_tokens": [] }))],
        vec![config(json!({ "extra_special_tokens": { "eot_token": "<x>" } }))],
        vec![config(json!({ "sep_token": "<x>" }))],
        vec![("special_tokens_map.json", json!({ "mask_token": { "content": "<x>" } }))],
        vec![("special_tokens_map.json", json!({ "additional_special_tokens": ["<x>"] }))],
    ] {
        let (model, found) = ids(&files, "<x>");
        assert_eq!(found, [next], "{files:?}");
        assert!(special(&model, next), "{files:?}");
        told(&model, &["adds \"<x>\"", "are used, as in transformers"]);
    }

    let plain = ids(&[], "a <|im_end|> b").1;
    let spaces = json!({ "258": { "content": "<|im_end|>", "special": true, "lstrip": true } });
    let (model, found) =
        ids(&[config(json!({ "added_tokens_decoder": spaces }))], "a <|im_end|> b");
    assert_eq!(found.len() + 1, plain.len());
    told(&model, &["<|im_end|>", "`lstrip`", "counts, as in transformers"]);
    let other = model.tokenizer.digest();
    assert_ne!(other, ids(&[decoder], "").0.tokenizer.digest());

    let (model, found) = ids(&[config(json!({ "split_special_tokens": true }))], "<|im_end|>");
    assert_eq!(found.len(), "<|im_end|>".len());
    told(&model, &["`split_special_tokens`", "cut into ordinary ones"]);

    let dir = tiny::folder("llama");
    write(dir.path(), "added_tokens.json", json!({ "<x>": "one" }));
    let message = open(dir.path()).err().unwrap();
    assert!(message.contains("added_tokens.json: has no id for \"<x>\""), "{message}");
}

#[test]
fn how_transformers_would_choose_tokens_is_told_where_it_differs() {
    let said = |generation: Value| {
        let notices = ids(&[("generation_config.json", generation)], "").0.notices;
        notices.into_iter().find(|line| line.contains("isn't used")).unwrap_or_default()
    };
    let neutral = json!({
        "do_sample": false, "temperature": 0.6, "repetition_penalty": 1.0, "num_beams": 1,
        "suppress_tokens": null, "bad_words_ids": [], "min_length": 0, "max_length": 20
    });
    assert_eq!(said(neutral), "");
    let drawn = said(json!({ "do_sample": true, "temperature": 0.6, "top_k": 20 }));
    assert!(drawn.contains("do_sample, temperature 0.6, top_k 20 isn't used"), "{drawn}");
    for (key, value) in [
        ("repetition_penalty", json!(1.05)),
        ("suppress_tokens", json!([5])),
        ("forced_bos_token_id", json!(0)),
        ("stop_strings", json!(["###"])),
        ("num_beams", json!(4)),
    ] {
        let line = said(json!({ key: value }));
        assert!(line.contains(&format!("{key} {value} isn't used")), "{line}");
    }
    let wrong =
        ids(&[("generation_config.json", json!({ "eos_token_id": [5, "</s>", -1] }))], "").0;
    told(&wrong, &["`eos_token_id`", "\"</s>\"", "not all is the id of a token"]);
}

#[test]
fn a_llama_tokenizer_that_transformers_makes_anew_is_told() {
    let dir = tiny::folder("llama");
    let mut tokenizer = tiny::tokenizer();
    let prepend = tokenizers::normalizers::Prepend::new("a".to_owned());
    tokenizer.with_normalizer(Some(prepend)).unwrap();
    tokenizer.save(dir.path().join("tokenizer.json"), false).unwrap();
    assert_eq!(open(dir.path()).unwrap().notices, Vec::<String>::new());
    let config = json!({ "chat_template": tiny::CHATML, "eos_token": "<|im_end|>", "tokenizer_class": "LlamaTokenizer" });
    write(dir.path(), "tokenizer_config.json", config);
    told(&open(dir.path()).unwrap(), &["LlamaTokenizer", "transformers 5", "transformers 4"]);
}
