//! Conversations with thoughts, as tokens.

use std::path::Path;

use host_model::{Chat, ChatTokenizer, Message, TemplateInputs, TemplateOptions, ThoughtUse};
use serde_json::json;

use crate::chat::with_template;
use crate::tiny;

/// As Qwen 3 writes turns: thoughts of the last one alone, an empty one where there is none, and a prompt with an
/// empty thought where thinking is switched off.
const QWEN3: &str = "{%- for m in messages -%}
{%- set thought = m.reasoning_content | default('') -%}
{%- set said = m.content -%}
{%- if '</think>' in said %}{% set thought = said.split('</think>')[0].split('<think>')[-1].strip() %}{% set said = said.split('</think>')[-1].lstrip() %}{% endif -%}
{{- '<|im_start|>' + m.role + '\\n' -}}
{%- if m.role == 'assistant' and loop.last %}{{ '<think>\\n' + thought + '\\n</think>\\n\\n' }}{% endif -%}
{{- said + '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\\n' -}}
{%- if enable_thinking is defined and not enable_thinking %}{{ '<think>\\n\\n</think>\\n\\n' }}{% endif -%}
{%- endif -%}";

/// As distilled DeepSeek R1 models write turns: the prompt begins a thought, and no turn shows one.
const DEEPSEEK: &str = "{%- for m in messages -%}
{%- if m.role == 'user' %}{{ 'U:' + m.content }}{% endif -%}
{%- if m.role == 'assistant' %}{{ 'A:' + m.content.split('</think>')[-1] + '<|im_end|>' }}{% endif -%}
{%- endfor -%}
{%- if add_generation_prompt %}{{ 'A:<think>\\n' }}{% endif -%}";

/// As Qwen 3's models that always think: the prompt begins the thought that the last turn shows.
const ALWAYS: &str = "{%- for m in messages -%}
{{- '<|im_start|>' + m.role + '\\n' -}}
{%- if m.role == 'assistant' and loop.last %}{{ '<think>\\n' + m.reasoning_content | default('') + '\\n</think>\\n\\n' }}{% endif -%}
{{- m.content + '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n<think>\\n' }}{% endif -%}";

/// As Nemotron 3 writes turns: the prompt begins a thought with a line, answers without one have empty marks.
const NEMOTRON: &str = "{%- for m in messages -%}
{{- '<|im_start|>' + m.role + '\\n' -}}
{%- if m.role == 'assistant' -%}
{%- if m.reasoning_content %}{{ '<think>\\n' + m.reasoning_content + '\\n</think>\\n' }}{% else %}{{ '<think></think>' }}{% endif -%}
{%- endif -%}
{{- m.content + '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' + ('<think>\\n' if enable_thinking | default(true) else '<think></think>') }}{% endif -%}";

/// As gpt-oss writes turns, in channels.
const CHANNELS: &str = "{%- for m in messages -%}
{%- if m.role == 'assistant' -%}
{%- if loop.last and m.thinking %}{{ '<|start|>assistant<|channel|>analysis<|message|>' + m.thinking + '<|end|>' }}{% endif -%}
{{- '<|start|>assistant<|channel|>final<|message|>' + m.content + ('<|im_end|>' if loop.last else '<|end|>') -}}
{%- else %}{{ '<|start|>' + m.role + '<|message|>' + m.content + '<|end|>' }}{% endif -%}
{%- endfor -%}
{%- if add_generation_prompt %}{{ '<|start|>assistant' }}{% endif -%}";

fn thought(thought: &str, content: &str) -> Message {
    Message { reasoning: Some(thought.into()), ..Message::assistant(content) }
}

/// What each answer is, and what became of thoughts.
fn learned(
    template: &str,
    messages: &[Message],
    thinking: Option<bool>,
) -> (Vec<String>, ThoughtUse) {
    let tokenizer = with_template(template);
    let arguments = thinking.map(|on| ("enable_thinking".to_owned(), json!(on)));
    let inputs =
        TemplateInputs { kwargs: arguments.into_iter().collect(), ..TemplateInputs::default() };
    let chat = tokenizer.encode_chat(Chat { messages, inputs: &inputs }).unwrap();
    let text = |range: &std::ops::Range<usize>| {
        tokenizer.decode_with_special(&chat.tokens[range.clone()]).unwrap()
    };
    // The last answer goes on from the very tokens that the model is asked with.
    let before = Chat { messages: &messages[..messages.len() - 1], inputs: &inputs };
    let prompt = tokenizer.encode_prompt(before).unwrap();
    assert_eq!(chat.tokens[..chat.answer.last().unwrap().start], prompt);
    (chat.answer.iter().map(text).collect(), chat.thoughts)
}

#[test]
fn an_answer_is_learned_with_the_thought_that_the_template_writes() {
    let none = ThoughtUse::default();
    let given = ThoughtUse { given: 1, ..none };
    let left_out = ThoughtUse { left_out: 1, ..given };
    let emptied = ThoughtUse { emptied: 1, ..none };
    let embedded = Message::assistant("<think>\nWell.\n</think>\n\nyes");
    let unbegun = Message::assistant("Well.\n</think>\n\nyes");
    for (template, answer, thinking, wanted, used) in [
        (QWEN3, Message::assistant("yes"), None, "<think>\n\n</think>\n\nyes<|im_end|>", none),
        (QWEN3, thought("Well.", "yes"), None, "<think>\nWell.\n</think>\n\nyes<|im_end|>", given),
        (QWEN3, embedded.clone(), None, "<think>\nWell.\n</think>\n\nyes<|im_end|>", given),
        (QWEN3, Message::assistant("yes"), Some(false), "yes<|im_end|>", none),
        // What is thought can't be learned behind a prompt that has ended the thought.
        (QWEN3, thought("Well.", "yes"), Some(false), "yes<|im_end|>", left_out),
        (QWEN3, embedded.clone(), Some(false), "yes<|im_end|>", left_out),
        (DEEPSEEK, Message::assistant("yes"), None, "\n</think>\n\nyes<|im_end|>", emptied),
        (DEEPSEEK, thought("Well.", "yes"), None, "Well.\n</think>\n\nyes<|im_end|>", given),
        (DEEPSEEK, embedded.clone(), None, "Well.\n</think>\n\nyes<|im_end|>", given),
        (DEEPSEEK, Message::assistant("<b>yes"), None, "\n</think>\n\n<b>yes<|im_end|>", emptied),
        (ALWAYS, Message::assistant("yes"), None, "\n</think>\n\nyes<|im_end|>", emptied),
        (ALWAYS, thought("Well.", "yes"), None, "Well.\n</think>\n\nyes<|im_end|>", given),
        (NEMOTRON, Message::assistant("yes"), None, "\n</think>\nyes<|im_end|>", emptied),
        (NEMOTRON, thought("Well.", "yes"), None, "Well.\n</think>\nyes<|im_end|>", given),
        (NEMOTRON, Message::assistant("yes"), Some(false), "yes<|im_end|>", none),
        // The data don't show where the thought began.
        (DEEPSEEK, unbegun.clone(), None, "Well.\n</think>\n\nyes<|im_end|>", given),
        (NEMOTRON, unbegun.clone(), None, "Well.\n</think>\nyes<|im_end|>", given),
        (tiny::CHATML, unbegun, None, "Well.\n</think>\n\nyes<|im_end|>", given),
        (
            CHANNELS,
            Message::assistant("yes"),
            None,
            "<|channel|>final<|message|>yes<|im_end|>",
            none,
        ),
        (
            CHANNELS,
            thought("Well.", "yes"),
            None,
            "<|channel|>analysis<|message|>Well.<|end|><|start|>assistant<|channel|>final<|message|>yes<|im_end|>",
            given,
        ),
        (tiny::CHATML, thought("Well.", "yes"), None, "yes<|im_end|>", left_out),
        (tiny::CHATML, embedded, None, "<think>\nWell.\n</think>\n\nyes<|im_end|>", given),
    ] {
        let (answers, thoughts) =
            learned(template, &[Message::user("a"), answer.clone()], thinking);
        assert_eq!(answers, [wanted], "{template} {answer:?}");
        assert_eq!(thoughts, used, "{template} {answer:?}");
    }
}

#[test]
fn earlier_answers_are_learned_as_the_template_writes_them() {
    let messages = [
        Message::user("a"),
        thought("Well.", "yes"),
        Message::user("b"),
        Message::assistant("<think>Hm.</think>\n\nno"),
        Message::user("c"),
        thought("So.", "yes"),
    ];
    let said = ["yes<|im_end|>", "no<|im_end|>"];
    for (template, thinking, last, earlier) in [
        (QWEN3, None, "<think>\nSo.\n</think>\n\nyes<|im_end|>", 0),
        (QWEN3, Some(false), "yes<|im_end|>", 2),
        (ALWAYS, None, "So.\n</think>\n\nyes<|im_end|>", 2),
        (DEEPSEEK, None, "So.\n</think>\n\nyes<|im_end|>", 2),
    ] {
        let mut messages = messages.clone();
        if template == ALWAYS {
            messages[3] = thought("Hm.", "no");
        }
        let (answers, thoughts) = learned(template, &messages, thinking);
        // This template keeps the white space behind a thought that it leaves out.
        let second = if template == DEEPSEEK { "\n\nno<|im_end|>" } else { said[1] };
        assert_eq!(answers, [said[0], second, last], "{template}");
        assert_eq!((thoughts.earlier, thoughts.given), (earlier, 3), "{template}");
        // The last one as well where thinking is switched off.
        assert_eq!(thoughts.left_out, 2 + usize::from(thinking.is_some()), "{template}");
    }
    let channels = learned(
        CHANNELS,
        &[messages[0].clone(), messages[1].clone(), messages[2].clone(), messages[5].clone()],
        None,
    )
    .0;
    assert_eq!(channels[0], "<|channel|>final<|message|>yes");
}

#[test]
fn a_prompts_tokens_stay_whole_where_the_answer_would_run_into_them() {
    let json = tiny::tokenizer_with_merges(&[("Ċ", "Ċ")]).to_string(false).unwrap();
    let with = |template: &str| {
        let config = json!({ "eos_token": "<|im_end|>", "chat_template": template }).to_string();
        let files = [
            ("tokenizer.json".to_owned(), json.clone().into_bytes()),
            ("tokenizer_config.json".to_owned(), config.into_bytes()),
        ];
        ChatTokenizer::from_files(files.into(), Path::new("tiny"), &[]).unwrap()
    };
    for (template, answer, text) in [
        (tiny::CHATML, "\n\nyes", "\n\nyes<|im_end|>"),
        (tiny::CHATML, "\nyes", "\nyes<|im_end|>"),
        (ALWAYS, "yes", "\n</think>\n\nyes<|im_end|>"),
        (DEEPSEEK, "yes", "\n</think>\n\nyes<|im_end|>"),
    ] {
        let tokenizer = with(template);
        let messages = [Message::user("a"), Message::assistant(answer)];
        let chat = tokenizer.encode_chat(&messages).unwrap();
        let prompt = tokenizer.encode_prompt(&messages[..1]).unwrap();
        assert_eq!(chat.tokens[..chat.answer[0].start], prompt);
        assert_eq!(
            tokenizer.decode_with_special(&chat.tokens[chat.answer[0].clone()]).unwrap(),
            text
        );
        let starts = tokenizer.answer_starts(&messages).unwrap().remove(0);
        assert_eq!((starts[0], *starts.last().unwrap()), (0, answer.len()));
    }
}

#[test]
fn the_first_word_of_an_answer_stands_behind_the_thought() {
    let opening = |template: &str| {
        let tokenizer = with_template(template);
        let messages = [Message::user("a"), Message::assistant("yes")];
        let to_answer = tokenizer.encode_to_answer(&messages[..1]).unwrap();
        let whole = tokenizer.encode_chat(&messages).unwrap().tokens;
        assert!(whole.starts_with(&to_answer), "{template}");
        let rest = tokenizer.decode_with_special(&whole[to_answer.len()..]).unwrap();
        assert!(rest.starts_with("yes"), "{template}");
        assert_eq!(tokenizer.thinks(), template != tiny::CHATML, "{template}");
        let prompt = tokenizer.encode_prompt(&messages[..1]).unwrap();
        tokenizer.decode_with_special(&to_answer[prompt.len()..]).unwrap()
    };
    assert_eq!(opening(tiny::CHATML), "");
    assert_eq!(opening(QWEN3), "<think>\n\n</think>\n\n");
    assert_eq!(opening(DEEPSEEK), "\n</think>\n\n");
    assert_eq!(opening(ALWAYS), "\n</think>\n\n");
    assert_eq!(opening(CHANNELS), "<|channel|>final<|message|>");
    let off = TemplateOptions {
        arguments: [("enable_thinking".to_owned(), json!(false))].into(),
        ..TemplateOptions::default()
    };
    let tokenizer = with_template(QWEN3).with_template(&off, None).unwrap();
    let asked = [Message::user("a")];
    let prompt = tokenizer.encode_prompt(&asked).unwrap();
    assert_eq!(tokenizer.encode_to_answer(&asked).unwrap(), prompt);
    assert_ne!(tokenizer.digest(), with_template(QWEN3).digest());
}

#[test]
fn what_is_generated_is_told_apart_into_thought_and_answer() {
    for (template, generated, thought, answer, finished) in [
        (QWEN3, "<think>\n\n</think>\n\nyes", None, "yes", true),
        (QWEN3, "<think>\nWell.\n</think>\n\n yes ", Some("Well."), "yes ", true),
        (QWEN3, "<think>\nWell, I", Some("Well, I"), "", false),
        (QWEN3, " yes", None, " yes", true),
        (DEEPSEEK, "Well.\n</think>\n\nyes", Some("Well."), "yes", true),
        (DEEPSEEK, "Well, it", Some("Well, it"), "", false),
        (ALWAYS, "\n</think>\n\nyes", None, "yes", true),
        (CHANNELS, "<|channel|>final<|message|>yes", None, "yes", true),
        (
            CHANNELS,
            "<|channel|>analysis<|message|>Well.<|end|><|start|>assistant<|channel|>final<|message|>yes",
            Some("Well."),
            "yes",
            true,
        ),
        (tiny::CHATML, "yes </think> no", None, "yes </think> no", true),
        (tiny::CHATML, "hm hm\n</think>\n\nyes", Some("hm hm"), "yes", true),
        (NEMOTRON, "\n</think>\nyes", None, "yes", true),
        (tiny::CHATML, "<think>Well.</think>yes<|endoftext|>", Some("Well."), "yes", true),
    ] {
        let tokenizer = with_template(template);
        let prompt = tokenizer.encode_prompt(&[Message::user("a")]).unwrap();
        let spoken = tokenizer.spoken(&prompt, &tokenizer.encode(generated).unwrap()).unwrap();
        assert_eq!(spoken.answer, answer, "{template} {generated}");
        assert_eq!(
            (spoken.thought.as_deref(), spoken.finished),
            (thought, finished),
            "{generated}"
        );
    }
}

#[test]
fn answers_that_a_template_marks_elsewhere_than_its_prompt_ends_are_told() {
    let marked = NEMOTRON
        .replace("{%- if m.role == 'assistant' -%}", "{%- if m.role == 'assistant' %}{% generation -%}")
        .replace("{%- endif -%}\n{{- m.content + '<|im_end|>\\n' -}}", "{{- m.content + '<|im_end|>\\n' }}{% endgeneration -%}{%- else %}{{ m.content + '<|im_end|>\\n' }}{% endif -%}");
    let tokenizer = with_template(&marked);
    let asked = Message::user("a");
    let plain = tokenizer.encode_chat(&[asked.clone(), Message::assistant("yes")]).unwrap();
    let learned = tokenizer.decode_with_special(&plain.tokens[plain.answer[0].clone()]).unwrap();
    // As transformers' mask.
    assert_eq!(learned, "<think></think>yes<|im_end|>\n");
    let unlike = plain.unlike.unwrap();
    assert_eq!((unlike.asked.as_str(), unlike.switch), (">\n", Some("enable_thinking")));
    assert!(unlike.learned.starts_with("></"), "{unlike:?}");
    let thought = tokenizer.encode_chat(&[asked.clone(), thought("Well.", "yes")]).unwrap();
    assert_eq!(thought.unlike, None);
    // What is advised helps.
    let kwargs = [("enable_thinking".to_owned(), json!(false))].into();
    let inputs = TemplateInputs { kwargs, ..TemplateInputs::default() };
    let messages = [asked, Message::assistant("yes")];
    let off = tokenizer.encode_chat(Chat { messages: &messages, inputs: &inputs }).unwrap();
    assert_eq!(off.unlike, None);
}
