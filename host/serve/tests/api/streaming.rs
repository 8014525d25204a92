//! Answers in pieces.

use serde_json::{Value, json};

use crate::support::{CHAT, Server, TEXT, prompts, question};

/// What the pieces of one choice say under a key.
fn joined(events: &[Value], index: usize, text: impl Fn(&Value) -> &Value) -> String {
    let choices = events.iter().flat_map(|event| event["choices"].as_array().unwrap());
    let own = choices.filter(|choice| choice["index"] == index);
    own.filter_map(|choice| text(choice).as_str()).collect()
}

fn content(events: &[Value], index: usize) -> String {
    joined(events, index, |choice| &choice["delta"]["content"])
}

/// Why each choice ended, in the order in which they did.
fn reasons(events: &[Value]) -> Vec<&str> {
    let choices = events.iter().flat_map(|event| event["choices"].as_array().unwrap());
    choices.filter_map(|choice| choice["finish_reason"].as_str()).collect()
}

#[test]
fn the_pieces_of_a_chat_are_its_answer() {
    let server = Server::start();
    for prompt in prompts().iter().step_by(40) {
        let mut body = question(prompt);
        let whole = server.answer(CHAT, &body);
        body["stream_options"] = json!({"include_usage": true});
        body["stream"] = true.into();
        let events = server.events(CHAT, &body);
        let first = &events[0]["choices"][0]["delta"];
        assert_eq!((&first["role"], &first["content"]), (&json!("assistant"), &json!("")));
        assert_eq!(whole["choices"][0]["message"]["content"], content(&events, 0));
        assert_eq!(whole["choices"][0]["finish_reason"], reasons(&events)[0]);
        assert_eq!(events.last().unwrap()["usage"], whole["usage"]);
        let (last, others) = events.split_last().unwrap();
        assert_eq!(last["choices"], json!([]));
        assert!(others.iter().all(|event| event["usage"].is_null()));
        assert!(events.iter().all(|event| event["id"] == events[0]["id"]));
        assert!(events.len() > 6, "in pieces: {events:?}");
    }
}

#[test]
fn several_answers_come_side_by_side() {
    let server = Server::start();
    let mut body = question("How do I bake bread?");
    body["n"] = 3.into();
    body["temperature"] = 1.2.into();
    body["seed"] = 3.into();
    let whole = server.answer(CHAT, &body);
    let events = server.events(CHAT, &body);
    for index in 0..3 {
        assert_eq!(whole["choices"][index]["message"]["content"], content(&events, index));
    }
    assert_eq!(reasons(&events).len(), 3);
    assert!(events.iter().all(|event| event.get("usage").is_none()));
}

#[test]
fn nothing_of_a_stop_text_is_told() {
    let server = Server::start();
    let prompt = "How do I bake bread?";
    let answer = server.said(&question(prompt));
    // Stops that begin anywhere in a token, and one that is never complete.
    for begin in [3, 7, 11, 16] {
        let mut body = question(prompt);
        body["stop"] =
            json!([&answer[begin..begin + 4], format!("{}#", &answer[begin - 1..begin + 2])]);
        let whole = server.answer(CHAT, &body);
        let events = server.events(CHAT, &body);
        let first = answer.find(&answer[begin..begin + 4]).unwrap();
        assert_eq!(content(&events, 0), answer[..first]);
        assert_eq!(whole["choices"][0]["message"]["content"], answer[..first]);
        assert_eq!(reasons(&events), ["stop"]);
    }
}

#[test]
fn texts_come_in_pieces_with_their_log_probabilities() {
    let server = Server::start();
    let body = json!({
        "prompt": ["How do I", "The hotel was"], "temperature": 0, "max_tokens": 12, "logprobs": 2,
    });
    let whole = server.answer(TEXT, &body);
    let events = server.events(TEXT, &body);
    for index in 0..2 {
        assert_eq!(
            whole["choices"][index]["text"],
            joined(&events, index, |choice| &choice["text"])
        );
        let choices = events.iter().flat_map(|event| event["choices"].as_array().unwrap());
        let own = choices.filter(|choice| choice["index"] == index);
        let log_probs: Vec<&Value> = own.map(|choice| &choice["logprobs"]).collect();
        for name in ["tokens", "token_logprobs", "top_logprobs", "text_offset"] {
            let lists = log_probs.iter().filter_map(|one| one[name].as_array());
            let all: Value = lists.flatten().cloned().collect();
            assert_eq!(whole["choices"][index]["logprobs"][name], all, "{name}");
        }
    }
}
