//! Whether a folder has changed since.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;

/// Files whose change changes a report.
const FILES: [&str; 8] = [
    "metrics.jsonl",
    "manifest.json",
    "report.json",
    "generations.jsonl",
    "calibration.json",
    "baseline/metrics.jsonl",
    "journal/head.minisig",
    "summary.json",
];

/// Another number if another report is likely: by sizes and times of files.
pub fn state(folder: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    for name in FILES {
        let found = folder.join(name).metadata().ok();
        let found = found.map(|found| (found.len(), found.modified().ok()));
        (name, found).hash(&mut hasher);
    }
    hasher.finish()
}
