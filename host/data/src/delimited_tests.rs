#![allow(clippy::unwrap_used)]
use std::path::Path;

use crate::error::Result;
use crate::{Row, parse_prompts, parse_rows};

fn read(name: &str, text: impl AsRef<[u8]>) -> Result<Vec<Row>> {
    parse_rows(Path::new(name), text.as_ref().to_vec())
}

/// Questions and answers of rows, with the line that each is on.
fn pairs(name: &str, text: impl AsRef<[u8]>) -> Vec<(String, String, usize)> {
    let rows = read(name, text).unwrap();
    let pair = |row: &Row| {
        let [asked, answer] = row.messages.as_slice() else { panic!("{row:?}") };
        (asked.content.to_string(), answer.content.to_string(), row.place.number)
    };
    rows.iter().map(pair).collect()
}

fn refused(text: impl AsRef<[u8]>, parts: &[&str]) {
    let message = read("task.csv", text).unwrap_err().to_string();
    assert!(!message.contains('\n'), "{message}");
    for part in parts {
        assert!(message.contains(part), "`{part}` is missing in: {message}");
    }
}

fn pair(asked: &str, answer: &str, line: usize) -> (String, String, usize) {
    (asked.into(), answer.into(), line)
}

#[test]
fn columns_are_the_keys_of_rows() {
    let plain = "prompt,answer\nHello?,Yes.\nWhy?,\"a, \"\"b\"\"\nc\"\n\nWho?,Me.";
    let expected =
        [pair("Hello?", "Yes.", 2), pair("Why?", "a, \"b\"\nc", 3), pair("Who?", "Me.", 6)];
    assert_eq!(pairs("task.csv", plain), expected);
    assert_eq!(pairs("task.csv", format!("\u{feff}{plain}")), expected);
    assert_eq!(pairs("task.csv", plain.replace('\n', "\r\n"))[0], expected[0]);
    assert_eq!(pairs("task.tsv", "prompt\tanswer\nHello?\tYes, \"I\" do.")[0].1, "Yes, \"I\" do.");
    // The header says it where the name doesn't.
    assert_eq!(pairs("task", "question;answer\nHello?;Yes.\n"), [pair("Hello?", "Yes.", 2)]);
    assert_eq!(pairs("task.csv", "question;answer\nHello?;Yes.\n"), [pair("Hello?", "Yes.", 2)]);
    let json = r#"{"prompt":"Hello?","answer":"Yes."}"#;
    assert_eq!(read("a.csv", plain).unwrap()[0].id, read("a.jsonl", json).unwrap()[0].id);
    assert_eq!(pairs("json.csv", json)[0], pair("Hello?", "Yes.", 1), "the content decides");
}

#[test]
fn fields_that_are_empty_say_nothing_and_lists_are_json() {
    let text = "instruction,input,output,label\nTranslate.,Haus,house,\nHello?,,Yes.,\n";
    let rows = read("a.csv", text).unwrap();
    assert_eq!(rows[0].messages[0].content.to_string(), "Translate.\n\nHaus");
    assert_eq!(rows[1].messages[0].content.to_string(), "Hello?");
    let chat = "messages\n\"[{\"\"role\"\":\"\"user\"\",\"\"content\"\":\"\"Hi\"\"},{\"\"role\"\":\"\"assistant\"\",\"\"content\"\":\"\"Ho\"\"}]\"\n";
    assert_eq!(pairs("a.csv", chat), [pair("Hi", "Ho", 2)]);
    let prompts = parse_prompts(
        Path::new("a.csv"),
        b",prompt,label,split\n0,Steal a car,1,test\n1,Boil an egg,0,\n".to_vec(),
    );
    let prompts = prompts.unwrap();
    assert!(prompts[0].harmful().unwrap() && !prompts[1].harmful().unwrap());
    assert!(prompts[0].split.is_some() && prompts[1].split.is_none());
}

#[test]
fn rows_that_fit_no_header_are_named_by_line() {
    refused("prompt,answer\na,b\nc\n", &["task.csv, line 3", "1 fields and the header 2"]);
    refused("prompt,answer\na,\"b\nb\"\nc,d,e\n", &["task.csv, line 4", "3 fields"]);
    refused("prompt,answer\na,\"b\nc,d\n", &["task.csv, line 2", "a quote is opened"]);
    refused("prompt,answer,prompt\na,b,c\n", &["task.csv", "two columns `prompt`"]);
    refused("prompt,answer\n", &["task.csv has no rows"]);
    refused("prompt,answer\na,\n", &["line 2", "`answer` is empty"]);
    refused("name,age\na,b\n", &["line 2", "the keys make no row (`name`, `age`)"]);
    refused(b"prompt,answer\nH\xe4?,Yes.\n", &["line 2", "`prompt` is no UTF-8", "as UTF-8"]);
    refused(b"prompt,antw\xf6rt\na,b\n", &["names of columns that are no UTF-8"]);
    refused(b"\xff\xfep\0r\0", &["UTF-16", "save the file as UTF-8"]);
    let columns = vec!["x"; 5000].join(",");
    refused(format!("prompt,{columns}\n"), &["two columns `x`"]);
    let columns: Vec<String> = (0..5000).map(|at| at.to_string()).collect();
    refused(format!("prompt,{}\n", columns.join(",")), &["more than 4096 columns"]);
}

#[test]
fn a_field_of_any_length_is_read_up_to_the_longest_row() {
    let long = "x".repeat(3 << 20);
    assert_eq!(
        pairs("a.csv", format!("prompt,answer\n{long},{long}\nb,c\n"))[1],
        pair("b", "c", 3)
    );
    let longer = "x".repeat(17 << 20);
    refused(format!("prompt,answer\n{longer},b\n"), &["line 2", "more than 16 MiB"]);
    refused(format!("prompt,answer\n\"{longer},b\n"), &["line 2", "a quote is opened"]);
}

#[test]
fn damaged_files_are_errors_not_panics() {
    let good = "\u{feff}prompt,answer\r\nHello?,\"Yes, \"\"I\"\" do.\"\r\nWhö?,Me.\r\n".as_bytes();
    for at in 0..good.len() {
        let _ = read("a.csv", &good[..at]);
        for byte in [0, b'"', b',', b'\n', 0xff] {
            let mut damaged = good.to_vec();
            damaged[at] = byte;
            if let Err(error) = read("a.csv", damaged) {
                assert!(error.to_string().contains("a.csv"), "{error}");
            }
        }
    }
}
