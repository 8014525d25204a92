//! Conversations as tokens.

use std::path::Path;

use host_model::{ChatTokenizer, Message};
use serde_json::json;

use crate::tiny;

fn with_template(template: &str) -> ChatTokenizer {
    let json = tiny::tokenizer().to_string(false).unwrap().into_bytes();
    let config =
        json!({ "eos_token": "<|im_end|>", "chat_template": template }).to_string().into_bytes();
    let files = [("tokenizer.json".to_owned(), json), ("tokenizer_config.json".to_owned(), config)];
    ChatTokenizer::from_files(files.into(), Path::new("tiny"), &[]).unwrap()
}

fn answers(tokenizer: &ChatTokenizer, messages: &[Message]) -> Vec<String> {
    let chat = tokenizer.encode_chat(messages).unwrap();
    let text = |range: &std::ops::Range<usize>| {
        let tokens: Vec<_> =
            chat.tokens[range.clone()].iter().map(|id| tokenizer.token(*id).unwrap()).collect();
        tokens.concat().replace('Ġ', " ").replace('Ċ', "\n")
    };
    for range in &chat.answer {
        let before = messages.iter().filter(|m| m.role == "assistant").count();
        assert!(range.end <= chat.tokens.len() && before >= 1);
    }
    chat.answer.iter().map(text).collect()
}

#[test]
fn an_answer_is_its_text_and_the_end_of_its_turn() {
    let tokenizer = with_template(tiny::CHATML);
    let messages =
        [Message::new("system", "S"), Message::user("Hi!"), Message::assistant(" two words ")];
    assert_eq!(answers(&tokenizer, &messages), [" two words <|im_end|>"]);
    let chat = tokenizer.encode_chat(&messages).unwrap();
    let prompt = tokenizer.encode_prompt(&messages[..2]).unwrap();
    assert_eq!(chat.tokens[..chat.answer[0].start], prompt);
    assert_eq!(chat.tokens[chat.answer[0].end - 1], tiny::IM_END);
}

#[test]
fn every_answer_of_a_long_conversation_counts() {
    let tokenizer = with_template(tiny::CHATML);
    let messages = [
        Message::user("a"),
        Message::assistant("first"),
        Message::user("first"),
        Message::assistant("zweitens: ü, 日本"),
    ];
    let chat = tokenizer.encode_chat(&messages).unwrap();
    assert_eq!(chat.answer.len(), 2);
    for (range, text) in chat.answer.iter().zip(["first", "zweitens: ü, 日本"]) {
        assert_eq!(tokenizer.decode(&chat.tokens[range.clone()]).unwrap(), text);
    }
    assert!(tokenizer.encode_chat(&messages[..1]).unwrap().answer.is_empty());
}

#[test]
fn templates_without_an_end_token_give_the_bare_text() {
    let template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}";
    let tokenizer = with_template(template);
    let messages = [
        Message::user("a"),
        Message::assistant("yes"),
        Message::user("b"),
        Message::assistant("no"),
    ];
    assert_eq!(answers(&tokenizer, &messages), ["yes", "no"]);
}

/// Only the last answer has a reasoning block, as Qwen 3 writes it.
const REASONING: &str = "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' and loop.last %}<think>\n\n</think>\n\n{% endif %}{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

#[test]
fn an_answer_that_is_written_differently_when_it_is_last_is_still_found() {
    let tokenizer = with_template(REASONING);
    let messages = [
        Message::user("a"),
        Message::assistant("yes"),
        Message::user("b"),
        Message::assistant("no"),
    ];
    assert_eq!(
        answers(&tokenizer, &messages),
        ["yes<|im_end|>", "<think>\n\n</think>\n\nno<|im_end|>"]
    );
}

#[test]
fn a_template_whose_prompt_is_not_a_prefix_is_refused_with_the_message() {
    let template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}Your turn:{% endif %}";
    let error = with_template(template)
        .encode_chat(&[Message::user("a"), Message::assistant("yes")])
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("message 2 (assistant)") && error.contains("--chat-template"),
        "{error}"
    );
}

#[test]
fn stop_tokens_come_from_the_files_and_from_the_template() {
    let json = tiny::tokenizer().to_string(false).unwrap().into_bytes();
    let config = json!({ "eos_token": "<|endoftext|>", "chat_template": tiny::CHATML })
        .to_string()
        .into_bytes();
    let files = [("tokenizer.json".to_owned(), json), ("tokenizer_config.json".to_owned(), config)];
    let tokenizer = ChatTokenizer::from_files(files.into(), Path::new("tiny"), &[7]).unwrap();
    assert_eq!(tokenizer.stop_tokens(), [7, 256, tiny::IM_END]);
}

#[test]
fn without_a_template_the_option_is_named_and_helps() {
    let json = tiny::tokenizer().to_string(false).unwrap().into_bytes();
    let files = [("tokenizer.json".to_owned(), json)];
    let bare = ChatTokenizer::from_files(files.into(), Path::new("tiny"), &[tiny::IM_END]).unwrap();
    let error = bare.encode_prompt(&[Message::user("a")]).unwrap_err().to_string();
    assert!(error.contains("--chat-template FILE"), "{error}");
    let digest = bare.digest();
    let helped = bare.with_chat_template(tiny::CHATML).unwrap();
    assert_eq!(answers(&helped, &[Message::user("a"), Message::assistant("b")]), ["b<|im_end|>"]);
    assert_ne!(helped.digest(), digest);
}

#[test]
fn templates_by_name_and_in_their_own_file() {
    let json = tiny::tokenizer().to_string(false).unwrap().into_bytes();
    let list = json!({ "chat_template": [{ "name": "tools", "template": "T" }, { "name": "default", "template": "D" }] });
    let mut files = std::collections::BTreeMap::from([
        ("tokenizer.json".to_owned(), json),
        ("tokenizer_config.json".to_owned(), list.to_string().into_bytes()),
    ]);
    let named = ChatTokenizer::from_files(files.clone(), Path::new("tiny"), &[]).unwrap();
    assert_eq!(named.chat_template(), Some("D"));
    files.insert("chat_template.jinja".to_owned(), b"F".to_vec());
    let own = ChatTokenizer::from_files(files, Path::new("tiny"), &[]).unwrap();
    assert_eq!(own.chat_template(), Some("F"));
}
