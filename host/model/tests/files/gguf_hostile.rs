//! GGUF headers made to end or fill the process that reads them.

use std::path::Path;
use std::time::{Duration, Instant};

use host_model::{LoadOptions, Source, load};

fn refused(bytes: &[u8], part: &str) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.gguf");
    std::fs::write(&path, bytes).unwrap();
    let start = Instant::now();
    let source = Source::parse(Path::new(&path).to_str().unwrap()).unwrap();
    let message = load(&source, &LoadOptions::default()).err().unwrap().to_string();
    assert!(message.contains(part) && !message.contains('\n'), "{part}: {message}");
    assert!(start.elapsed() < Duration::from_secs(20));
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

/// A header with these entries and tensors, each as its bytes.
fn header(entries: &[Vec<u8>], tensors: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = b"GGUF\x03\x00\x00\x00".to_vec();
    bytes.extend((tensors.len() as u64).to_le_bytes());
    bytes.extend((entries.len() as u64).to_le_bytes());
    bytes.extend(entries.concat());
    bytes.extend(tensors.concat());
    bytes.resize(bytes.len() + 64, 0);
    bytes
}

fn entry(name: &str, kind: u32, value: &[u8]) -> Vec<u8> {
    [&text(name)[..], &kind.to_le_bytes(), value].concat()
}

fn tensor(shape: &[u64], offset: u64) -> Vec<u8> {
    let shape_bytes: Vec<u8> = shape.iter().flat_map(|size| size.to_le_bytes()).collect();
    let dimensions = (shape.len() as u32).to_le_bytes();
    [&text("a")[..], &dimensions, &shape_bytes, &0u32.to_le_bytes(), &offset.to_le_bytes()].concat()
}

#[test]
fn alignment_zero_in_every_number_format() {
    for (kind, bytes) in [(0, 1), (1, 1), (2, 2), (3, 2), (4, 4), (5, 4)] {
        refused(
            &header(&[entry("general.alignment", kind, &vec![0; bytes])], &[]),
            "`general.alignment` 0",
        );
    }
}

#[test]
fn tensors_larger_than_the_file_or_than_any_number() {
    for (shape, offset) in [
        (&[1 << 40][..], 0),
        (&[1 << 62, 4], 0),
        (&[1 << 32, 1 << 32], 0),
        (&[4], 1 << 40),
        (&[4], u64::MAX),
    ] {
        refused(&header(&[], &[tensor(shape, offset)]), "larger than the file");
    }
}

#[test]
fn arrays_that_take_many_times_their_bytes() {
    let count = (17u64 << 20).to_le_bytes();
    let array = [&0u32.to_le_bytes()[..], &count, &vec![0; 17 << 20]].concat();
    refused(&header(&[entry("a", 9, &array)], &[]), "values in arrays");
    let claimed = [&0u32.to_le_bytes()[..], &u64::MAX.to_le_bytes()].concat();
    refused(&header(&[entry("a", 9, &claimed)], &[]), "values in arrays");
}
