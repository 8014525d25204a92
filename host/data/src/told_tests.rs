//! What is told of files: keys that nobody reads, and rows that can't be used.

use serde_json::json;

use super::keys::chat;
use super::*;
use crate::notices::OnBadRow;

fn read(text: &str, bad: &BadRows) -> Result<(Vec<Row>, FileNotices)> {
    training_rows(Input::of(Path::new("task.jsonl"), text.as_bytes())?, bad)
}

#[test]
fn other_keys_are_counted_and_told_once() {
    let mut lines = Vec::new();
    for number in 0..200 {
        let mut one = chat(&[
            ("user", "q", json!({"id": number})),
            ("assistant", &format!("a{number}"), json!({})),
        ]);
        one["source"] = "web".into();
        one["nothing"] = Value::Null;
        if number < 3 {
            one["messages"][1]["content"] =
                json!([{"type": "text", "text": "a", "annotations": []}]);
            one["odd\u{1b}[2J"] = 1.into();
        }
        lines.push(one.to_string());
    }
    let (found, told) = read(&lines.join("\n"), &BadRows::default()).unwrap();
    assert_eq!(found.len(), 200);
    let mut notices = Notices::default();
    notices.add(told);
    let told: Vec<String> = notices.lines().collect();
    assert_eq!(
        told,
        ["task.jsonl: ignored: `messages[].content[].annotations` in 3 of 200 rows, \
          `messages[].id` in 200 of 200 rows, `odd\\u{1b}[2J` in 3 of 200 rows, \
          `source` in 200 of 200 rows"]
    );
    let written = serde_json::to_value(&notices).unwrap();
    assert_eq!(written[0]["ignored"]["source"], 200);
    let again: Notices = serde_json::from_value(written).unwrap();
    assert!(again.lines().eq(notices.lines()), "{again:?}");
    assert!(read(GOOD, &BadRows::default()).unwrap().1.ignored.is_empty());
}

#[test]
fn rows_that_are_not_learned_may_say_what_training_refuses() {
    let row = r#"{"prompt": "q", "response": "a", "label": false, "weight": 0.5, "split": "test"}"#;
    let bytes = row.as_bytes().to_vec();
    let (found, told) =
        answered_rows(Input::of(Path::new("judged.jsonl"), &*bytes).unwrap(), &BadRows::default())
            .unwrap();
    assert_eq!(turns(&found[0]), [("user", "q"), ("assistant", "a")]);
    let ignored: Vec<&str> = told.ignored.keys().map(String::as_str).collect();
    assert_eq!(ignored, ["label", "split", "weight"]);
    assert_error(row, &["`weight` weights the row"]);
}

#[test]
fn misspelled_keys_are_told_with_what_was_meant() {
    for (given, meant) in [
        ("wieght", Some("weight")),
        ("reasoningContent", Some("reasoning_content")),
        ("Train", Some("train")),
        ("source", None),
        ("context_id", None),
    ] {
        let text = chat(&[("user", "q", json!({})), ("assistant", "a", json!({given: 0}))]);
        let mut notices = Notices::default();
        notices.add(read(&text.to_string(), &BadRows::default()).unwrap().1);
        let line = notices.lines().next().unwrap();
        let hint = meant.map_or_else(String::new, |meant| format!(" (did you mean `{meant}`?)"));
        assert!(line.ends_with(&format!("{given}` in 1 of 1 rows{hint}")), "{line}");
    }
}

#[test]
fn bad_rows_are_left_out_and_counted_up_to_a_limit() {
    let mut lines = vec![GOOD.to_owned(); 300];
    lines[16] = r#"{"prompt":"Hello?","answer":""}"#.into();
    lines[99] = r#"{"prompt":"Hello?""#.into();
    lines[200] = r#"{"prompt":"Hello?","answer":7}"#.into();
    let text = lines.join("\n");
    let error = read(&text, &BadRows::default()).unwrap_err();
    assert_message(&error, &["line 17", "`answer` is empty", "--on-bad-row skip"]);
    let skip = BadRows { on_bad_row: OnBadRow::Skip, limit: 0.01 };
    let (found, told) = read(&text, &skip).unwrap();
    assert_eq!(found.len(), 297);
    let skipped = told.skipped.unwrap();
    assert_eq!((skipped.rows, skipped.first.as_slice()), (3, [17, 100, 201].as_slice()));
    assert!(skipped.why.contains("line 17") && skipped.why.contains("`answer` is empty"));
    let error = read(&text, &BadRows { limit: 0.005, ..skip }).unwrap_err();
    assert_message(
        &error,
        &["3 of 300 rows are bad", "bad_row_limit = 0.005", "allows 2", "line 17"],
    );
    // A hint would be wrong where no row is good.
    let error = read(r#"{"text":"a"}"#, &BadRows::default()).unwrap_err().to_string();
    assert!(!error.contains("skip"), "{error}");
    let all = read("{\"text\":\"a\"}\n{\"text\":\"b\"}", &BadRows { limit: 1.0, ..skip });
    assert_message(&all.unwrap_err(), &["2 of 2 rows are bad", "`text`"]);
    let array = format!("[{GOOD}, 3, {GOOD}]");
    assert_eq!(read(&array, &BadRows { limit: 0.5, ..skip }).unwrap().0.len(), 2);
}

#[test]
fn a_key_that_stands_twice_is_no_row() {
    for given in [
        r#"{"prompt": "q", "answer": "a", "answer": "b"}"#,
        r#"{"messages": [{"role": "user", "content": "q", "content": "r"}]}"#,
        r#"[{"prompt": "q", "answer": "a", "answer": "b"}]"#,
    ] {
        assert_error(given, &["line 1", "stands twice", "correct or remove it"]);
    }
}

#[test]
fn objects_over_several_lines_are_rows_too() {
    let pretty = "{\n  \"prompt\": \"Hello?\",\n  \"answer\": \"Yes.\"\n}\n";
    let found = rows(&format!("{pretty}\n{pretty}{GOOD}\n{pretty}")).unwrap();
    let lines: Vec<usize> = found.iter().map(|row| row.place.number).collect();
    assert_eq!(lines, [1, 6, 10, 11]);
    assert!(found.iter().all(|row| row.id == GOLDEN_ID));
    // A line that was cut off is no beginning of an object.
    assert_error(
        &format!("{{\"prompt\": \"a\", \"answer\":\n{GOOD}"),
        &["line 1", "not valid JSON"],
    );
}
