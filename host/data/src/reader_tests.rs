#![allow(clippy::unwrap_used)]
use std::io::Write as _;

use host_files::sha256;

use super::*;
use crate::hub;

/// Every byte counts, those behind the last row as well.
#[test]
fn the_digest_of_what_was_read_is_that_of_the_file() {
    let rows = "{\"prompt\":\"Hello?\",\"answer\":\"Yes.\"}\n";
    let array = format!("[{}]\n\n ", rows.trim());
    let csv = "prompt,answer\nHello?,Yes.\n\n\n";
    let parquet = include_bytes!("fixtures/messages.parquet");
    let gzip = |text: &str| {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(text.as_bytes()).unwrap();
        packed.finish().unwrap()
    };
    let zstd = |text: &str| zstd::encode_all(text.as_bytes(), 3).unwrap();
    let files = [
        ("a.jsonl", format!("{rows}\n \n").into_bytes()),
        ("b.json", array.clone().into_bytes()),
        ("c.csv", csv.as_bytes().to_vec()),
        ("d.parquet", parquet.to_vec()),
        ("e.jsonl.gz", gzip(rows)),
        ("f.json.gz", [gzip(&array), gzip("\n")].concat()),
        ("g.csv.zst", [zstd(csv), zstd("")].concat()),
        ("h.json.zst", zstd(&array)),
    ];
    let folder = tempfile::tempdir().unwrap();
    let reader = Reader::default();
    for (name, bytes) in files {
        let path = folder.path().join(name);
        std::fs::write(&path, &bytes).unwrap();
        let read = reader.prompts(&[DataSource::whole(&path)]).unwrap();
        assert!(!read.is_empty());
        let digests = reader.digests();
        assert_eq!(digests[path.to_str().unwrap()], sha256::hex(&bytes), "{name}");
        // Gone, and known all the same.
        std::fs::remove_file(&path).unwrap();
        assert_eq!(hub::digests(&path, &digests), [(path.clone(), Some(sha256::hex(&bytes)))]);
        assert_eq!(hub::digests(&path, &Digests::default()), [(path, None)]);
    }
}
