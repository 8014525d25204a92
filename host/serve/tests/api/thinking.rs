//! Models that think before they answer.

use host_data::demo;
use host_model::{Message, Model, TemplateOptions};
use host_serve::Options;
use serde_json::{Value, json};

use crate::support::{CHAT, Server, direct, options, prompts};

/// The prompt begins a thought, and turns show theirs.
const PROMPTED: &str = "{%- for m in messages -%}
{{- '<|im_start|>' + m.role + '\\n' -}}
{%- if m.role == 'assistant' and loop.last %}{{ '<think>\\n' + (m.reasoning_content or '') + '\\n</think>\\n\\n' }}{% endif -%}
{{- m.content + '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n<think>\\n' }}{% endif -%}";

fn thinking() -> Model {
    let mut model = demo::model();
    model.tokenizer =
        model.tokenizer.with_template(&TemplateOptions::default(), Some(PROMPTED)).unwrap();
    model
}

/// Tokens of a thought.
const THINKING: usize = 4;

fn server() -> Server {
    Server::with(thinking(), Options { thinking: THINKING, ..options() })
}

fn body(prompt: &str) -> Value {
    json!({"messages": [{"role": "user", "content": prompt}], "temperature": 0, "max_tokens": 16})
}

#[test]
fn a_thought_is_ended_and_told_apart_as_in_an_evaluation() {
    let model = thinking();
    let server = server();
    let mut cut = 0;
    for prompt in prompts().iter().step_by(16) {
        let expected = direct(&model, &[Message::user(prompt)], 16, THINKING);
        let reply = server.answer(CHAT, &body(prompt));
        let message = &reply["choices"][0]["message"];
        assert_eq!(message["content"], *expected.spoken.answer, "{prompt}");
        assert_eq!(message["reasoning_content"].as_str(), expected.spoken.thought.as_deref());
        let usage = &reply["usage"];
        let thought = usage["completion_tokens_details"]["reasoning_tokens"].as_u64().unwrap();
        assert_eq!(thought as usize, expected.spoken.thought_tokens);
        cut += usize::from(expected.thought_cut);
        // And in pieces.
        let events = server.events(CHAT, &body(prompt));
        let deltas = || events.iter().map(|event| &event["choices"][0]["delta"]);
        let said = |key: &str| deltas().filter_map(|delta| delta[key].as_str()).collect::<String>();
        assert_eq!(said("content"), expected.spoken.answer);
        assert_eq!(said("reasoning_content"), expected.spoken.thought.unwrap_or_default());
    }
    assert!(cut > 0, "no thought reached its limit");
}

#[test]
fn a_limit_of_all_tokens_counts_the_thought() {
    let server = server();
    let mut body = body("How do I bake bread?");
    body["max_completion_tokens"] = 3.into();
    body["logprobs"] = true.into();
    let reply = server.answer(CHAT, &body);
    assert_eq!(reply["usage"]["completion_tokens"], 3);
    let choice = &reply["choices"][0];
    assert_eq!(
        (&choice["message"]["content"], &choice["finish_reason"]),
        (&json!(""), &json!("length"))
    );
    assert_eq!(choice["logprobs"]["content"], json!([]));
    body["max_completion_tokens"] = 36.into();
    let reply = server.answer(CHAT, &body);
    let content = &reply["choices"][0]["logprobs"]["content"];
    let tokens = content.as_array().unwrap().iter().map(|one| one["token"].as_str().unwrap());
    let said = reply["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(!said.is_empty());
    assert_eq!(tokens.collect::<String>().trim_start(), said);
}
