#![allow(clippy::unwrap_used)]
use std::io::Write as _;
use std::path::Path;

use crate::error::Result;
use crate::{Row, parse_rows};

const ROWS: &str =
    "{\"prompt\":\"Hello?\",\"answer\":\"Yes.\"}\n{\"prompt\":\"Why?\",\"answer\":\"So.\"}\n";

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packed.write_all(text).unwrap();
    packed.finish().unwrap()
}

fn zstd(text: &[u8]) -> Vec<u8> {
    zstd::encode_all(text, 3).unwrap()
}

fn read(name: &str, bytes: &[u8]) -> Result<Vec<Row>> {
    parse_rows(Path::new(name), bytes.to_vec())
}

#[test]
fn packed_files_are_read_whatever_they_are_called() {
    let plain = read("a.jsonl", ROWS.as_bytes()).unwrap();
    let csv = "prompt,answer\nHello?,Yes.\nWhy?,So.\n";
    for pack in [gzip, zstd] {
        for name in ["a.jsonl.gz", "a.jsonl.zst", "a.jsonl", "a"] {
            let rows = read(name, &pack(ROWS.as_bytes())).unwrap();
            assert_eq!(
                rows.iter().map(|row| row.id).collect::<Vec<_>>(),
                [plain[0].id, plain[1].id]
            );
            assert_eq!(rows[1].place.number, 2);
        }
        let rows = read("a.csv.gz", &pack(csv.as_bytes())).unwrap();
        assert_eq!(rows[1].id, plain[1].id);
        let array = format!("[{}]", ROWS.trim().replace('\n', ","));
        assert_eq!(read("a.json", &pack(array.as_bytes())).unwrap().len(), 2);
        // Several one after the other are one.
        let twice = [pack(ROWS.as_bytes()), pack(ROWS.as_bytes())].concat();
        assert_eq!(read("a.jsonl.gz", &twice).unwrap().len(), 4);
        let parquet = include_bytes!("fixtures/pairs.parquet");
        let message = read("a.parquet.gz", &pack(parquet)).unwrap_err().to_string();
        assert!(message.contains("a Parquet file packed with"), "{message}");
    }
}

#[test]
fn a_bomb_is_refused_before_it_unfolds() {
    let line = format!("{}\n", " ".repeat(1 << 20));
    let bomb = line.repeat(600);
    for pack in [gzip, zstd] {
        let packed = pack(bomb.as_bytes());
        assert!(packed.len() < 1 << 20);
        let message = read("a.jsonl.gz", &packed).unwrap_err().to_string();
        assert!(
            message.contains("can't be unpacked") && message.contains("unfolds to more than"),
            "{message}"
        );
    }
}

#[test]
fn damaged_files_are_errors_not_panics() {
    for pack in [gzip, zstd] {
        let good = pack(ROWS.repeat(50).as_bytes());
        for at in 8..good.len() {
            let message = read("a.jsonl", &good[..at]).map(|rows| rows.len());
            assert!(message.is_err(), "{at} of {} bytes: {message:?}", good.len());
            for flip in [0x01, 0x55, 0xff] {
                let mut damaged = good.clone();
                damaged[at] ^= flip;
                if let Err(error) = read("a.jsonl", &damaged) {
                    assert!(
                        !error.to_string().contains('\n') && error.to_string().contains("a.jsonl"),
                        "{error}"
                    );
                }
            }
        }
    }
}
