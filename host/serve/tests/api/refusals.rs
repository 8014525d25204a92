//! What isn't served is refused in the API's own form, and never passed over.

use serde_json::{Value, json};

use crate::support::{CHAT, Server, TEXT, question, request};

/// A question with more fields.
fn with(more: Value) -> Value {
    let mut body = question("Hello?");
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

#[track_caller]
fn assert_refused(
    server: &Server,
    path: &str,
    body: &Value,
    (status, param, words): (u16, &str, &str),
) {
    let (found, reply) = server.post(path, body);
    let error = &reply["error"];
    assert_eq!(found, status, "{body}: {reply}");
    assert_eq!(error["param"].as_str().unwrap_or_default(), param, "{body}: {reply}");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains(words) && !message.contains('\n'), "{body}: {message}");
    assert!(error["type"].is_string() && error.get("code").is_some(), "{reply}");
}

#[test]
fn what_is_wrong_with_a_chat_is_named() {
    let server = Server::start();
    let messages = |list: Value| with(json!({"messages": list}));
    let long = "bread ".repeat(600);
    for (body, expected) in [
        (with(json!({"model": "gpt-9"})), (404, "model", "ask for demo")),
        (with(json!({"logit_bias": {"5": 100}})), (400, "logit_bias", "isn't served")),
        (
            with(json!({"response_format": {"type": "json_object"}})),
            (400, "response_format", "isn't served"),
        ),
        (with(json!({"tool_choice": "required"})), (400, "tool_choice", "`auto` or `none`")),
        (
            with(json!({"tools": [{"type": "function", "function": {"name": "f"}}]})),
            (400, "tools", "chat template"),
        ),
        (with(json!({"functions": [{"name": "f"}]})), (400, "functions", "isn't served")),
        (with(json!({"presence_penalty": 1})), (400, "presence_penalty", "isn't served")),
        (with(json!({"temperature": -1})), (400, "temperature", "from 0 to 2")),
        (with(json!({"top_p": 0})), (400, "top_p", "above 0")),
        (with(json!({"top_p": 1e-300})), (400, "top_p", "above 0")),
        (with(json!({"n": 0})), (400, "n", "from 1")),
        (with(json!({"n": 100_000})), (400, "n", "to 256")),
        (with(json!({"max_tokens": 0})), (400, "max_tokens", "from 1")),
        (with(json!({"stop": [1]})), (400, "stop", "text")),
        (with(json!({"top_logprobs": 2})), (400, "top_logprobs", "needs `logprobs`")),
        (with(json!({"logprobs": true, "top_logprobs": 21})), (400, "top_logprobs", "to 20")),
        (with(json!({"stream_options": {}})), (400, "stream_options", "needs `stream`")),
        (with(json!({"stream": "yes"})), (400, "stream", "true or false")),
        (with(json!({"continue_final_message": true})), (400, "messages", "must end with")),
        (messages(json!([])), (400, "messages", "at least one")),
        (messages(json!("Hello?")), (400, "messages", "at least one")),
        (
            messages(json!([{"role": "wizard", "content": "a"}])),
            (400, "messages[0].role", "wizard"),
        ),
        (messages(json!([{"role": "user", "content": ""}])), (400, "messages[0].content", "empty")),
        (
            messages(json!([{"role": "user", "content": 7}])),
            (400, "messages[0].content", "must be"),
        ),
        (
            messages(
                json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}]),
            ),
            (400, "messages[0].content[0]", ""),
        ),
        (
            messages(
                json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]),
            ),
            (400, "messages", "continue_final_message"),
        ),
        (
            messages(json!([{"role": "user", "content": long}])),
            (400, "messages", "the model takes 512"),
        ),
    ] {
        assert_refused(&server, CHAT, &body, expected);
    }
    assert!(!server.said(&question("Hello?")).is_empty());
}

#[test]
fn what_is_wrong_with_a_text_is_named() {
    let server = Server::start();
    for (body, expected) in [
        (json!({}), (400, "prompt", "must be")),
        (json!({"prompt": 7}), (400, "prompt", "must be")),
        (json!({"prompt": []}), (400, "prompt", "must be")),
        (json!({"prompt": ["a", 7]}), (400, "prompt", "must be")),
        (json!({"prompt": ""}), (400, "prompt", "no tokens")),
        (json!({"prompt": [1, 100_000_000]}), (400, "prompt", "number below")),
        (json!({"prompt": [1.5]}), (400, "prompt", "number below")),
        (json!({"prompt": vec!["a"; 300]}), (400, "prompt", "more than 256")),
        (json!({"prompt": vec!["a"; 200], "n": 2}), (400, "prompt", "more than 256")),
        (json!({"prompt": vec![5; 512]}), (400, "prompt", "the model takes 512")),
        (json!({"prompt": "a", "max_tokens": 0}), (400, "max_tokens", "from 1")),
        (json!({"prompt": "a", "echo": true, "stream": true}), (400, "echo", "pieces")),
        (json!({"prompt": "a", "suffix": "b"}), (400, "suffix", "isn't served")),
        (json!({"prompt": "a", "best_of": 4}), (400, "best_of", "isn't served")),
        (json!({"prompt": "a", "logprobs": 50}), (400, "logprobs", "to 20")),
        (
            json!({"prompt": vec![vec![5; 511]; 64], "echo": true, "logprobs": 20, "max_tokens": 1}),
            (400, "prompt", "log-probabilities"),
        ),
    ] {
        assert_refused(&server, TEXT, &body, expected);
    }
    // As long as the context allows, with and without a token more.
    for (count, most, answered) in [(512, 0, true), (511, 1, true), (513, 0, false)] {
        let body =
            json!({"prompt": vec![5; count], "max_tokens": most, "echo": true, "logprobs": 1});
        assert_eq!(server.post(TEXT, &body).0 == 200, answered, "{count}");
    }
}

#[test]
fn other_addresses_methods_and_forms_are_refused() {
    let server = Server::start();
    for (path, status) in [("/", 404), ("/v1/embeddings", 404), (CHAT, 405), (TEXT, 405)] {
        let (found, reply) = server.get(path);
        assert_eq!((found, &reply["error"]["code"]), (status, &json!("unknown_url")), "{path}");
    }
    assert_eq!(server.post("/health", &json!({})).0, 405);
    let body = question("Hello?").to_string();
    let plain = request(CHAT, "", &body).replace("application/json", "text/plain");
    assert_eq!(server.raw(plain.as_bytes()).status, 415);
    let named =
        request(CHAT, "", &body).replace("application/json", "application/json; charset=utf-8");
    assert_eq!(server.raw(named.as_bytes()).status, 200);
    for body in ["", "{", "[]", "null", "\u{0}", &"[".repeat(10_000)] {
        let reply = server.raw(request(CHAT, "", body).as_bytes());
        assert_eq!(
            (reply.status, &reply.json()["error"]["type"]),
            (400, &json!("invalid_request_error"))
        );
    }
    let latin = request(CHAT, "", "{\"a\": \"??\"}").into_bytes();
    let latin: Vec<u8> =
        latin.into_iter().map(|byte| if byte == b'?' { 0xff } else { byte }).collect();
    assert_eq!(server.raw(&latin).status, 400);
    assert_eq!(server.raw(b"nonsense\r\n\r\n").status, 400);
}

/// What hyper answers by itself has the form of the API as well, and the connection ends with it.
#[test]
fn a_head_that_can_not_be_read_is_answered_in_the_form_of_the_api() {
    let server = Server::start();
    let lines = |count| "X-Line: y\r\n".repeat(count);
    let get = |target: &str, headers: &str| {
        format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n")
    };
    let long = "a".repeat(70_000);
    let cases = [
        (get("/health", &format!("X-Long: {long}\r\n")), 431, "64 KiB"),
        // More than is read before it is refused: the answer arrives all the same.
        (get("/health", &format!("X-Long: {}\r\n", "a".repeat(3 << 20))), 431, "64 KiB"),
        (get("/health", &lines(120)), 431, "100 lines"),
        (get(&format!("/{}", &long[..65_535]), ""), 431, "64 KiB"),
        (get("/health", "no colon\r\n"), 400, "check method"),
        (get("/health", "Content-Length: 5\r\nContent-Length: 6\r\n"), 400, "check method"),
        (get("/health", "Transfer-Encoding: nothing\r\n"), 400, "check method"),
        (get("/ \u{1}", ""), 400, "check method"),
        ("GET /health HTTP/3.7\r\n\r\n".into(), 400, "check method"),
        ("\u{16}\u{3}\u{1}\r\n\r\n".into(), 400, "check method"),
    ];
    let count = cases.len() as u64;
    for (bytes, status, words) in cases {
        let begin: String = bytes.chars().take(60).collect();
        let reply = server.raw(bytes.as_bytes());
        assert_eq!(reply.status, status, "{begin}: {}", reply.head);
        let error = &reply.json()["error"];
        assert_eq!(error["code"], "unreadable_request", "{begin}");
        assert!(error["message"].as_str().unwrap().contains(words), "{begin}: {error}");
        assert!(reply.head.contains("connection: close"), "{}", reply.head);
    }
    // A request before it on the same connection has its own answer.
    let both = format!("{}{}", get("/health", ""), get("/health", "no colon\r\n"));
    let reply = server.raw(both.as_bytes());
    assert_eq!(reply.status, 200);
    assert!(reply.body.contains("unreadable_request"), "{}", reply.body);
    assert_eq!(server.end().counts.failed.values().sum::<u64>(), count + 1);
}
