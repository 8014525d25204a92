//! Files for readers that take a path.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tempfile::TempDir;

/// A folder of this process; whoever starts it says where (`TMPDIR`).
pub fn folder() -> &'static Path {
    static FOLDER: OnceLock<Option<TempDir>> = OnceLock::new();
    match FOLDER.get_or_init(|| tempfile::tempdir().ok()) {
        Some(folder) => folder.path(),
        None => panic!("there is no temporary folder"),
    }
}

/// A file of this name in it with these bytes.
pub fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder().join(name);
    let parent = path.parent().unwrap_or(folder());
    if let Err(error) = fs::create_dir_all(parent).and_then(|()| fs::write(&path, bytes)) {
        panic!("{}: {error}", path.display());
    }
    path
}

/// An input that holds two files, with this line between them.
pub fn two(input: &[u8]) -> (&[u8], &[u8]) {
    const BETWEEN: &[u8] = b"\n----\n";
    match input.windows(BETWEEN.len()).position(|part| part == BETWEEN) {
        Some(at) => (&input[..at], &input[at + BETWEEN.len()..]),
        None => (input, &[]),
    }
}
