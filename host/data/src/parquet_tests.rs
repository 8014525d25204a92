use super::*;

const MESSAGES: &[u8] = include_bytes!("fixtures/messages.parquet");
const PAIRS: &[u8] = include_bytes!("fixtures/pairs.parquet");
const NUMBER_ANSWER: &[u8] = include_bytes!("fixtures/number_answer.parquet");
const GZIP: &[u8] = include_bytes!("fixtures/gzip.parquet");

fn read(bytes: &[u8]) -> Result<Vec<Row>> {
    parse_rows(Path::new("task.parquet"), bytes.to_vec())
}

#[test]
fn lists_of_records_and_columns_of_text_are_read() {
    let found = read(MESSAGES).unwrap();
    assert_eq!(
        turns(&found[0]),
        [("system", "Be brief."), ("user", "Name a colour."), ("assistant", "Blue.")]
    );
    assert_eq!(turns(&found[1]), [("user", "2 + 2?"), ("assistant", "4.")]);
    assert_eq!(found[1].place.to_string(), "task.parquet, row 2");
    let text = r#"{"prompt":"2 + 2?","answer":"4."}"#;
    assert_eq!(found[1].id, rows(text).unwrap()[0].id);
}

#[test]
fn nulls_and_types_are_refused_with_row_or_column() {
    assert_message(&read(PAIRS).unwrap_err(), &["task.parquet, row 3", "`prompt` is empty"]);
    let error = read(NUMBER_ANSWER).unwrap_err();
    assert_message(&error, &["task.parquet", "column `answer` is INT64", "must be text"]);
    assert_message(&read(GZIP).unwrap_err(), &["task.parquet", "Snappy or Zstandard"]);
}

#[test]
fn damaged_files_are_errors_not_panics() {
    for end in (4..MESSAGES.len()).step_by(17) {
        assert!(read(&MESSAGES[..end]).is_err());
    }
    for bytes in [MESSAGES, PAIRS] {
        for (at, flip) in (4..bytes.len()).flat_map(|at| [(at, 0x55), (at, 0x01), (at, 0xff)]) {
            let mut damaged = bytes.to_vec();
            damaged[at] ^= flip;
            if let Err(error) = read(&damaged) {
                assert_message(&error, &["task.parquet"]);
            }
        }
    }
}

#[test]
fn a_column_of_nulls_says_nothing_whatever_its_type() {
    let found = read(include_bytes!("fixtures/nulls.parquet")).unwrap();
    assert_eq!(turns(&found[0]), [("user", "2 + 2?"), ("assistant", "4.")]);
    assert_eq!(found.len(), 2);
}

#[test]
fn columns_inside_of_messages_are_read_or_told() {
    let bytes = include_bytes!("fixtures/switches.parquet");
    let input = Input::of(Path::new("task.parquet"), bytes.as_slice()).unwrap();
    let read = training_rows(input, &BadRows::default());
    let (found, told) = read.unwrap();
    let learned: Vec<bool> = found[0].messages.iter().map(Message::is_answer).collect();
    assert_eq!(learned, [false, false, false, true, false, true]);
    let call = serde_json::json!({"function": {"name": "add", "arguments": {"x": 2}}});
    assert_eq!(found[0].messages[3].tool_calls, [call]);
    assert_eq!(found[0].inputs.tools, Some(serde_json::json!([{"name": "add"}])));
    let ignored: Vec<&str> = told.ignored.keys().map(String::as_str).collect();
    assert_eq!(ignored, ["cost", "made", "messages[].at", "messages[].id", "meta", "source"]);
}
