#![allow(clippy::unwrap_used)]
// A list of one range is meant: one answer.
#![allow(clippy::single_range_in_vec_init)]
use std::path::Path;

use host_model::TemplateOptions;

use super::*;
use crate::config::DataConfig;
use crate::notices::{Notices, OnBadRow};
use crate::rows::parse_rows;
use crate::training::encode_training;

type Coded = std::result::Result<(Vec<u32>, Vec<Range<usize>>), String>;

/// One token per character, each message closed by a `;`.
fn characters(chat: Chat<'_>) -> Coded {
    let (mut tokens, mut answers) = (Vec::new(), Vec::new());
    for message in chat.messages {
        let start = tokens.len();
        tokens.extend(message.content.chars().chain([';']).map(u32::from));
        if message.role == "assistant" {
            answers.push(start..tokens.len());
        }
    }
    Ok((tokens, answers))
}

fn text(tokens: &[u32]) -> String {
    tokens.iter().filter_map(|token| char::from_u32(*token)).collect()
}

fn rows(pairs: &[(&str, &str)]) -> Vec<Row> {
    let lines: Vec<String> = pairs
        .iter()
        .map(|(prompt, answer)| serde_json::json!({"prompt": prompt, "answer": answer}).to_string())
        .collect();
    parse_rows(Path::new("task.jsonl"), lines.join("\n").into_bytes()).unwrap()
}

#[test]
fn samples_keep_order_identity_and_answer() {
    let rows = rows(&[("question", "yes"), ("ab", "no")]);
    let encoded = encode_rows(&rows, 100, Overlong::Error, characters).unwrap();
    assert_eq!(encoded.warning(), None);
    for (row, sample) in rows.iter().zip(&encoded.samples) {
        assert_eq!((row.id, &row.place), (sample.id, &sample.place));
        let answer = sample.answer[0].clone();
        assert_eq!(text(&sample.tokens[answer.clone()]), format!("{};", row.messages[1].content));
        assert_eq!(sample.prompt_len, answer.start);
        assert_eq!(sample.answer_tokens(), answer.len());
    }
}

#[test]
fn over_long_rows_are_dropped_and_counted() {
    let rows = rows(&[("ab", "no"), ("ab", "very long"), ("much too long", "no")]);
    let encoded = encode_rows(&rows, 6, Overlong::Drop, characters).unwrap();
    assert_eq!((encoded.samples.len(), encoded.dropped, encoded.cut), (1, 2, 0));
    let warning = encoded.warning().unwrap();
    assert_eq!(
        warning,
        "dropped 2 of 3 rows with more than 6 tokens (the first is task.jsonl, line 2 with 13)"
    );
}

#[test]
fn over_long_answers_are_cut_at_the_limit() {
    let rows = rows(&[("ab", "no"), ("ab", "very long"), ("much too long", "no")]);
    let encoded = encode_rows(&rows, 6, Overlong::Answer, characters).unwrap();
    assert_eq!((encoded.samples.len(), encoded.dropped, encoded.cut), (2, 1, 1));
    let cut = &encoded.samples[1];
    assert_eq!(
        (text(&cut.tokens), cut.answer.clone(), cut.prompt_len),
        ("ab;ver".into(), vec![3..6], 3)
    );
    assert!(encoded.warning().unwrap().starts_with("cut the answer of 1 and dropped 1 of 3 rows"));
}

#[test]
fn cutting_keeps_the_answers_that_fit() {
    let mut long = rows(&[("ab", "no")]);
    let again = long[0].messages.clone();
    long[0].messages.extend(again.clone());
    long[0].messages.extend(again);
    // Rows of 18 tokens with answers at 3..6, 9..12 and 15..18.
    let encoded = encode_rows(&long, 10, Overlong::Answer, characters).unwrap();
    assert_eq!(encoded.samples[0].answer, [3..6, 9..10]);
    let encoded = encode_rows(&long, 9, Overlong::Answer, characters).unwrap();
    assert_eq!(encoded.samples[0].answer, [3..6]);
}

#[test]
fn over_long_rows_are_refused_where_asked_or_if_nothing_is_left() {
    let rows = rows(&[("ab", "no"), ("ab", "very long")]);
    let error = encode_rows(&rows, 6, Overlong::Error, characters).unwrap_err().to_string();
    assert!(
        error.contains("task.jsonl, line 2: the row has 13 tokens, 3 of them prompt, and only 6"),
        "{error}"
    );
    let error = encode_rows(&rows, 3, Overlong::Drop, characters).unwrap_err().to_string();
    assert!(
        error.contains(
            "all 2 rows have more than 3 tokens (the first is task.jsonl, line 1 with 6)"
        ),
        "{error}"
    );
    assert!(encode_rows(&rows, 6, Overlong::Drop, characters).is_ok());
}

#[test]
fn a_failing_or_senseless_template_is_named_with_the_first_row() {
    let rows = rows(&[("ab", "no"), ("cd", "no")]);
    let error = |coded: fn(Chat<'_>) -> Coded| {
        encode_rows(&rows, 9, Overlong::Drop, coded).unwrap_err().to_string()
    };
    assert_eq!(
        error(|_| Err("roles must alternate".into())),
        "task.jsonl, line 1: roles must alternate"
    );
    assert!(error(|_| Ok((vec![1, 2], vec![0..2]))).contains("no prompt before the answer"));
    assert!(error(|_| Ok((vec![1, 2], vec![]))).contains("no prompt before the answer"));
    assert!(error(|_| Ok((vec![1, 2], vec![1..3]))).contains("line 1"));
    #[expect(clippy::reversed_empty_ranges)]
    let backwards = error(|_| Ok((vec![1, 2, 3], vec![2..1])));
    assert!(backwards.contains("answer without tokens"));
}

#[test]
fn the_example_marks_what_is_learned() {
    let sample =
        &encode_rows(&rows(&[("ab\ncd", "no")]), 9, Overlong::Drop, characters).unwrap().samples[0];
    let shown = show_example(sample, text);
    assert_eq!(
        shown,
        "task.jsonl, line 1: 6 prompt tokens, 3 answer tokens; only ⟦this⟧ is learned\n  ab\n  cd;⟦no;⟧"
    );
}

#[test]
fn rows_that_the_template_refuses_are_left_out_if_that_is_wanted() {
    let template = "{% for m in messages %}{% if m.content == 'bad' %}{{ raise_exception('no') }}\
        {% endif %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}\
        {% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
    let tokenizer = crate::demo::model().tokenizer;
    let tokenizer = tokenizer.with_template(&TemplateOptions::default(), Some(template)).unwrap();
    let mut pairs = vec![("good", "yes"); 200];
    pairs[41] = ("bad", "yes");
    let rows = rows(&pairs);
    let encode = |on_bad_row, bad_row_limit| {
        let config = DataConfig { on_bad_row, bad_row_limit, ..DataConfig::default() };
        let mut notices = Notices::default();
        notices.of(&rows[0].place.file).rows = rows.len();
        let encoded = encode_training(&rows, &config, &tokenizer, &mut notices);
        encoded.map(|encoded| (encoded.samples.len(), notices))
    };
    let error = encode(OnBadRow::Error, 0.01).unwrap_err().to_string();
    assert!(error.contains("line 42") && error.contains("--on-bad-row skip"), "{error}");
    let (samples, notices) = encode(OnBadRow::Skip, 0.01).unwrap();
    assert_eq!(samples, 199);
    let line = notices.lines().next().unwrap();
    assert!(line.contains("left out 1 of 200 rows") && line.contains("(42)"), "{line}");
    assert!(encode(OnBadRow::Skip, 0.0).unwrap_err().to_string().contains("1 of 200 rows are bad"));

    // What is wrong with all of them is the template's fault, and leaving out can't help.
    let all = format!("{{{{ raise_exception('no') }}}}{template}");
    let tokenizer = tokenizer.with_template(&TemplateOptions::default(), Some(&all)).unwrap();
    for on_bad_row in [OnBadRow::Error, OnBadRow::Skip] {
        let config = DataConfig { on_bad_row, ..DataConfig::default() };
        let mut notices = Notices::default();
        notices.of(&rows[0].place.file).rows = rows.len();
        let error =
            encode_training(&rows, &config, &tokenizer, &mut notices).unwrap_err().to_string();
        assert!(error.contains("line 1:") && !error.contains("bad"), "{error}");
    }
}

const CHATML: &str = "{%- for m in messages -%}{{ '<|im_start|>' + m.role + '\\n' }}{{ (m.content or '') + '<|im_end|>\\n' }}{%- endfor -%}\
    {%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif -%}";

/// What is told of a row under a template, or why it is refused.
fn told(template: &str, row: &serde_json::Value) -> String {
    let tokenizer = crate::demo::model().tokenizer;
    let tokenizer = tokenizer.with_template(&TemplateOptions::default(), Some(template)).unwrap();
    let (path, config) = (Path::new("task.jsonl"), DataConfig::default());
    let mut notices = Notices::default();
    let row = row.to_string();
    let input = crate::input::Input::of(path, row.as_bytes()).unwrap();
    let (rows, of_file) = crate::rows::training_rows(input, &config.bad_rows()).unwrap();
    notices.add(of_file);
    match encode_training(&rows, &config, &tokenizer, &mut notices) {
        Ok(encoded) => {
            notices.lines().chain(encoded.about_thoughts()).collect::<Vec<_>>().join("\n")
        }
        Err(error) => error.to_string(),
    }
}

#[test]
fn what_a_template_leaves_out_or_changes_is_found_in_what_it_renders() {
    use serde_json::json;
    let chat = |answer: serde_json::Value| {
        json!({"messages": [
            {"role": "user", "content": "q"}, answer,
            {"role": "user", "content": "r"}, {"role": "assistant", "content": "bee bee"},
        ]})
    };
    let plain = chat(json!({"role": "assistant", "content": "yes"}));
    assert_eq!(told(CHATML, &plain), "");
    let upper = CHATML.replace("(m.content or '')", "m.content | upper");
    let cut = CHATML.replace("(m.content or '')", "m.content[:5]");
    for template in [&upper, &cut] {
        let told = told(template, &plain);
        assert!(told.contains("changes the text of answers in 1 of 1 rows"), "{template} {told}");
    }

    // Tools and calls, of which the template knows the words.
    let mut tools = plain.clone();
    tools["tools"] = json!([{"type": "function", "function": {"name": "w"}}]);
    let function = json!({"name": "w", "arguments": {"a": 1}});
    let mut calls = chat(json!({"role": "assistant", "content": "I look.", "tool_calls": [
        {"id": "1", "type": "function", "function": function}]}));
    calls["messages"][2] = json!({"role": "tool", "content": "r", "tool_call_id": "1"});
    let word =
        format!("{{% if tools and tool_choice is defined %}}{{{{ tools }}}}{{% endif %}}{CHATML}");
    assert!(told(&word, &tools).contains("`tools` isn't read"), "{}", told(&word, &tools));
    let all = format!("{{% if tools %}}{{{{ tools | tojson }}}}{{% endif %}}{CHATML}");
    assert_eq!(told(&all, &tools), "");
    let with_calls = |calls: &str| CHATML.replace("(m.content or '')", calls);
    let name = "(m.tool_calls[0].function.name if m.tool_calls else m.content)";
    let both = "((m.content + m.tool_calls[0].function | tojson) if m.tool_calls else m.content)";
    let lost = "(m.tool_calls[0].function | tojson if m.tool_calls else m.content)";
    let unread = format!("{{% if messages[0].tool_calls %}}{{% endif %}}{CHATML}");
    for template in [&unread, &with_calls(name)] {
        assert!(told(template, &calls).contains("`tool_calls` isn't read"), "{template}");
    }
    assert_eq!(told(&with_calls(both), &calls), "");
    let text = told(&with_calls(lost), &calls);
    assert!(text.contains("leaves out `messages[].content beside tool_calls` in 1 of 1"), "{text}");

    // Keys of messages.
    let mut keys = plain.clone();
    keys["messages"][0]["tools"] = "[]".into();
    keys["messages"][0]["id"] = 1.into();
    assert!(told(CHATML, &keys).contains("ignored: `messages[].id`"));
    let reads = CHATML.replace("(m.content or '')", "(m['tools'] or '') + m.content");
    let text = told(&reads, &keys);
    assert!(text.contains("reads a key `tools` of messages"), "{text}");

    // Thoughts, by their number.
    let mut thoughts =
        chat(json!({"role": "assistant", "content": "yes", "reasoning_content": "hm"}));
    thoughts["messages"][3]["reasoning_content"] = "so".into();
    let last = CHATML.replace(
        "(m.content or '')",
        "((m.reasoning_content or '') if loop.last else '') + m.content",
    );
    let text = told(&last, &thoughts);
    assert!(text.contains("leaves out 1 of 2 thoughts of answers"), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
}

#[test]
fn answers_that_are_asked_for_otherwise_than_they_are_learned_are_told() {
    let marked = "{%- for m in messages -%}{{ '<|im_start|>' + m.role + '\\n' }}{% if m.role == 'assistant' %}\
        {% generation %}{{ '<think></think>' + m.content + '<|im_end|>' }}{% endgeneration %}{% else %}{{ m.content }}\
        {% endif %}{%- endfor -%}{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}\
        {{ '<think></think>' if enable_thinking is defined and not enable_thinking else '<think>\\n' }}{% endif -%}";
    let row = serde_json::json!({"prompt": "q", "answer": "yes"});
    let text = told(marked, &row);
    for part in
        ["in 1 of 1 rows", "another beginning", "model.template_arguments.enable_thinking to false"]
    {
        assert!(text.contains(part), "{text}");
    }
    let off = serde_json::json!({"prompt": "q", "answer": "yes", "chat_template_kwargs": {"enable_thinking": false}});
    assert_eq!(told(marked, &off), "");
}
