//! The types that a GGUF file's tensors are stored in, read without the library, which stops at the first one it
//! doesn't know and so can't tell a whole file from a broken one.

use std::collections::BTreeMap;

/// Types that [`candle_core`] dequantizes.
const READABLE: [u32; 15] = [0, 1, 2, 3, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 30];
/// Of ggml.
const NAMES: [(u32, &str); 23] = [
    (16, "IQ2_XXS"),
    (17, "IQ2_XS"),
    (18, "IQ3_XXS"),
    (19, "IQ1_S"),
    (20, "IQ4_NL"),
    (21, "IQ3_S"),
    (22, "IQ2_S"),
    (23, "IQ4_XS"),
    (24, "I8"),
    (25, "I16"),
    (26, "I32"),
    (27, "I64"),
    (28, "F64"),
    (29, "IQ1_M"),
    (31, "Q4_0_4_4"),
    (32, "Q4_0_4_8"),
    (33, "Q4_0_8_8"),
    (34, "TQ1_0"),
    (35, "TQ2_0"),
    (36, "IQ4_NL_4_4"),
    (39, "MXFP4"),
    (40, "NVFP4"),
    (41, "Q1_0"),
];
const ALIGNMENT: &[u8] = b"general.alignment";
const MAGIC: [u8; 4] = *b"GGUF";
const STRING: u32 = 8;
const ARRAY: u32 = 9;
/// More than any real file has; arrays in arrays would otherwise fill the stack.
const DEPTH: u32 = 8;

/// Bytes of names and metadata: ten times those of the largest vocabularies.
const LARGEST_HEADER: usize = 256 << 20;
/// Values in the arrays of the metadata, each of which takes many times its bytes in memory.
const MOST_VALUES: usize = 16 << 20;

/// What keeps a header from being read within bounds, if anything does. What is no header is the library's to name.
pub fn beyond_bounds(file: &[u8]) -> Option<String> {
    let within = &file[..file.len().min(LARGEST_HEADER)];
    let mut header = Header { rest: within, version: 0, values: 0, alignment: None };
    let is_whole = header.tensors().is_some();
    if header.alignment == Some(0) {
        return Some("has `general.alignment` 0".to_owned());
    }
    if header.values > MOST_VALUES {
        return Some(format!("has more than {MOST_VALUES} values in arrays of its metadata"));
    }
    let is_cut = within.len() < file.len() && within.starts_with(&MAGIC);
    (!is_whole && is_cut && header.rest.len() < LARGEST_HEADER / 2)
        .then(|| format!("has more than {} MiB of metadata", LARGEST_HEADER >> 20))
}

/// What to say about tensors of types that can't be read, if the header is whole and there are any.
pub fn unreadable(file: &[u8]) -> Option<String> {
    let mut header = Header { rest: file, version: 0, values: 0, alignment: None };
    let tensors = header.tensors()?;
    let mut kinds: BTreeMap<u32, Vec<&str>> = BTreeMap::new();
    for (name, kind) in &tensors {
        if !READABLE.contains(kind) {
            kinds.entry(*kind).or_default().push(name);
        }
    }
    let count: usize = kinds.values().map(Vec::len).sum();
    let describe = |(kind, names): (&u32, &Vec<&str>)| {
        let known = NAMES.iter().find(|(number, _)| number == kind);
        let name = known.map_or_else(|| format!("type {kind}"), |(_, name)| (*name).to_owned());
        let first = names.first().copied().unwrap_or_default();
        match names.len() {
            1 => format!("{name} ({first})"),
            n => format!("{name} ({first} and {} more)", n - 1),
        }
    };
    let kinds: Vec<String> = kinds.iter().map(describe).collect();
    (count > 0).then(|| {
        format!(
            "is whole, but {count} of its {} tensors are of types that aren't read: {}",
            tensors.len(),
            kinds.join(", ")
        )
    })
}

/// Reads on from one place to the next; none where the file ends too early.
struct Header<'a> {
    rest: &'a [u8],
    version: u32,
    /// Values in arrays so far.
    values: usize,
    /// What `general.alignment` says.
    alignment: Option<u64>,
}

impl<'a> Header<'a> {
    /// Name and type of every tensor.
    fn tensors(&mut self) -> Option<Vec<(String, u32)>> {
        if self.take(4)? != MAGIC {
            return None;
        }
        self.version = self.u32()?;
        let (tensors, entries) = (self.length()?, self.length()?);
        for _ in 0..entries {
            let name = self.text()?;
            let kind = self.u32()?;
            let value = self.rest;
            self.skip(kind, 0)?;
            if name == ALIGNMENT {
                self.alignment = small(kind, value);
            }
        }
        let mut found = Vec::new();
        for _ in 0..tensors {
            let name = String::from_utf8_lossy(self.text()?).into_owned();
            let dimensions = self.u32()?;
            for _ in 0..dimensions {
                self.length()?;
            }
            let kind = self.u32()?;
            self.take(8)?;
            found.push((name, kind));
        }
        Some(found)
    }

    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(bytes)?;
        self.rest = rest;
        Some(taken)
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    /// Four bytes in the first version, eight in those since.
    fn length(&mut self) -> Option<usize> {
        if self.version == 1 {
            return usize::try_from(self.u32()?).ok();
        }
        usize::try_from(u64::from_le_bytes(self.take(8)?.try_into().ok()?)).ok()
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = self.length()?;
        self.take(length)
    }

    /// Passes over a value of the metadata.
    fn skip(&mut self, kind: u32, depth: u32) -> Option<()> {
        let size = match kind {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            10..=12 => 8,
            STRING => return self.text().map(|_| ()),
            ARRAY if depth < DEPTH => {
                let kind = self.u32()?;
                let count = self.length()?;
                self.values = self.values.saturating_add(count);
                if self.values > MOST_VALUES {
                    return None;
                }
                for _ in 0..count {
                    self.skip(kind, depth + 1)?;
                }
                return Some(());
            }
            _ => return None,
        };
        self.take(size).map(|_| ())
    }
}

/// A number of the first four kinds, as the library reads an alignment.
fn small(kind: u32, value: &[u8]) -> Option<u64> {
    let bytes = match kind {
        0 | 1 => 1,
        2 | 3 => 2,
        4 | 5 => 4,
        _ => return None,
    };
    let mut wide = [0; 8];
    wide[..bytes].copy_from_slice(value.get(..bytes)?);
    Some(u64::from_le_bytes(wide))
}
