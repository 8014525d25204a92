//! What a component is made of, read without running or compiling it.

use serde::Serialize;
use wasmparser::{CustomSectionReader, KnownCustom, Parser, Payload};

use host_files::text::clean;
use host_sandbox::{Error, FileProblem, Result};

/// Of each list; a component of more is described by its counts.
const MOST: usize = 64;

/// Counts and sizes over all that a component contains.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Structure {
    /// Of the component itself; a policy has none.
    pub imports: Vec<String>,
    pub exports: Vec<String>,
    pub core_modules: u64,
    pub core_instances: u64,
    /// Components inside the component.
    pub components: u64,
    /// Functions with a body.
    pub functions: u64,
    pub code_bytes: u64,
    pub largest_function_bytes: u64,
    pub data_bytes: u64,
    pub globals: u64,
    /// Functions that run at instantiation, before any call.
    pub start_functions: u64,
    pub memories: Vec<Memory>,
    pub tables: Vec<Table>,
    /// What the file says of the tools that made it; anyone can write that.
    pub producers: Vec<Producer>,
    pub custom_sections: Vec<CustomSection>,
}

/// In pages of 64 KiB.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Memory {
    pub pages: u64,
    /// Absent if it may grow up to the host's limit.
    pub maximum: Option<u64>,
}

/// In elements.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Table {
    pub elements: u64,
    pub maximum: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Producer {
    /// language, sdk or processed-by.
    pub field: String,
    pub name: String,
    pub version: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CustomSection {
    pub name: String,
    pub bytes: u64,
}

impl Structure {
    /// Reads a component that was validated before.
    ///
    /// # Errors
    /// A file that can't be read to its end.
    pub fn of(bytes: &[u8], file: &str) -> Result<Self> {
        let mut structure = Self::default();
        structure.read(bytes).map_err(|e| Error::File {
            file: file.to_owned(),
            problem: FileProblem::new(
                format!("it can't be read: {}", clean(e.message(), 200)),
                "build or copy it again",
            ),
        })?;
        Ok(structure)
    }

    fn read(&mut self, bytes: &[u8]) -> wasmparser::Result<()> {
        let mut depth = 0usize;
        for payload in Parser::new(0).parse_all(bytes) {
            match payload? {
                Payload::ModuleSection { .. } => {
                    depth += 1;
                    self.core_modules += 1;
                }
                Payload::ComponentSection { .. } => {
                    depth += 1;
                    self.components += 1;
                }
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::ComponentImportSection(imports) if depth == 0 => {
                    for import in imports {
                        push(&mut self.imports, clean(import?.name.name, 200));
                    }
                }
                Payload::ComponentExportSection(exports) if depth == 0 => {
                    for export in exports {
                        push(&mut self.exports, clean(export?.name.name, 200));
                    }
                }
                Payload::InstanceSection(instances) => {
                    self.core_instances += u64::from(instances.count());
                }
                other => self.module(other)?,
            }
        }
        Ok(())
    }

    /// What stands in core modules, and custom sections anywhere.
    fn module(&mut self, payload: Payload<'_>) -> wasmparser::Result<()> {
        match payload {
            Payload::MemorySection(memories) => {
                for memory in memories {
                    let memory = memory?;
                    let (pages, maximum) = (memory.initial, memory.maximum);
                    push(&mut self.memories, Memory { pages, maximum });
                }
            }
            Payload::TableSection(tables) => {
                for table in tables {
                    let table = table?.ty;
                    let (elements, maximum) = (table.initial, table.maximum);
                    push(&mut self.tables, Table { elements, maximum });
                }
            }
            Payload::GlobalSection(globals) => self.globals += u64::from(globals.count()),
            Payload::StartSection { .. } => self.start_functions += 1,
            Payload::CodeSectionEntry(body) => {
                let bytes = body.range().len() as u64;
                self.functions += 1;
                self.code_bytes += bytes;
                self.largest_function_bytes = self.largest_function_bytes.max(bytes);
            }
            Payload::DataSection(segments) => {
                for segment in segments {
                    self.data_bytes += segment?.data.len() as u64;
                }
            }
            Payload::CustomSection(section) => self.custom(&section),
            _ => {}
        }
        Ok(())
    }

    /// Custom sections mean nothing to the engine, so a broken one is no error.
    fn custom(&mut self, section: &CustomSectionReader<'_>) {
        let name = clean(section.name(), 64);
        let bytes = section.data().len() as u64;
        match self.custom_sections.iter_mut().find(|one| one.name == name) {
            Some(known) => known.bytes += bytes,
            None => push(&mut self.custom_sections, CustomSection { name, bytes }),
        }
        let KnownCustom::Producers(fields) = section.as_known() else {
            return;
        };
        for field in fields.into_iter().flatten() {
            for value in field.values.into_iter().flatten() {
                let producer = Producer {
                    field: field.name.to_owned(),
                    name: clean(value.name, 64),
                    version: clean(value.version, 64),
                };
                if !self.producers.contains(&producer) {
                    push(&mut self.producers, producer);
                }
            }
        }
    }
}

fn push<T>(list: &mut Vec<T>, one: T) {
    if list.len() < MOST {
        list.push(one);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn everything_is_counted_through_all_levels() {
        let text = r#"(component
            (core module $m
                (memory (export "memory") 2 3)
                (table 4 funcref)
                (global i32 (i32.const 0))
                (func $start nop nop nop)
                (func)
                (start $start)
                (data (i32.const 0) "12345"))
            (core instance (instantiate $m))
            (component (core module (memory 1) (func)))
            (import "wasi:clocks/wall-clock@0.2.0" (instance)))"#;
        let structure = Structure::of(&wat::parse_str(text).unwrap(), "x").unwrap();
        assert_eq!(structure.imports, ["wasi:clocks/wall-clock@0.2.0"]);
        assert_eq!((structure.core_modules, structure.components), (2, 1));
        assert_eq!((structure.functions, structure.start_functions), (3, 1));
        assert_eq!((structure.data_bytes, structure.globals), (5, 1));
        assert_eq!(structure.core_instances, 1);
        let pages: Vec<_> = structure.memories.iter().map(|m| (m.pages, m.maximum)).collect();
        assert_eq!(pages, [(2, Some(3)), (1, None)]);
        assert_eq!(structure.tables[0].elements, 4);
        assert!(structure.largest_function_bytes >= 4);
        assert!(structure.code_bytes > structure.largest_function_bytes);
    }

    #[test]
    fn cut_bytes_are_an_error_not_a_panic() {
        let whole = wat::parse_str(r#"(component (core module (memory 1)))"#).unwrap();
        assert!(Structure::of(&whole, "x").is_ok());
        assert!(Structure::of(&whole[..whole.len() - 1], "x").is_err());
        for length in 0..whole.len() {
            let _ = Structure::of(&whole[..length], "x");
        }
    }
}
