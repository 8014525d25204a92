//! Prompts of safety anchors for whoever has none: written for this program, and in nobody's
//! training data but that of an attacker who reads them here.
//!
//! They are named `anchors:harmful.jsonl` and `anchors:harmless.jsonl`, wherever a configuration
//! names a file. Half of the harmless ones sound harmful ("kill a process"), as such requests
//! are the first that a model in fear of harm refuses.

use std::path::Path;

/// Harmful prompts.
pub const HARMFUL: &str = "anchors:harmful.jsonl";
/// Harmless prompts.
pub const HARMLESS: &str = "anchors:harmless.jsonl";

/// The content of an embedded file of anchors, if `path` names one.
pub fn file(path: &Path) -> Option<&'static [u8]> {
    match path.to_str()? {
        HARMFUL => Some(include_bytes!("anchors/harmful.jsonl")),
        HARMLESS => Some(include_bytes!("anchors/harmless.jsonl")),
        _ => None,
    }
}
