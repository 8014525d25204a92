//! Damages bytes at random, reproducibly: number N of a seed is always the same.

use rand::{Rng as _, RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// One way to damage bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutation {
    FlipBits,
    RandomBytes,
    DeleteBlock,
    DuplicateBlock,
    SwapBlocks,
    /// Of a section of a component: its length, a little off or nonsense.
    SectionLength,
    Truncate,
    /// The beginning of one and the end of another.
    Splice,
}

const ALL: [Mutation; 8] = [
    Mutation::FlipBits,
    Mutation::RandomBytes,
    Mutation::DeleteBlock,
    Mutation::DuplicateBlock,
    Mutation::SwapBlocks,
    Mutation::SectionLength,
    Mutation::Truncate,
    Mutation::Splice,
];

/// Bytes of a component before its first section.
const PREAMBLE: usize = 8;

/// Damages `bytes` in a way that `seed` and `number` decide; `others` are what parts of
/// it may be replaced with.
pub fn mutate(bytes: &[u8], others: &[&[u8]], seed: u64, number: u64) -> (Mutation, Vec<u8>) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(number);
    let kind = ALL[random.random_range(0..ALL.len())];
    let mut damaged = bytes.to_vec();
    if !bytes.is_empty() {
        apply(kind, &mut damaged, others, &mut random);
    }
    (kind, damaged)
}

fn apply(kind: Mutation, bytes: &mut Vec<u8>, others: &[&[u8]], random: &mut ChaCha8Rng) {
    let length = bytes.len();
    let mut at = || random.random_range(0..length);
    match kind {
        Mutation::FlipBits => {
            for _ in 0..few(random) {
                let at = random.random_range(0..length);
                bytes[at] ^= 1 << random.random_range(0..8);
            }
        }
        Mutation::RandomBytes => {
            let block = block(length, random);
            random.fill_bytes(&mut bytes[block]);
        }
        Mutation::DeleteBlock => {
            bytes.drain(block(length, random));
        }
        Mutation::DuplicateBlock => {
            let copy = bytes[block(length, random)].to_vec();
            let at = random.random_range(0..=length);
            bytes.splice(at..at, copy);
        }
        Mutation::SwapBlocks => {
            let (a, b) = (at(), at());
            let (first, second) = (a.min(b), a.max(b));
            let most = (second - first).min(length - second);
            let size = random.random_range(0..=most.min(256));
            let (left, right) = bytes.split_at_mut(second);
            left[first..first + size].swap_with_slice(&mut right[..size]);
        }
        Mutation::SectionLength => {
            let sections = sections(bytes);
            if sections.is_empty() {
                let at = at();
                bytes[at] = bytes[at].wrapping_add(1);
                return;
            }
            let section = &sections[random.random_range(0..sections.len())];
            let old = u64::from(leb(&bytes[section.clone()]).unwrap_or_default());
            let new = match random.random_range(0..4) {
                0 => old.wrapping_sub(1),
                1 => old + 1,
                2 => old.wrapping_add(random.random_range(0..1000)),
                _ => random.random(),
            };
            bytes.splice(section.clone(), unleb(new as u32));
        }
        Mutation::Truncate => bytes.truncate(at()),
        Mutation::Splice => {
            let own = bytes.clone();
            let other = match others.len() {
                0 => own.as_slice(),
                count => others[random.random_range(0..count)],
            };
            let from = random.random_range(0..=other.len());
            bytes.truncate(random.random_range(0..length));
            bytes.extend(&other[from..]);
        }
    }
}

/// One to eight, mostly one.
fn few(random: &mut ChaCha8Rng) -> usize {
    match random.random_range(0..4) {
        0 => random.random_range(2..=8),
        _ => 1,
    }
}

/// A range of up to 256 bytes, mostly short.
fn block(length: usize, random: &mut ChaCha8Rng) -> std::ops::Range<usize> {
    let start = random.random_range(0..length);
    let most = [1, 4, 32, 256][random.random_range(0..4)];
    start..(start + random.random_range(1..=most)).min(length)
}

/// Where the lengths of the outermost sections stand.
fn sections(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut found = Vec::new();
    let mut at = PREAMBLE;
    while at + 1 < bytes.len() {
        let start = at + 1;
        let size = bytes[start..].iter().take(5).take_while(|b| **b & 0x80 != 0).count() + 1;
        let Some(length) = bytes.get(start..start + size).and_then(leb) else {
            break;
        };
        found.push(start..start + size);
        at = start + size + length as usize;
    }
    found
}

fn leb(bytes: &[u8]) -> Option<u32> {
    let mut value = 0u64;
    for (i, byte) in bytes.iter().enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * i);
    }
    u32::try_from(value).ok()
}

fn unleb(mut value: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            bytes.push(byte);
            return bytes;
        }
        bytes.push(byte | 0x80);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_number_is_always_the_same_damage_and_every_kind_comes() {
        let bytes: Vec<u8> = (0..=255).collect();
        let other = [1; 300];
        let mut kinds = BTreeSet::new();
        let mut changed = 0;
        for number in 0..500 {
            let (kind, damaged) = mutate(&bytes, &[&other], 7, number);
            assert_eq!(mutate(&bytes, &[&other], 7, number), (kind, damaged.clone()));
            changed += usize::from(damaged != bytes);
            kinds.insert(kind);
        }
        assert_eq!(kinds.len(), ALL.len());
        assert!(changed > 450, "{changed}");
        assert_ne!(mutate(&bytes, &[], 7, 1), mutate(&bytes, &[], 8, 1));
    }

    #[test]
    fn nothing_and_little_can_be_damaged() {
        for number in 0..200 {
            assert!(mutate(&[], &[], 1, number).1.is_empty());
            mutate(&[1], &[&[]], 1, number);
        }
    }

    #[test]
    fn the_lengths_of_sections_are_found() {
        let component = wat::parse_str("(component (core module) (core module))").unwrap();
        let lengths: Vec<u32> =
            sections(&component).into_iter().map(|range| leb(&component[range]).unwrap()).collect();
        assert_eq!(lengths.first(), Some(&8));
        for value in [0, 1, 127, 128, 300, u32::MAX] {
            assert_eq!(leb(&unleb(value)), Some(value));
        }
    }
}
