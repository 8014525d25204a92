//! Largest files of a model that are read.

/// tokenizer.json and weight index: four times those of the largest vocabularies.
pub const TOKENIZER: u64 = 128 << 20;
/// config.json, of a model or an adapter; parsed, it takes thirty times as much.
pub const CONFIG: u64 = 4 << 20;
/// Files beside tokenizer.json, some of which list all special tokens.
pub const SIDE_FILE: u64 = 16 << 20;
/// Chat templates; the longest in use have 40 KiB.
pub const TEMPLATE: u64 = 1 << 20;
