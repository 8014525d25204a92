//! Lists of layers, as taps and steering name them.

use crate::{invalid::Invalid, types::RunInfo};

/// Checks that layers ascend and that the model has them.
pub(super) fn check(field: &str, layers: &[u32], run: &RunInfo) -> Result<(), Invalid> {
    if layers.is_empty() {
        return Err(Invalid::new(field, "is empty; name at least one layer"));
    }
    if let Some(pair) = layers.windows(2).find(|pair| pair[0] >= pair[1]) {
        let problem =
            format!("has {} after {}; layers must be ascending without repeats", pair[1], pair[0]);
        return Err(Invalid::new(field, problem));
    }
    match layers.iter().find(|layer| **layer > run.layers) {
        Some(layer) => {
            let problem =
                format!("has layer {layer}, and the model has layers 0 to {}", run.layers);
            Err(Invalid::unmet(field, problem))
        }
        None => Ok(()),
    }
}

/// Ascending layers in words, with runs as `1-4`.
pub(super) fn in_words(layers: &[u32]) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut rest = layers;
    while let [first, ..] = rest {
        let run = rest.iter().zip(*first..).take_while(|(layer, want)| **layer == *want).count();
        let last = rest[run - 1];
        match run {
            1 => parts.push(first.to_string()),
            2 => parts.extend([first.to_string(), last.to_string()]),
            _ => parts.push(format!("{first}-{last}")),
        }
        rest = &rest[run..];
    }
    let word = if layers.len() == 1 { "layer" } else { "layers" };
    format!("{word} {}", parts.join(", "))
}
