//! Answers in company.

use host_data::demo;
use host_serve::Options;
use serde_json::{Value, json};

use crate::support::{CHAT, Server, TEXT, options, prompts, question};

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

/// Whether two replies are the same but for the last digits of log-probabilities.
fn alike(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(a), Value::Number(b)) => {
            (a.as_f64().unwrap() - b.as_f64().unwrap()).abs() < 1e-4
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| alike(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| alike(a, b)))
        }
        _ => one == other,
    }
}

/// 64 clients at once, each with its own question, get what each gets alone: with 16 places to the last bit of every
/// log-probability, with 64 up to rounding.
#[test]
fn sixty_four_clients_at_once_get_what_each_gets_alone() {
    let prompts = prompts();
    let asked: Vec<(&str, Value)> =
        (0..64).map(|number| body(number, &prompts[number * 2])).collect();
    for (batch, same) in [(16, <Value as PartialEq>::eq as fn(&Value, &Value) -> bool), (64, alike)]
    {
        let server = Server::with(demo::model(), Options { batch, ..options() });
        let ask = |(path, body): &(&str, Value)| server.answer(path, body);
        let alone: Vec<Value> = asked.iter().map(ask).collect();
        for _ in 0..3 {
            let together: Vec<Value> = std::thread::scope(|scope| {
                let clients: Vec<_> =
                    asked.iter().map(|one| scope.spawn(move || ask(one))).collect();
                clients.into_iter().map(|client| client.join().unwrap()).collect()
            });
            for ((one, other), (_, body)) in alone.iter().zip(&together).zip(&asked) {
                assert!(same(one, other), "{batch}: {body}\n{one}\n{other}");
            }
        }
        // The prompts differ, so the answers do, and none was mixed up with another.
        let mut texts: Vec<String> = alone.iter().map(Value::to_string).collect();
        texts.sort();
        texts.dedup();
        assert!(texts.len() > 40, "{}", texts.len());
        assert_eq!(server.end().counts.answered, 64 * 4);
    }
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
