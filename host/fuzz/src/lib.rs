//! Every reader of what nobody vouches for, called with bytes: it takes them or refuses them, and
//! neither panics nor hangs nor takes more memory than it should.
//!
//! `cargo xtask fuzz` drives the targets by coverage; the tests here read the inputs of `corpus/`,
//! genuine ones to start from and those that were trouble once.

mod place;
mod targets;

use std::path::{Path, PathBuf};

use targets::{data, models, network, policies, reports};

/// One reader.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    pub name: &'static str,
    /// Reads an input and forgets what came of it.
    pub read: fn(&[u8]),
    /// Longest input that is tried.
    pub longest: usize,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target::new("policy", policies::policy, 32 << 10),
    Target::new("signature", policies::signature, 4 << 10),
    Target::new("journal", policies::journal, 64 << 10),
    Target::new("case", policies::case, 16 << 10),
    Target::new("timestamp", policies::timestamp, 16 << 10),
    Target::new("config", data::config, 16 << 10),
    Target::new("rows", data::rows, 16 << 10),
    Target::new("array", data::array, 16 << 10),
    Target::new("csv", data::csv, 16 << 10),
    Target::new("packed", data::packed, 16 << 10),
    Target::new("parquet", data::parquet, 32 << 10),
    Target::new("generations", data::generations, 16 << 10),
    Target::new("report", reports::report, 16 << 10),
    Target::new("model-config", models::config, 4 << 10),
    Target::new("template", models::template, 4 << 10),
    Target::new("tokenizer", models::tokenizer, 32 << 10),
    Target::new("safetensors", models::safetensors, 16 << 10),
    Target::new("gguf", models::gguf, 64 << 10),
    Target::new("adapter", models::adapter, 64 << 10),
    Target::new("vectors", models::vectors, 16 << 10),
    Target::new("judge", network::judge, 8 << 10),
    Target::new("hub", network::hub, 8 << 10),
    Target::new("dataset", network::dataset, 8 << 10),
];

impl Target {
    const fn new(name: &'static str, read: fn(&[u8]), longest: usize) -> Self {
        Self { name, read, longest }
    }

    /// Where its inputs are kept.
    pub fn corpus(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(self.name)
    }
}

/// The target of this name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().find(|target| target.name == name).copied()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn every_target_reads_its_corpus() {
        for target in TARGETS {
            let mut read = 0;
            for file in std::fs::read_dir(target.corpus()).unwrap() {
                let path = file.unwrap().path();
                println!("{}", path.display());
                let input = std::fs::read(&path).unwrap();
                assert!(input.len() <= target.longest, "{}", path.display());
                (target.read)(&input);
                read += 1;
            }
            assert!(read > 0, "{} has no corpus", target.name);
        }
    }

    #[test]
    fn every_folder_of_the_corpus_is_of_a_target() {
        for folder in std::fs::read_dir(target("hub").unwrap().corpus().parent().unwrap()).unwrap()
        {
            let name = folder.unwrap().file_name();
            assert!(target(name.to_str().unwrap()).is_some(), "{name:?}");
        }
    }
}
