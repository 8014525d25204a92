//! What each address answers.

use host_data::demo;
use host_model::{GenerateOptions, Message, generate};
use serde_json::{Value, json};

use crate::support::{CHAT, Server, TEXT, direct, prompts, question};

#[test]
fn a_chat_is_answered_as_the_model_answers_alone() {
    let (server, model) = (Server::start(), demo::model());
    for prompt in prompts().iter().step_by(20) {
        let reply = server.answer(CHAT, &question(prompt));
        let expected = direct(&model, &[Message::user(prompt)], 32, 24);
        let choice = &reply["choices"][0];
        assert_eq!(choice["message"]["content"], *expected.spoken.answer);
        assert_eq!(choice["message"]["role"], "assistant");
        let is_whole = expected.tokens < 32;
        assert_eq!(choice["finish_reason"], if is_whole { "stop" } else { "length" });
        let count = model.tokenizer.encode_prompt(&[Message::user(prompt)]).unwrap().len();
        assert_eq!(
            reply["usage"],
            json!({
                "prompt_tokens": count,
                "completion_tokens": expected.tokens,
                "total_tokens": count + expected.tokens,
                "completion_tokens_details": {"reasoning_tokens": 0},
            })
        );
        assert_eq!(
            (&reply["object"], &reply["model"]),
            (&json!("chat.completion"), &json!("demo"))
        );
    }
}

#[test]
fn system_messages_and_earlier_turns_go_through_the_chat_template() {
    let (server, model) = (Server::start(), demo::model());
    let messages = [
        Message::new("system", "Be brief."),
        Message::user("How do I bake bread?"),
        Message::assistant("Knead it."),
        Message::user("And then?"),
    ];
    let body = json!({"messages": messages, "temperature": 0, "max_completion_tokens": 12});
    assert_eq!(server.said(&body), direct(&model, &messages, 12, 24).spoken.answer);
    let parts = json!([{"type": "text", "text": "And "}, {"type": "text", "text": "then?"}]);
    let mut in_parts = body.clone();
    in_parts["messages"][3]["content"] = parts;
    assert_eq!(server.said(&in_parts), server.said(&body));
}

#[test]
fn an_answer_that_was_begun_is_gone_on_with() {
    let (server, model) = (Server::start(), demo::model());
    let body = json!({
        "messages": [{"role": "user", "content": "How do I bake bread?"}, {"role": "assistant", "content": "Sure, here"}],
        "temperature": 0, "max_tokens": 12, "continue_final_message": true, "add_generation_prompt": false,
    });
    let mut prompt =
        model.tokenizer.encode_prompt(&[Message::user("How do I bake bread?")]).unwrap();
    prompt.extend(model.tokenizer.encode("Sure, here").unwrap());
    let options = GenerateOptions { max_new_tokens: 12, ..GenerateOptions::default() };
    let stop = model.tokenizer.stop_tokens();
    let answers = generate(&model.decoder, None, &[prompt], stop, &options, &mut |_| {}).unwrap();
    assert_eq!(server.said(&body), model.tokenizer.decode(&answers[0]).unwrap());
}

#[test]
fn texts_are_gone_on_with_in_every_form_of_a_prompt() {
    let (server, model) = (Server::start(), demo::model());
    let texts = ["How do I", "The hotel was"];
    let ids = texts.map(|text| model.tokenizer.encode_text(text).unwrap());
    let options = GenerateOptions { max_new_tokens: 16, ..GenerateOptions::default() };
    let stop = model.tokenizer.stop_tokens();
    let expected = generate(&model.decoder, None, &ids, stop, &options, &mut |_| {}).unwrap();
    let expected: Vec<String> =
        expected.iter().map(|tokens| model.tokenizer.decode(tokens).unwrap()).collect();
    let answers = |prompt: Value| -> Vec<String> {
        let reply = server.answer(TEXT, &json!({"prompt": prompt, "temperature": 0}));
        let choices = reply["choices"].as_array().unwrap().iter().enumerate();
        let text = |(index, choice): (usize, &Value)| {
            assert_eq!(choice["index"], index);
            choice["text"].as_str().unwrap().to_owned()
        };
        choices.map(text).collect()
    };
    assert_eq!(answers(json!(texts)), expected);
    assert_eq!(answers(json!(ids)), expected);
    assert_eq!(answers(json!(texts[1])), expected[1..]);
    assert_eq!(answers(json!(ids[1])), expected[1..]);
}

#[test]
fn the_draws_of_a_seed_are_those_of_host_generate() {
    let (server, model) = (Server::start(), demo::model());
    let body = |seed: u64| {
        json!({
            "messages": [{"role": "user", "content": "How do I bake bread?"}],
            "temperature": 1.5, "top_p": 0.9, "seed": seed, "n": 3, "max_tokens": 10,
        })
    };
    let said = |body: &Value| -> Vec<String> {
        let reply = server.answer(CHAT, body);
        let choices = reply["choices"].as_array().unwrap().iter();
        choices.map(|choice| choice["message"]["content"].as_str().unwrap().to_owned()).collect()
    };
    let prompt = model.tokenizer.encode_prompt(&[Message::user("How do I bake bread?")]).unwrap();
    let options = GenerateOptions {
        max_new_tokens: 10,
        temperature: 1.5,
        top_p: Some(0.9),
        seed: 5,
        ..GenerateOptions::default()
    };
    let stop = model.tokenizer.stop_tokens();
    let drawn =
        generate(&model.decoder, None, &vec![prompt; 3], stop, &options, &mut |_| {}).unwrap();
    let expected: Vec<String> =
        drawn.iter().map(|tokens| model.tokenizer.decode(tokens).unwrap()).collect();
    assert_eq!(said(&body(5)), expected);
    assert_ne!(said(&body(6)), expected);
    // Without a seed every answer has a stream of its own.
    let mut unseeded = body(0);
    unseeded.as_object_mut().unwrap().remove("seed");
    assert_ne!(said(&unseeded), said(&unseeded));
}

#[test]
fn a_stop_text_ends_an_answer_before_it() {
    let server = Server::start();
    let prompt = "How do I bake bread?";
    let whole = server.said(&question(prompt));
    let words: Vec<&str> = whole.split(' ').collect();
    assert!(words.len() > 4, "{whole}");
    let stop = format!("{} {}", words[2], &words[3][..1]);
    let mut body = question(prompt);
    body["stop"] = json!(["never said", stop]);
    let reply = server.answer(CHAT, &body);
    let choice = &reply["choices"][0];
    assert_eq!(choice["message"]["content"], whole[..whole.find(&stop).unwrap()]);
    assert_eq!(choice["finish_reason"], "stop");
    assert!(reply["usage"]["completion_tokens"].as_u64().unwrap() < 32);
}

#[test]
fn the_model_and_the_servers_health_can_be_asked_for() {
    let server = Server::start();
    let (status, models) = server.get("/v1/models");
    assert_eq!((status, &models["data"][0]["id"]), (200, &json!("demo")));
    assert_eq!(models["data"][0]["max_model_len"], 512);
    assert_eq!(server.get("/v1/models/demo"), (200, models["data"][0].clone()));
    let (status, reply) = server.get("/v1/models/gpt-9");
    assert_eq!((status, &reply["error"]["code"]), (404, &json!("model_not_found")));
    assert_eq!(server.get("/health"), (200, json!({"status": "ok", "running": 0, "waiting": 0})));
}

#[test]
fn the_tokenizer_can_be_asked_for() {
    let (server, model) = (Server::start(), demo::model());
    let text = "How do I bake bread?<|im_end|>";
    let tokens = model.tokenizer.encode(text).unwrap();
    let (status, reply) =
        server.post("/tokenize", &json!({"prompt": text, "add_special_tokens": false}));
    assert_eq!(
        (status, &reply["tokens"], &reply["count"]),
        (200, &json!(tokens), &json!(tokens.len()))
    );
    assert_eq!(
        server.post("/detokenize", &json!({"tokens": tokens})),
        (200, json!({"prompt": text}))
    );
    assert_eq!(server.get("/tokenizer_info").1["eos_token"], "<|im_end|>");
    assert_eq!(server.post("/tokenize", &json!({"prompt": 5})).0, 400);
    assert_eq!(server.post("/detokenize", &json!({"tokens": [1u64 << 40]})).0, 400);
}

#[test]
fn a_server_tells_what_it_served() {
    let server = Server::start();
    let mut body = question("How do I bake bread?");
    body["frobnicate"] = 1.into();
    for _ in 0..2 {
        server.answer(CHAT, &body);
    }
    assert_eq!(server.post(CHAT, &json!({})).0, 400);
    let told = server.told.clone();
    let summary = server.end();
    assert_eq!(summary.counts.answered, 2);
    assert_eq!(summary.counts.failed.into_iter().collect::<Vec<_>>(), [(400, 1)]);
    assert_eq!(summary.counts.ignored["frobnicate"], 2);
    assert!(summary.finished);
    let told = told.lock().unwrap();
    assert!(told.len() == 1 && told[0].contains("`frobnicate`"), "{told:?}");
}
