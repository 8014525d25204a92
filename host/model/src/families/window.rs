//! The two ways in which config.json describes a sliding window.

use serde_json::{Map, Value, json};

use crate::config::{Config, Fields};
use crate::error::Result;

/// Reads a window that all layers have if there is a size.
pub(super) fn read_size(json: &Fields) -> Result<(Option<usize>, usize)> {
    Ok((json.size("sliding_window")?, 0))
}

/// Writes the size, or null: without the field, transformers assumes a window.
pub(super) fn write_size(config: &Config, json: &mut Map<String, Value>) {
    json.insert("sliding_window".into(), json!(config.sliding_window));
}

/// Reads a window that must be switched on and holds for the upper layers.
pub(super) fn read_switched(json: &Fields) -> Result<(Option<usize>, usize)> {
    if !json.flag("use_sliding_window")? {
        return Ok((None, 0));
    }
    let from = json.size("max_window_layers")?.unwrap_or(0);
    Ok((json.size("sliding_window")?, from))
}

/// Writes what [`read_switched`] reads.
pub(super) fn write_switched(config: &Config, json: &mut Map<String, Value>) {
    json.insert("use_sliding_window".into(), json!(config.sliding_window.is_some()));
    json.insert("sliding_window".into(), json!(config.sliding_window));
    json.insert("max_window_layers".into(), json!(config.window_from_layer));
}
