//! The ways in which config.json describes a sliding window.

use serde_json::{Map, Value, json};

use crate::config::{Config, Fields, Window};
use crate::error::Result;

/// Fields that [`read_size`] reads.
pub(super) const SIZE_FIELDS: [&str; 2] = ["sliding_window", LAYER_TYPES];
/// Fields that [`read_switched`] reads.
pub(super) const SWITCHED_FIELDS: [&str; 4] =
    ["use_sliding_window", "sliding_window", "max_window_layers", LAYER_TYPES];

const LAYER_TYPES: &str = "layer_types";
const FULL: &str = "full_attention";
const SLIDING: &str = "sliding_attention";

/// Reads a window that all layers have if there is a size; `absent` is the size without the field.
pub(super) fn read_size(json: &Fields, absent: Option<usize>) -> Result<Window> {
    let size = if json.has("sliding_window") { json.size("sliding_window")? } else { absent };
    if let Some(named) = types(json)?
        && named.iter().any(|slides| *slides != size.is_some())
    {
        let held = match size {
            Some(size) => format!("every layer has the window of {size}"),
            None => "no layer has a window".to_owned(),
        };
        json.note(LAYER_TYPES, format!("isn't read for this family, as in transformers: {held}"));
    }
    Ok(Window { size, layers: None })
}

/// As [`read_size`], with `layer_types` deciding which layers have it, if the field is there.
pub(super) fn read_typed(json: &Fields, absent: Option<usize>) -> Result<Window> {
    typed(json, absent, true)
}

/// `notes` says that layers differ, where a reader may not expect it.
fn typed(json: &Fields, absent: Option<usize>, notes: bool) -> Result<Window> {
    let size = if json.has("sliding_window") { json.size("sliding_window")? } else { absent };
    let Some(named) = types(json)? else {
        return Ok(Window { size, layers: None });
    };
    if size.is_none() && named.contains(&true) {
        let action = "set sliding_window to its size, or name full_attention for every layer";
        let problem = format!("names {SLIDING}, but `sliding_window` gives no window");
        return Err(json.fail(LAYER_TYPES, problem, action));
    }
    if size.is_some() && named.contains(&false) && notes {
        let sliding = named.iter().filter(|slides| **slides).count();
        let what = format!(
            "counts, as in transformers: {sliding} of {} layers have the window of `sliding_window`",
            named.len()
        );
        json.note(LAYER_TYPES, what);
    }
    Ok(window(size, named))
}

/// As [`read_typed`]; without `layer_types` every layer has the window but for every `pattern`-th.
pub(super) fn read_patterned(
    json: &Fields,
    absent: Option<usize>,
    pattern: usize,
) -> Result<Window> {
    if json.get(LAYER_TYPES).is_some() {
        return typed(json, absent, false);
    }
    let size = if json.has("sliding_window") { json.size("sliding_window")? } else { absent };
    let layers = json.layers()?;
    Ok(patterned(size, layers, pattern))
}

/// Completes a window whose layers nothing may have said: it isn't in every `pattern`-th.
pub(super) fn complete(config: &mut Config, pattern: usize) {
    let size = config.sliding_window;
    let found = match config.window_layers.take().filter(|_| size.is_some()) {
        Some(layers) => window(size, layers),
        None => patterned(size, config.num_layers, pattern),
    };
    (config.sliding_window, config.window_layers) = (found.size, found.layers);
}

/// A window that all layers have but for every `pattern`-th.
fn patterned(size: Option<usize>, layers: usize, pattern: usize) -> Window {
    let slides = |layer: usize| size.is_some() && !(layer + 1).is_multiple_of(pattern.max(1));
    window(size, (0..layers).map(slides).collect())
}

/// Writes size and layers for [`read_patterned`].
pub(super) fn write_typed(config: &Config, json: &mut Map<String, Value>) {
    let name = |layer| if config.window(layer).is_some() { SLIDING } else { FULL };
    let types: Vec<&str> = (0..config.num_layers).map(name).collect();
    json.insert("sliding_window".into(), json!(config.sliding_window));
    json.insert(LAYER_TYPES.into(), json!(types));
}

/// Writes the size, or null: without the field, transformers assumes a window.
pub(super) fn write_size(config: &Config, json: &mut Map<String, Value>) {
    json.insert("sliding_window".into(), json!(config.sliding_window));
}

/// Reads a window that must be switched on. It holds for the layers that `layer_types` names, without it for those
/// from `max_window_layers` on.
pub(super) fn read_switched(json: &Fields) -> Result<Window> {
    let layers = json.layers()?;
    let size = match (json.flag("use_sliding_window")?, json.has("sliding_window")) {
        (false, _) => None,
        (true, true) => json.size("sliding_window")?,
        // The defaults of the configuration classes in transformers.
        (true, false) => Some(4096),
    };
    let from = if json.has("max_window_layers") {
        json.size("max_window_layers")?.unwrap_or(0)
    } else {
        28
    };
    let upper: Vec<bool> = (0..layers).map(|layer| size.is_some() && layer >= from).collect();
    let Some(named) = types(json)? else {
        return Ok(window(size, upper));
    };
    if size.is_none() && named.contains(&true) {
        let action = "set use_sliding_window to true and sliding_window to its size, or name full_attention for every layer";
        let problem = format!(
            "names {SLIDING}, but `use_sliding_window` and `sliding_window` give no window"
        );
        return Err(json.fail(LAYER_TYPES, problem, action));
    }
    if size.is_some() && named != upper {
        let count = |layers: &[bool]| layers.iter().filter(|slides| **slides).count();
        let what = format!(
            "counts, as in transformers: {} of {layers} layers have the window; by `max_window_layers` {} would",
            count(&named),
            count(&upper)
        );
        json.note(LAYER_TYPES, what);
    }
    Ok(window(size, named))
}

/// Reads a window that must be switched on and that all layers have then: `layer_types` and `max_window_layers`
/// aren't read.
pub(super) fn read_switch(json: &Fields) -> Result<Window> {
    let size = match (json.flag("use_sliding_window")?, json.has("sliding_window")) {
        (false, _) => None,
        (true, true) => json.size("sliding_window")?,
        // The default of the configuration class in transformers.
        (true, false) => Some(4096),
    };
    if let Some(named) = types(json)?
        && named.iter().any(|slides| *slides != size.is_some())
    {
        json.note(LAYER_TYPES, "isn't read for this family, as in transformers");
    }
    Ok(Window { size, layers: None })
}

/// Writes what [`read_switch`] reads.
pub(super) fn write_switch(config: &Config, json: &mut Map<String, Value>) {
    json.insert("use_sliding_window".into(), json!(config.sliding_window.is_some()));
    json.insert("sliding_window".into(), json!(config.sliding_window));
}

/// Per layer whether `layer_types` gives it a window, if the field is there.
fn types(json: &Fields) -> Result<Option<Vec<bool>>> {
    let Some(value) = json.get(LAYER_TYPES) else {
        return Ok(None);
    };
    let layers = json.layers()?;
    let action = "give every layer one of full_attention, sliding_attention";
    let slides = |kind: &Value| match kind.as_str() {
        Some(FULL) => Ok(false),
        Some(SLIDING) => Ok(true),
        _ => Err(json.fail(LAYER_TYPES, format!("names {kind}, which isn't supported"), action)),
    };
    let Some(list) = value.as_array() else {
        return Err(json.fail(LAYER_TYPES, "isn't a list", action));
    };
    if list.len() != layers {
        let problem = format!("names {} layers, `num_hidden_layers` is {layers}", list.len());
        return Err(json.fail(LAYER_TYPES, problem, action));
    }
    list.iter().map(slides).collect::<Result<_>>().map(Some)
}

/// One form for every window, however it was described.
fn window(size: Option<usize>, layers: Vec<bool>) -> Window {
    match (layers.contains(&true), layers.contains(&false)) {
        (false, _) => Window::default(),
        (true, false) => Window { size, layers: None },
        (true, true) => Window { size, layers: Some(layers) },
    }
}

/// Writes what [`read_switched`] reads.
pub(super) fn write_switched(config: &Config, json: &mut Map<String, Value>) {
    json.insert("use_sliding_window".into(), json!(config.sliding_window.is_some()));
    json.insert("sliding_window".into(), json!(config.sliding_window));
    let slides = (0..config.num_layers).map(|layer| config.window(layer).is_some());
    let first = slides.clone().position(|slides| slides);
    // Older readers know the number alone.
    json.insert("max_window_layers".into(), json!(first.unwrap_or(config.num_layers)));
    let types: Vec<&str> = slides.map(|slides| if slides { SLIDING } else { FULL }).collect();
    json.insert(LAYER_TYPES.into(), json!(types));
}
