//! Lays values out in memory by the canonical ABI of the component model, following
//! the types of the interface.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use serde_json::Value;
use wit_parser::{Resolve, SizeAlign, Type, TypeDefKind};

/// Memory that holds answers, from `base` on.
///
/// The values come from tests: one that doesn't fit its type ends in a panic.
pub struct Image<'a> {
    resolve: &'a Resolve,
    sizes: SizeAlign,
    base: u32,
    bytes: Vec<u8>,
    /// Addresses by path, such as `assess/ok/risk/1`; of a list, its pointer and length.
    places: BTreeMap<String, u32>,
}

impl<'a> Image<'a> {
    pub fn new(resolve: &'a Resolve, base: u32) -> Self {
        let mut sizes = SizeAlign::default();
        sizes.fill(resolve);
        Self { resolve, sizes, base, bytes: Vec::new(), places: BTreeMap::new() }
    }

    /// Stores what a function returns and says where. Nothing is stored for a
    /// function that the interface doesn't have.
    pub fn answer(&mut self, function: &str, value: &Value) -> u32 {
        let functions = self.resolve.interfaces.iter().find_map(|(_, i)| i.functions.get(function));
        let Some(result) = functions.and_then(|function| function.result) else {
            return self.base;
        };
        let at = self.allocate(self.sizes.size(&result).size_wasm32(), 8);
        self.store(&result, value, at, function);
        self.base + at as u32
    }

    /// Where every field and element lies.
    pub fn places(&self) -> &BTreeMap<String, u32> {
        &self.places
    }

    /// Overwrites bytes at an address.
    pub fn poke(&mut self, address: usize, bytes: &[u8]) {
        self.write(address - self.base as usize, bytes);
    }

    /// The first address behind everything.
    pub fn end(&self) -> u32 {
        self.base + self.bytes.len() as u32
    }

    /// The bytes as a WebAssembly string literal.
    pub fn text(&self) -> String {
        self.bytes.iter().map(|byte| format!("\\{byte:02x}")).collect()
    }

    fn allocate(&mut self, size: usize, align: usize) -> usize {
        let at = self.bytes.len().next_multiple_of(align);
        self.bytes.resize(at + size, 0);
        at
    }

    fn write(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn store(&mut self, ty: &Type, value: &Value, at: usize, path: &str) {
        self.places.insert(path.to_owned(), self.base + at as u32);
        match ty {
            Type::Bool => self.write(at, &[value.as_bool().unwrap() as u8]),
            Type::U8 => self.write(at, &[value.as_u64().unwrap() as u8]),
            Type::U32 => self.write(at, &(value.as_u64().unwrap() as u32).to_le_bytes()),
            Type::U64 => self.write(at, &value.as_u64().unwrap().to_le_bytes()),
            Type::F32 => self.write(at, &(number(value) as f32).to_le_bytes()),
            Type::F64 => self.write(at, &number(value).to_le_bytes()),
            Type::String => {
                let text = value.as_str().unwrap().as_bytes();
                let data = self.allocate(text.len(), 1);
                self.write(data, text);
                self.store_slice(data, text.len(), at);
            }
            Type::Id(id) => self.store_named(&self.resolve.types[*id].kind, value, at, path),
            other => panic!("the interface has no {other:?}"),
        }
    }

    fn store_named(&mut self, kind: &'a TypeDefKind, value: &Value, at: usize, path: &str) {
        match kind {
            TypeDefKind::Type(ty) => self.store(ty, value, at, path),
            TypeDefKind::Record(record) => {
                let offsets = self.sizes.field_offsets(record.fields.iter().map(|field| &field.ty));
                let offsets: Vec<usize> =
                    offsets.iter().map(|(offset, _)| offset.size_wasm32()).collect();
                for (field, offset) in record.fields.iter().zip(offsets) {
                    // A field that an edit added has no value: it stays zero.
                    let name = field.name.replace('-', "_");
                    if let Some(value) = value.get(&name) {
                        self.store(&field.ty, value, at + offset, &format!("{path}/{name}"));
                    }
                }
            }
            TypeDefKind::Enum(cases) => {
                let name = value.as_str().unwrap();
                let case = cases.cases.iter().position(|case| camel(&case.name) == name);
                self.write(at, &[case.unwrap() as u8]);
            }
            TypeDefKind::Flags(flags) => {
                let names = value.as_array().unwrap();
                let set = flags
                    .flags
                    .iter()
                    .enumerate()
                    .filter(|(_, flag)| names.contains(&flag.name.clone().into()));
                let bits = set.fold(0u16, |bits, (i, _)| bits | 1 << i).to_le_bytes();
                let size = if flags.flags.len() <= 8 { 1 } else { 2 };
                self.write(at, &bits[..size]);
            }
            TypeDefKind::Option(ty) => {
                if !value.is_null() {
                    self.write(at, &[1]);
                    let payload = self.sizes.payload_offset(wit_parser::Int::U8, [Some(ty)]);
                    self.store(ty, value, at + payload.size_wasm32(), &format!("{path}/some"));
                }
            }
            TypeDefKind::Result(result) => {
                let types = [result.ok.as_ref(), result.err.as_ref()];
                let payload = self.sizes.payload_offset(wit_parser::Int::U8, types).size_wasm32();
                let failed = value.get("err").is_some();
                self.write(at, &[failed as u8]);
                let (ty, case) = if failed { (types[1], "err") } else { (types[0], "ok") };
                let path = format!("{path}/{case}");
                self.store(ty.unwrap(), &value[case], at + payload, &path);
            }
            TypeDefKind::List(ty) => {
                let items = value.as_array().unwrap();
                let size = self.sizes.size(ty).size_wasm32();
                let data = self.allocate(size * items.len(), 8);
                for (i, item) in items.iter().enumerate() {
                    self.store(ty, item, data + i * size, &format!("{path}/{i}"));
                }
                self.store_slice(data, items.len(), at);
            }
            other => panic!("the interface has no {}", other.as_str()),
        }
    }

    fn store_slice(&mut self, data: usize, length: usize, at: usize) {
        self.write(at, &(self.base + data as u32).to_le_bytes());
        self.write(at + 4, &(length as u32).to_le_bytes());
    }
}

/// JSON has no NaN, for which serde writes null, and no infinity: either can be a text.
fn number(value: &Value) -> f64 {
    let text = || value.as_str()?.parse().ok();
    value.as_f64().or_else(text).unwrap_or(f64::NAN)
}

/// `roll-back` as Rust calls it: `RollBack`.
fn camel(name: &str) -> String {
    let word = |word: &str| word[..1].to_uppercase() + &word[1..];
    name.split('-').map(word).collect()
}
