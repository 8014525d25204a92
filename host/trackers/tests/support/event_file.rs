//! Reads event files as TensorBoard documents them: TFRecords of protobuf messages.

#![allow(clippy::unwrap_used)]

use std::path::Path;

/// A field of a message, as it is on the wire.
#[derive(Debug, Clone, PartialEq)]
pub enum Field {
    Number(u64),
    Fixed(Vec<u8>),
    Bytes(Vec<u8>),
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().unwrap();
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            break;
        }
    }
    value
}

fn take(bytes: &mut &[u8], length: usize) -> Vec<u8> {
    let (taken, rest) = bytes.split_at(length);
    *bytes = rest;
    taken.to_vec()
}

fn fields(mut bytes: &[u8]) -> Message {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let field = match key & 7 {
            0 => Field::Number(varint(&mut bytes)),
            1 => Field::Fixed(take(&mut bytes, 8)),
            5 => Field::Fixed(take(&mut bytes, 4)),
            2 => {
                let length = varint(&mut bytes) as usize;
                Field::Bytes(take(&mut bytes, length))
            }
            other => panic!("wire type {other}"),
        };
        fields.push((key >> 3, field));
    }
    fields
}

pub fn inner(message: &[(u64, Field)], field: u64) -> Option<Vec<u8>> {
    message.iter().find_map(|(number, found)| match found {
        Field::Bytes(bytes) if *number == field => Some(bytes.clone()),
        _ => None,
    })
}

/// A message, by the numbers of its fields.
pub type Message = Vec<(u64, Field)>;

/// The records of a file, whose checksums hold.
pub fn records(path: &Path) -> Vec<Message> {
    let content = std::fs::read(path).unwrap();
    let mut bytes = content.as_slice();
    let mut records = Vec::new();
    let sum = |bytes: &mut &[u8]| u32::from_le_bytes(take(bytes, 4).try_into().unwrap());
    while !bytes.is_empty() {
        let length = take(&mut bytes, 8);
        assert_eq!(sum(&mut bytes), checksum(&length));
        let message = take(&mut bytes, u64::from_le_bytes(length.try_into().unwrap()) as usize);
        assert_eq!(sum(&mut bytes), checksum(&message));
        records.push(fields(&message));
    }
    records
}

pub fn step(record: &[(u64, Field)]) -> u64 {
    match record[1] {
        (2, Field::Number(step)) => step,
        ref other => panic!("{other:?}"),
    }
}

/// Step, tag and value of all numbers of a file.
pub fn numbers(records: &[Message]) -> Vec<(u64, String, f32)> {
    let mut numbers = Vec::new();
    for record in records {
        let Some(summary) = inner(record, 5) else { continue };
        for (_, value) in fields(&summary) {
            let Field::Bytes(value) = value else { panic!("{value:?}") };
            let value = fields(&value);
            let tag = String::from_utf8(inner(&value, 1).unwrap()).unwrap();
            if let Some((_, Field::Fixed(bytes))) = value.iter().find(|(number, _)| *number == 2) {
                let number = f32::from_le_bytes(bytes.as_slice().try_into().unwrap());
                numbers.push((step(record), tag, number));
            }
        }
    }
    numbers
}

/// The masked CRC-32C of TFRecords, bit by bit.
fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = !0u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
        }
    }
    (!crc).rotate_right(15).wrapping_add(0xa282_ead8)
}
