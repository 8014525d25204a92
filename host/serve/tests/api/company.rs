//! Answers in company.

use serde_json::{Value, json};

use crate::support::{CHAT, Server, TEXT, prompts, question};

/// A request of every kind, by number.
fn body(number: usize, prompt: &str) -> (&'static str, Value) {
    let mut body = question(prompt);
    match number % 5 {
        0 => (CHAT, body),
        1 => {
            body["logprobs"] = true.into();
            body["top_logprobs"] = 2.into();
            (CHAT, body)
        }
        2 => {
            body["temperature"] = 1.1.into();
            body["seed"] = number.into();
            body["n"] = 2.into();
            (CHAT, body)
        }
        3 => (
            TEXT,
            json!({"prompt": prompt, "max_tokens": 9 + number % 7, "temperature": 0, "logprobs": 1}),
        ),
        _ => (
            TEXT,
            json!({"prompt": [prompt, "The hotel"], "max_tokens": 1, "echo": true, "logprobs": 1, "temperature": 0}),
        ),
    }
}

/// 64 clients at once, each with its own question: to the last bit of every log-probability what it gets alone.
#[test]
fn sixty_four_clients_at_once_get_what_each_gets_alone() {
    let server = Server::start();
    let prompts = prompts();
    let asked: Vec<(&str, Value)> =
        (0..64).map(|number| body(number, &prompts[number * 2])).collect();
    let alone: Vec<Value> = asked.iter().map(|(path, body)| server.answer(path, body)).collect();
    for _ in 0..3 {
        let together: Vec<Value> = std::thread::scope(|scope| {
            let clients: Vec<_> = asked
                .iter()
                .map(|(path, body)| scope.spawn(|| server.answer(path, body)))
                .collect();
            clients.into_iter().map(|client| client.join().unwrap()).collect()
        });
        for ((one, other), (_, body)) in alone.iter().zip(&together).zip(&asked) {
            assert_eq!(one, other, "{body}");
        }
    }
    // The prompts differ, so the answers do, and none was mixed up with another.
    let mut texts: Vec<String> = alone.iter().map(Value::to_string).collect();
    texts.sort();
    texts.dedup();
    assert!(texts.len() > 40, "{}", texts.len());
    assert_eq!(server.end().counts.answered, 64 * 4);
}

/// The same while others come and go in the middle of their answers.
#[test]
fn those_who_leave_change_nothing_for_those_who_stay() {
    let server = Server::start();
    let prompts = prompts();
    let expected: Vec<String> =
        prompts.iter().take(24).map(|prompt| server.said(&question(prompt))).collect();
    std::thread::scope(|scope| {
        for (prompt, expected) in prompts.iter().zip(&expected) {
            scope.spawn(|| assert_eq!(server.said(&question(prompt)), *expected));
            scope.spawn(|| {
                use std::io::{Read as _, Write as _};
                let mut body = question(prompt);
                body["stream"] = true.into();
                let mut client = server.connect();
                let request = crate::support::request(CHAT, "", &body.to_string());
                client.write_all(request.as_bytes()).unwrap();
                let _ = client.read(&mut [0; 64]);
            });
        }
    });
}
