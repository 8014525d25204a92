//! Log-probabilities.

use candle_core::IndexOp;
use host_data::demo;
use host_model::{Message, Model, Packed};
use serde_json::{Value, json};

use crate::support::{CHAT, Server, TEXT, question};

/// ln p of every token but the first, by a pass over all of them.
fn log_probs(model: &Model, tokens: &[u32]) -> Vec<f32> {
    let packed = Packed::from_sequences(&[tokens]);
    let hidden = model.decoder.infer(&packed, None, &[]).unwrap().hidden;
    let rows = hidden.i(..tokens.len() - 1).unwrap();
    model.decoder.label_log_probs(&rows, &tokens[1..]).unwrap()
}

fn numbers(list: &Value) -> Vec<f32> {
    list.as_array().unwrap().iter().map(|one| one.as_f64().unwrap() as f32).collect()
}

#[track_caller]
fn assert_near(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    for (one, other) in found.iter().zip(expected) {
        assert!((one - other).abs() < 1e-4, "{one} {other}");
    }
}

#[test]
fn prompts_are_scored_token_by_token() {
    let (server, model) = (Server::start(), demo::model());
    let ended = "How do I bake bread at home?";
    for (text, as_ids, most) in [
        (ended, false, 0),
        (ended, false, 1),
        (ended, true, 1),
        (ended, true, 3),
        ("How do I", false, 3),
    ] {
        let tokens = model.tokenizer.encode_text(text).unwrap();
        let expected = log_probs(&model, &tokens);
        let prompt = if as_ids { json!(tokens) } else { json!(text) };
        let body = json!({
            "prompt": prompt, "echo": true, "logprobs": 1, "max_tokens": most, "temperature": 0,
        });
        let reply = server.answer(TEXT, &body);
        let choice = &reply["choices"][0];
        let log_probs = &choice["logprobs"];
        let found = log_probs["token_logprobs"].as_array().unwrap();
        // The token that ends an answer is scored and is no part of its text.
        let has_ended = choice["finish_reason"] == "stop";
        let said = reply["usage"]["completion_tokens"].as_u64().unwrap() as usize;
        assert!(if has_ended { said < most } else { said == most });
        let count = tokens.len() + said + usize::from(has_ended);
        assert_eq!((found.len(), &found[0]), (count, &Value::Null));
        assert_near(&numbers(&found[1..tokens.len()].into()), &expected);
        let whole = choice["text"].as_str().unwrap();
        assert!(whole.starts_with(text), "{whole}");
        // Tokens and offsets are those of the text.
        let names = log_probs["tokens"].as_array().unwrap().iter();
        let names: String = names.map(|name| name.as_str().unwrap()).collect();
        let ended = names.strip_suffix("<|im_end|>").filter(|_| has_ended).unwrap_or(&names);
        assert_eq!(ended, whole);
        let mut at = 0;
        for (offset, name) in log_probs["text_offset"]
            .as_array()
            .unwrap()
            .iter()
            .zip(log_probs["tokens"].as_array().unwrap())
        {
            assert_eq!(*offset, at);
            at += name.as_str().unwrap().chars().count();
        }
        // What is drawn greedily is the likeliest, bit for bit.
        for index in tokens.len()..found.len() {
            let top = log_probs["top_logprobs"][index].as_object().unwrap();
            assert_eq!(top.values().collect::<Vec<_>>(), [&found[index]]);
        }
    }
}

#[test]
fn a_token_that_is_not_the_likeliest_is_told_beside_it() {
    let server = Server::start();
    let body =
        json!({"prompt": "zebra zebra quantum", "echo": true, "logprobs": 2, "max_tokens": 0});
    let reply = server.answer(TEXT, &body);
    let log_probs = &reply["choices"][0]["logprobs"];
    let tops = log_probs["top_logprobs"].as_array().unwrap();
    assert_eq!(tops[0], Value::Null);
    assert!(tops[1..].iter().any(|top| top.as_object().unwrap().len() == 3), "{tops:?}");
    for (index, top) in tops.iter().enumerate().skip(1) {
        let name = log_probs["tokens"][index].as_str().unwrap();
        assert_eq!(top[name], log_probs["token_logprobs"][index]);
    }
}

#[test]
fn an_echo_without_log_probabilities_is_the_text() {
    let server = Server::start();
    let ask = |most: usize| {
        let body = json!({"prompt": ["How do", "I am"], "echo": true, "max_tokens": most, "temperature": 0});
        let reply = server.answer(TEXT, &body);
        [0, 1].map(|index| reply["choices"][index]["text"].as_str().unwrap().to_owned())
    };
    assert_eq!(ask(0), ["How do", "I am"]);
    assert!(ask(4)[0].starts_with("How do") && ask(4)[0].len() > 6);
}

#[test]
fn chats_tell_the_likeliest_tokens_of_an_answer() {
    let (server, model) = (Server::start(), demo::model());
    let prompt = "How do I bake bread?";
    let mut body = question(prompt);
    body["logprobs"] = true.into();
    body["top_logprobs"] = 3.into();
    let reply = server.answer(CHAT, &body);
    let choice = &reply["choices"][0];
    let content = choice["logprobs"]["content"].as_array().unwrap();
    let text: String = content.iter().map(|one| one["token"].as_str().unwrap()).collect();
    assert_eq!(choice["message"]["content"], text);
    assert_eq!(reply["usage"]["completion_tokens"], content.len());
    for one in content {
        let top = one["top_logprobs"].as_array().unwrap();
        assert_eq!(top.len(), 3);
        assert_eq!((&top[0]["token"], &top[0]["logprob"]), (&one["token"], &one["logprob"]));
        let found = numbers(&top.iter().map(|one| one["logprob"].clone()).collect());
        assert!(found.is_sorted_by(|a, b| a >= b), "{found:?}");
        assert_eq!(one["bytes"], json!(one["token"].as_str().unwrap().as_bytes()));
    }
    // The same as those of a whole pass.
    let mut tokens = model.tokenizer.encode_prompt(&[Message::user(prompt)]).unwrap();
    let count = tokens.len();
    tokens.extend(model.tokenizer.encode(&text).unwrap());
    let found = numbers(&content.iter().map(|one| one["logprob"].clone()).collect());
    assert_near(&found, &log_probs(&model, &tokens)[count - 1..]);
}
