//! Files made to end, fill or hold up the process that reads them: one line and exit code 1, soon.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use crate::bad_input::Case;

/// Grows a value by one level, or doubles it, as often as it says.
fn grown(step: &str, times: usize, then: &str) -> String {
    format!(
        "{{% set ns = namespace(s=['x'], t=['x']) %}}{{% for i in range({times}) %}}{step}{{% endfor %}}{then}"
    )
}

#[test]
fn templates_that_take_stack_memory_or_time() {
    let deep = "{% set ns.s = [ns.s] %}{% set ns.t = [ns.t] %}";
    let double = "{% set ns.s = [ns.s, ns.s] %}{% set ns.t = [ns.t, ns.t] %}";
    let long = "{% set s = 'x' * 1000000 %}";
    let templates = [
        grown(deep, 90_000, "{{ ns.s|tojson }}"),
        grown(deep, 90_000, "{{ ns.s == ns.t }}"),
        grown(deep, 90_000, "{{ ns.s ~ 'x' }}"),
        grown(double, 60, "{{ ns.s ~ 'x' }}"),
        grown(double, 60, "{{ ns.s|tojson }}"),
        "{% set ns = namespace() %}{% set ns.a = [ns] %}{{ ns|tojson }}".into(),
        format!("{long}{{{{ range(100000)|list|tojson(separators=(s, s)) }}}}"),
        format!("{long}{{{{ ([s] * 100000)|tojson }}}}"),
        format!("{long}{{{{ [s] * 100000 }}}}"),
        format!("{{{{ {} 1 }}}}", "not ".repeat(100_000)),
        format!("{{{{ 'a'{} }}}}", "|upper".repeat(100_000)),
        format!("{{% if false %}}{}{{% endif %}}", "{% elif false %}".repeat(60_000)),
    ];
    for template in templates {
        let case = Case::new();
        case.file("bomb.jinja", &template);
        let start = Instant::now();
        let arguments =
            ["generate", "--chat-template", "bomb.jinja", "--max-new-tokens", "1", "hello"];
        case.fails(&arguments, 1, &["chat template"]);
        let took = start.elapsed();
        assert!(took < Duration::from_secs(60), "{took:?}: {:.80}", template);
    }
}

/// A file of one column or list, with the same text again and again.
fn parquet(schema: &str, columns: &[(&str, usize, Option<bool>)]) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let zstd = Compression::ZSTD(ZstdLevel::try_new(3).unwrap());
    let properties = Arc::new(WriterProperties::builder().set_compression(zstd).build());
    let mut file = SerializedFileWriter::new(Vec::new(), schema, properties).unwrap();
    let mut group = file.next_row_group().unwrap();
    for (text, count, in_list) in columns {
        let mut column = group.next_column().unwrap().unwrap();
        let values = vec![ByteArray::from(*text); *count];
        let levels = in_list.map(|_| {
            let mut repetition = vec![1i16; *count];
            repetition[0] = 0;
            (vec![1i16; *count], repetition)
        });
        let (definition, repetition) = levels.unzip();
        column
            .typed::<ByteArrayType>()
            .write_batch(&values, definition.as_deref(), repetition.as_deref())
            .unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    file.into_inner().unwrap()
}

#[test]
fn parquet_that_unfolds_to_more_than_there_is() {
    let text = "x".repeat(1 << 16);
    let rows = parquet(
        "message m { required binary prompt (UTF8); required binary answer (UTF8); }",
        &[(&text, 20_000, None), ("yes", 20_000, None)],
    );
    let list = parquet(
        "message m { required group messages (LIST) { repeated group list { required group element {
            required binary role (UTF8); required binary content (UTF8); } } } }",
        &[("user", 60_000, Some(true)), (&text, 60_000, Some(true))],
    );
    for (bytes, expected) in [(rows, "unfolds to more than"), (list, "of memory")] {
        assert!(bytes.len() < 1 << 20, "{} bytes", bytes.len());
        let case = Case::new();
        case.file("bomb.parquet", bytes);
        let start = Instant::now();
        // As prompts, which aren't tokenised while they are read.
        case.fails(&["train", "--harmful", "bomb.parquet"], 1, &["bomb.parquet", expected]);
        assert!(start.elapsed() < Duration::from_secs(120), "{:?}", start.elapsed());
    }
}

#[test]
fn rows_and_files_without_an_end() {
    let case = Case::new();
    let row = format!("{{\"prompt\": \"a\", \"answer\": \"{}\"}}\n", "b".repeat(17 << 20));
    case.file("long.jsonl", &row);
    case.fails(&["train", "--data", "long.jsonl"], 1, &["long.jsonl, line 1", "more than 16 MiB"]);
    case.file("list.json", format!("[{row}]"));
    case.fails(&["train", "--data", "list.json"], 1, &["list.json, line 1", "more than 16 MiB"]);
    case.file("wide.jsonl", format!("{{\"prompt\": [{}]}}", "[],".repeat(6 << 20)));
    case.fails(&["train", "--data", "wide.jsonl"], 1, &["wide.jsonl, line 1", "more than 16 MiB"]);
    case.fails(&["train", "--chat-template", "/dev/zero"], 1, &["/dev/zero", "larger than"]);
    case.fails(&["train", "--config", "/dev/zero"], 1, &["/dev/zero", "larger than"]);
}
