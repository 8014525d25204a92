#![allow(clippy::unwrap_used)]
use std::path::Path;

use super::*;

fn rows(text: &str) -> Result<Vec<Row>> {
    parse_rows(Path::new("task.jsonl"), text.as_bytes().to_vec())
}

fn prompts(text: &str) -> Result<Vec<Prompt>> {
    parse_prompts(Path::new("eval.jsonl"), text.as_bytes().to_vec())
}

fn turns(row: &Row) -> Vec<(&str, &str)> {
    row.messages.iter().map(|m| (m.role.as_str(), m.content.as_str())).collect()
}

/// The message of the error that `text` gives; it must hold every part.
fn assert_error(text: &str, parts: &[&str]) {
    assert_message(&rows(text).unwrap_err(), parts);
}

fn assert_message(error: &Error, parts: &[&str]) {
    let message = error.to_string();
    assert!(!message.contains('\n'), "more than one line: {message}");
    for part in parts {
        assert!(message.contains(part), "`{part}` is missing in: {message}");
    }
}

const GOOD: &str = r#"{"prompt":"Hello?","answer":"Yes."}"#;

/// The first eight bytes of the SHA-256 of `[["user","Hello?"],["assistant","Yes."]]`.
const GOLDEN_ID: u64 = 0xf386_4575_242f_f921;

#[test]
fn every_shape_becomes_the_same_conversation() {
    let same = [
        r#"{"messages":[{"role":"user","content":"Hello?"},{"role":"assistant","content":"Yes."}]}"#,
        r#"{"conversations":[{"from":"human","value":"Hello?"},{"from":"gpt","value":"Yes."}],"id":"x"}"#,
        r#"{"instruction":"Hello?","input":"","output":"Yes."}"#,
        r#"{"instruction":"Hello?","output":"Yes."}"#,
        r#"{"prompt":"Hello?","completion":"Yes."}"#,
        r#"{"prompt":"Hello?","response":"Yes.","label":1}"#,
        r#"{"question":"Hello?","answer":"Yes.","extra":{"a":[1]}}"#,
        r#"{"prompt":[{"role":"user","content":"Hello?"}],"completion":[{"role":"assistant","content":"Yes."}]}"#,
        GOOD,
    ];
    for text in same {
        let found = rows(text).unwrap();
        assert_eq!(turns(&found[0]), [("user", "Hello?"), ("assistant", "Yes.")], "{text}");
        assert_eq!(found[0].id, rows(GOOD).unwrap()[0].id);
    }
}

#[test]
fn an_instructions_input_and_a_system_text_are_kept() {
    let row = &rows(
        r#"{"system":"Be brief.","instruction":"Translate.","input":"Haus","output":"house"}"#,
    )
    .unwrap()[0];
    assert_eq!(
        turns(row),
        [("system", "Be brief."), ("user", "Translate.\n\nHaus"), ("assistant", "house")]
    );
    let row = &rows(
        r#"{"messages":[{"role":"system","content":""},{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}"#,
    )
    .unwrap()[0];
    assert_eq!(turns(row)[0], ("system", ""));
}

#[test]
fn the_id_is_that_of_the_content() {
    let ids: Vec<u64> = rows(&[GOOD, GOOD, r#"{"prompt":"Hello?Yes","answer":"."}"#].join("\n"))
        .unwrap()
        .iter()
        .map(|row| row.id)
        .collect();
    assert_eq!(ids[0], ids[1]);
    assert_ne!(ids[0], ids[2]);
    assert_eq!(ids[0], GOLDEN_ID);
}

#[test]
fn lines_and_arrays_know_their_lines() {
    let numbers = |name: &str, text: &str| -> Vec<usize> {
        let rows = parse_rows(Path::new(name), text.as_bytes().to_vec()).unwrap();
        rows.iter().map(|row| row.place.number).collect()
    };
    assert_eq!(numbers("a.jsonl", &format!("\u{feff}{GOOD}\r\n\r\n  {GOOD}\n")), [1, 3]);
    assert_eq!(numbers("a.json", &format!("[\n{GOOD},\n\n {GOOD}\n, {GOOD} ]\n")), [2, 4, 5]);
    // The content decides, whatever the name.
    assert_eq!(numbers("a.jsonl", &format!("[{GOOD}]")), [1]);
    assert_eq!(numbers("a.txt", GOOD), [1]);
}

#[test]
fn broken_files_are_named_with_their_line() {
    let broken = GOOD.replace("Yes.\"}", "Yes.");
    assert_error(
        &format!("{GOOD}\n{broken}"),
        &["task.jsonl, line 2", "not valid JSON", "correct or remove"],
    );
    assert_error(&format!("[{GOOD},\n{GOOD}"), &["line 2", "closed with `]`"]);
    assert_error(&format!("[{GOOD}\n{GOOD}]"), &["line 2", "found `{` where `,`"]);
    assert_error(&format!("[{GOOD},\n{{\"prompt\":\n nul}}]"), &["line 3", "not valid JSON"]);
    assert_error(&format!("[{GOOD}]\n{GOOD}"), &["line 2", "after the array's closing"]);
    assert_error(&format!("{GOOD}\n[1]"), &["line 2", "found a list instead of a row"]);
    assert_error("[1, 2]", &["line 1", "must be a JSON object"]);
    assert_error("", &["task.jsonl has no rows"]);
    assert_error("\n  \n", &["task.jsonl has no rows"]);
    assert_error("[ ]", &["task.jsonl has no rows"]);
    for array in [false, true] {
        let mut bytes =
            (if array { format!("[{GOOD},\n{GOOD}") } else { format!("{GOOD}\n{GOOD}") })
                .into_bytes();
        let at = bytes.len() - 5;
        bytes[at] = 0xff;
        let error = parse_rows(Path::new("task.jsonl"), bytes).unwrap_err();
        assert_message(
            &error,
            &["task.jsonl, line 2", &format!("byte {}", GOOD.len() - 4), "save the file as UTF-8"],
        );
    }
    let missing = crate::read_rows(
        &[crate::DataSource::whole("/nowhere/task.jsonl")],
        1,
        &BadRows::default(),
    )
    .unwrap_err();
    assert_message(&missing, &["can't read", "/nowhere/task.jsonl", "check the path"]);
}

#[test]
fn foreign_files_are_recognised() {
    let error = |name: &str, bytes: &[u8]| parse_rows(Path::new(name), bytes.to_vec()).unwrap_err();
    assert_message(
        &error("a.txt", b"some words\n"),
        &["a.txt", "neither as JSON nor as Parquet", "CSV"],
    );
    assert_message(&error("a.jsonl.gz", b"\x1f\x8b\x08"), &["can't be unpacked with gzip"]);
    assert_message(&error("a.jsonl.xz", b"\xfd7zXZ\0\0"), &["packed with xz", "gzip or zstd"]);
    assert_message(&error("a.jsonl", b"\xff\xfe{\0"), &["UTF-16", "as UTF-8"]);
    assert_message(&error("a.csv", b"p\0r\0o\0"), &["UTF-16", "as UTF-8"]);
    assert_message(&error("a.parquet", GOOD.as_bytes()), &["called .parquet but"]);
    assert_message(&error("a.jsonl", b"prompt,answer\n"), &["a.jsonl, line 1", "not valid JSON"]);
}

#[test]
fn rows_that_teach_nothing_are_refused() {
    let second = |row: &str| format!("{GOOD}\n{row}");
    assert_error(
        &second(r#"{"prompt":"Hello?"}"#),
        &["line 2", "no answer", "beside `prompt`", "remove the row"],
    );
    assert_error(&second(r#"{"prompt":"Hello?","answer":null}"#), &["line 2", "no answer"]);
    assert_error(&second(r#"{"prompt":"Hello?","answer":" "}"#), &["line 2", "`answer` is empty"]);
    assert_error(&second(r#"{"prompt":"","answer":"Yes."}"#), &["line 2", "`prompt` is empty"]);
    assert_error(
        &second(r#"{"prompt":"Hello?","answer":4}"#),
        &["line 2", "`answer` is a number but must be text"],
    );
    assert_error(
        &second(r#"{"answers":"Yes."}"#),
        &["line 2", "`answers`", "did you mean `answer` for `answers`?"],
    );
    assert_error(&second("{}"), &["line 2", "it has no keys"]);
    assert_error(
        &second(r#"{"question":"Hello?","answer":"Yes."}"#),
        &["line 2", "`question` + `answer`", "`prompt` + `answer`", "one shape per file"],
    );
    assert_error(r#"{"text":"Hello"}"#, &["line 1", "`text`", "`prompt` + `completion`"]);
}

#[test]
fn conversations_that_cannot_be_learned_are_refused() {
    let chat = |turns: &[(&str, &str)]| {
        let list: Vec<Value> = turns
            .iter()
            .map(|(role, content)| serde_json::json!({"role": role, "content": content}))
            .collect();
        serde_json::json!({"messages": list}).to_string()
    };
    assert!(
        rows(&chat(&[("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")]))
            .is_ok()
    );
    assert_error(
        &chat(&[("user", "a"), ("assistant", "b"), ("user", "c")]),
        &["line 1", "`user`, not from the assistant"],
    );
    assert_error(&chat(&[("user", "a")]), &["no answer", "no message comes from the assistant"]);
    assert_error(&chat(&[("assistant", "a")]), &["asks nothing", "the assistant speaks first"]);
    assert_error(
        &chat(&[("user", "a"), ("critic", "b")]),
        &["`messages[1].role`", "unsupported role `critic`", "rename it"],
    );
    assert_error(&chat(&[("user", "a"), ("assistant", "\n")]), &["`messages[1].content` is empty"]);
    assert_error(&chat(&[]), &["`messages` is empty"]);
    assert_error(r#"{"messages":"hello"}"#, &["`messages` is text but must be a list"]);
    assert_error(r#"{"messages":["hello"]}"#, &["`messages[0]` is text"]);
    assert_error(
        r#"{"messages":[{"role":"user","content":7}]}"#,
        &["`messages[0].content` is a number"],
    );
    assert_error(
        r#"{"messages":[{"content":"a"}]}"#,
        &["`messages[0].role` is absent but must be system, user, assistant or tool"],
    );
    assert_error(
        r#"{"messages":[{"role":"user","content":[{"type":"image_url","image_url":""}]}]}"#,
        &["`messages[0].content[0]`", "image_url", "a text part"],
    );
}

#[test]
fn prompts_keep_answer_label_and_split() {
    let found = prompts(
        r#"{"prompt":"a","label":1,"split":"val"}
           {"prompt":"b","label":"harmless"}
           {"prompt":"c"}"#,
    )
    .unwrap();
    assert_eq!((found[0].harmful().unwrap(), found[0].split), (true, Some(Split::Validation)));
    assert_eq!((found[1].harmful().unwrap(), found[1].split), (false, None));
    assert_message(
        &found[2].harmful().unwrap_err(),
        &["eval.jsonl, line 3", "`label` is absent", "harmful"],
    );
    let with_answer = &prompts(GOOD).unwrap()[0];
    assert_eq!((with_answer.messages.len(), with_answer.expected()), (1, Some("Yes.")));
    let error = prompts(r#"{"prompt":"a","split":"half"}"#).unwrap_err();
    assert_message(&error, &["line 1", "`split`", "half", "training, validation or test"]);
    let error = prompts(r#"{"prompt":"a","label":3}"#).unwrap()[0].harmful().unwrap_err();
    assert_message(&error, &["`label` is 3"]);
    let error = prompts(r#"{"messages":[{"role":"assistant","content":"a"}]}"#).unwrap_err();
    assert_message(&error, &["line 1", "asks nothing"]);
}

#[test]
fn a_prompt_with_its_answer_is_a_row_again() {
    let prompt = &prompts(GOOD).unwrap()[0];
    let (row, expected) = (prompt.to_row().unwrap(), &rows(GOOD).unwrap()[0]);
    assert_eq!((row.messages, row.id), (expected.messages.clone(), expected.id));
    assert!(prompts(r#"{"prompt":"a"}"#).unwrap()[0].to_row().is_none());
}

#[test]
fn values_beside_a_row_are_read_with_it() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let scored = GOOD.replace('}', r#","score":4.5}"#);
    std::fs::write(file.path(), format!("{scored}\n{GOOD}")).unwrap();
    let found = read_rows_with(file.path(), "score").unwrap().rows;
    assert_eq!(found[0].1, 4.5);
    assert_eq!(found[1].1, Value::Null);
    assert_eq!(found[0].0.id, GOLDEN_ID);
    std::fs::write(file.path(), format!("{scored}\n{GOOD}\n{{}}")).unwrap();
    let error = read_rows_with(file.path(), "score").unwrap_err().to_string();
    assert!(error.contains("line 3") && !error.contains("skip"), "{error}");
}

#[path = "keys_tests.rs"]
mod keys;
#[path = "parquet_tests.rs"]
mod parquet;
#[path = "told_tests.rs"]
mod told;
