#![allow(clippy::unwrap_used)]
use std::io::Write as _;
use std::sync::Mutex;

use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use super::*;
use crate::hub::Located;
use crate::notices::BadRows;
use crate::pieces::Pieces;
use crate::rows;

/// Groups of rows, each of whose answers is `length` bytes long.
fn file(groups: usize, of_each: usize, length: usize) -> Vec<u8> {
    let schema = "message m { required binary prompt (UTF8); required binary answer (UTF8); }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let properties = WriterProperties::builder().set_dictionary_enabled(false).build();
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, properties.into()).unwrap();
    for number in 0..groups {
        let mut group = writer.next_row_group().unwrap();
        for text in [format!("What is {number}?"), "a".repeat(length)] {
            let values = vec![ByteArray::from(text.as_str()); of_each];
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<ByteArrayType>().write_batch(&values, None, None).unwrap();
            column.close().unwrap();
        }
        group.close().unwrap();
    }
    writer.into_inner().unwrap()
}

/// Writes down how long the pieces are.
struct Counted(Content, Mutex<Vec<usize>>);

impl Pieces for Counted {
    fn length(&self) -> u64 {
        self.0.length()
    }

    fn piece(&self, at: u64, length: usize) -> std::io::Result<Bytes> {
        self.1.lock().unwrap().push(length);
        self.0.piece(at, length)
    }
}

#[test]
fn a_file_is_read_page_by_page() {
    let bytes = file(20, 50, 10_000);
    let length = bytes.len();
    let counted = Arc::new(Counted(Content::Memory(bytes.into()), Mutex::default()));
    let pieces = Arc::clone(&counted);
    let mut table = Table::open(pieces).unwrap();
    let read = |counted: &Counted| counted.1.lock().unwrap().iter().sum::<usize>();
    assert!(read(&counted) < length / 20, "{} of {length}", read(&counted));
    for _ in 0..50 {
        assert!(table.next().unwrap().unwrap().is_ok());
    }
    assert!(read(&counted) < length / 5, "{} of {length}", read(&counted));
    let mut rows = 50;
    while table.next().unwrap().is_some() {
        rows += 1;
    }
    assert_eq!(rows, 1000);
    let largest = counted.1.lock().unwrap().iter().max().copied().unwrap();
    assert!(largest < length / 15, "{largest} of {length}");
}

#[test]
fn a_piece_that_is_not_there_is_no_piece() {
    let content = Content::Memory(Bytes::from_static(b"some bytes"));
    assert_eq!(content.asked(5, 5).unwrap(), "bytes");
    for (at, length) in [(5, 6), (11, 0), (u64::MAX, 1), (0, u64::MAX)] {
        assert!(content.asked(at, length).is_err(), "{at} {length}");
    }
}

#[test]
fn a_file_that_changes_while_it_is_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.parquet");
    std::fs::write(&path, file(2, 3, 5)).unwrap();
    let at = Located { name: "rows.parquet".into(), path: path.clone() };
    let read = |change: &dyn Fn()| {
        let input = Input::open(&at).unwrap();
        let mut count = 0;
        let read = rows::each_training_row(input, &BadRows::default(), &mut |_| {
            count += 1;
            change();
            Ok(())
        });
        read.map(|notices| (count, notices.content.unwrap().sha256))
    };
    let digest = host_files::sha256::file(&path).unwrap();
    assert_eq!(read(&|| ()).unwrap(), (6, digest));
    let error = read(&|| {
        let file = std::fs::OpenOptions::new().append(true).open(&path);
        file.unwrap().write_all(b"more").unwrap();
    });
    let message = error.unwrap_err().to_string();
    assert!(message.starts_with("rows.parquet was changed while it was read; "), "{message}");
}
