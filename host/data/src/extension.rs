//! How the names of data files end.

use std::path::Path;

use super::packed::Packing;

/// The endings of names that data files have, without those of packings.
pub const EXTENSIONS: &[&str] = &["jsonl", "ndjson", "json", "csv", "tsv", "parquet"];

/// The ending of a data file's name in small letters, without that of a packing.
pub fn extension(name: &Path) -> String {
    let name = name.file_name().map(|name| name.to_string_lossy().to_lowercase());
    let name = name.unwrap_or_default();
    let (name, _) = Packing::of_name(&name);
    name.rsplit_once('.').map(|(_, extension)| extension.to_owned()).unwrap_or_default()
}
