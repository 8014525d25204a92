//! Conversations as tokens.

use std::path::Path;

use host_model::{Chat, ChatTokenizer, Message, TemplateInputs, TemplateOptions};
use serde_json::json;

use crate::tiny;

pub fn with_template(template: &str) -> ChatTokenizer {
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
    for part in ["message 2 (assistant)", "\"assistant: yes", "\"Your turn:\"", "--chat-template"] {
        assert!(error.contains(part), "{error}");
    }
    // It is the last one already.
    assert!(!error.contains("split"), "{error}");
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
fn white_space_behind_the_end_of_a_marked_answer_is_not_its_end() {
    let marked = "{%- for m in messages -%}{{ '<|im_start|>' + m.role + '\\n' }}{% generation %}{{ m.content + '<|im_end|>\\n' }}{% endgeneration %}{%- endfor -%}{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif -%}";
    let marked =
        marked.replace("{% generation %}", "{% if m.role == 'assistant' %}{% generation %}");
    let marked = marked.replace(
        "{% endgeneration %}",
        "{% endgeneration %}{% else %}{{ m.content + '<|im_end|>\\n' }}{% endif %}",
    );
    let json = tiny::tokenizer().to_string(false).unwrap().into_bytes();
    let config =
        json!({ "eos_token": "<|endoftext|>", "chat_template": marked }).to_string().into_bytes();
    let files = [("tokenizer.json".to_owned(), json), ("tokenizer_config.json".to_owned(), config)];
    let tokenizer = ChatTokenizer::from_files(files.into(), Path::new("tiny"), &[]).unwrap();
    let chat = tokenizer.encode_chat(&[Message::user("a"), Message::assistant("b")]).unwrap();
    let answer = &chat.tokens[chat.answer[0].clone()];
    assert_eq!(tokenizer.decode_with_special(answer).unwrap(), "b<|im_end|>\n");
    assert_eq!(tokenizer.ending(answer), Some(tiny::IM_END));
    assert_eq!(tokenizer.ending(&answer[..1]), answer.first().copied());
    assert!(tokenizer.stop_tokens().contains(&tiny::IM_END));
}

#[test]
fn special_tokens_of_other_names_are_given_to_the_template() {
    let json = tiny::tokenizer().to_string(false).unwrap().into_bytes();
    let with = |mut config: serde_json::Value, map: serde_json::Value| {
        config["chat_template"] = "{{ eot_token }}|{{ eot }}|{{ add_bos_token }}".into();
        let files = [
            ("tokenizer.json".to_owned(), json.clone()),
            ("tokenizer_config.json".to_owned(), config.to_string().into_bytes()),
            ("special_tokens_map.json".to_owned(), map.to_string().into_bytes()),
        ];
        ChatTokenizer::from_files(files.into(), Path::new("tiny"), &[]).unwrap()
    };
    for (config, map, wanted) in [
        (json!({ "eot_token": "<|im_end|>", "add_bos_token": true }), json!({}), "<|im_end|>||"),
        (json!({ "eot_token": { "content": "<|im_end|>" } }), json!({}), "<|im_end|>||"),
        (json!({ "extra_special_tokens": { "eot_token": "A", "eot": "B" } }), json!({}), "A|B|"),
        (json!({ "extra_special_tokens": ["A"] }), json!({ "eot_token": "C" }), "C||"),
        (json!({ "added_tokens_decoder": {} }), json!({ "eot_token": "C" }), "||"),
    ] {
        let tokenizer = with(config.clone(), map);
        assert_eq!(tokenizer.render(&[Message::user("a")], false).unwrap(), wanted, "{config}");
        let plain = with(json!({}), json!({})).digest();
        assert_eq!(tokenizer.digest() != plain, wanted != "||", "{config}");
    }
}

#[test]
fn without_a_template_the_option_is_named_and_helps() {
    let json = tiny::tokenizer().to_string(false).unwrap().into_bytes();
    let files = [("tokenizer.json".to_owned(), json)];
    let bare = ChatTokenizer::from_files(files.into(), Path::new("tiny"), &[tiny::IM_END]).unwrap();
    let error = bare.encode_prompt(&[Message::user("a")]).unwrap_err().to_string();
    assert!(error.contains("--chat-template FILE"), "{error}");
    let digest = bare.digest();
    let helped = bare.with_template(&TemplateOptions::default(), Some(tiny::CHATML)).unwrap();
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

/// Marks its answers itself, and thoughts in the last one alone.
const MARKED: &str = "{%- for m in messages -%}<{{ m.role }}>
{%- if m.role == 'assistant' -%}
{%- generation %}{% if loop.last %}T:{{ m.reasoning_content | default('') }};{% endif %}{{ m.content }}{% endgeneration -%}
{%- generation %}!{% endgeneration %}.
{%- else %}{{ m.content }}{% endif -%}
{%- endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";

#[test]
fn a_template_that_marks_answers_says_where_they_are() {
    let messages = [
        Message::user("a"),
        Message::assistant("yes"),
        Message::user("b"),
        Message { learn: false, ..Message::assistant("draft") },
        Message::user("c"),
        Message { reasoning: Some("Well".into()), ..Message::assistant("no") },
    ];
    assert_eq!(answers(&with_template(MARKED), &messages), ["yes!", "T:Well;no!"]);
    let unmarked =
        MARKED.replace("{%- generation %}", "{% if m.content == 'marked' %}{% generation %}");
    let unmarked = unmarked.replace("{% endgeneration", "{% endgeneration %}{% endif");
    let messages = [
        Message::user("a"),
        Message::assistant("b"),
        Message::user("a"),
        Message::assistant("marked"),
    ];
    let error = with_template(&unmarked).encode_chat(&messages).unwrap_err().to_string();
    assert!(error.contains("message 2 (assistant) isn't marked"), "{error}");
}

#[test]
fn a_model_with_several_templates_uses_the_one_for_tools_and_the_one_that_is_named() {
    let json = tiny::tokenizer().to_string(false).unwrap().into_bytes();
    let with = |templates: serde_json::Value| {
        let config = json!({ "chat_template": templates }).to_string().into_bytes();
        let files = [
            ("tokenizer.json".to_owned(), json.clone()),
            ("tokenizer_config.json".to_owned(), config),
        ];
        ChatTokenizer::from_files(files.into(), Path::new("tiny"), &[]).unwrap()
    };
    let named =
        |name: &str| TemplateOptions { name: Some(name.into()), ..TemplateOptions::default() };
    let tools = TemplateInputs { tools: Some(json!([{}])), ..TemplateInputs::default() };
    let messages = [Message::user("a")];
    let plain = Chat::from(&messages);
    let with_tools = Chat { inputs: &tools, ..plain };

    let both = with(json!({ "default": "D", "tool_use": "T", "rag": "R" }));
    assert_eq!(both.render(plain, false).unwrap(), "D");
    assert_eq!(both.render(with_tools, false).unwrap(), "T");
    let rag = both.clone().with_template(&named("rag"), None).unwrap();
    assert_eq!(rag.render(with_tools, false).unwrap(), "R");
    let error = both.clone().with_template(&named("rug"), None).unwrap_err().to_string();
    assert!(
        error.contains("\"rug\"") && error.contains("\"default\", \"rag\", \"tool_use\""),
        "{error}"
    );

    let none = with(json!([{ "name": "a", "template": "A" }, { "name": "b", "template": "B" }]));
    let error = none.render(plain, false).unwrap_err().to_string();
    assert!(
        error.contains("\"a\", \"b\"") && error.contains("model.chat_template_name"),
        "{error}"
    );
    let named = none.with_template(&named("b"), None).unwrap();
    assert_eq!(named.render(plain, false).unwrap(), "B");

    // A template that isn't valid is named where it is used; another can replace it.
    let broken = with(json!("{% if %}"));
    assert!(broken.render(plain, false).unwrap_err().to_string().contains("line 1"));
    let options = TemplateOptions::default();
    assert!(broken.clone().with_template(&options, None).is_err());
    assert_eq!(
        broken.with_template(&options, Some("X")).unwrap().render(plain, false).unwrap(),
        "X"
    );
}
