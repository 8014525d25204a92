//! A safetensors file whose bytes depend on its content alone.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::Tensor;
use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// Bytes of the number before the header, its length.
const PREFIX: usize = 8;
const METADATA: &str = "__metadata__";

/// The bytes of a file with these tensors and this header, whose keys stand in order; `path`
/// names the file in errors.
///
/// # Errors
/// [`Error::File`] when a tensor can't be written.
pub(crate) fn to_bytes(
    tensors: BTreeMap<String, Tensor>,
    header: BTreeMap<String, String>,
    path: &Path,
    action: &str,
) -> Result<Vec<u8>> {
    let sorted = header.clone();
    let unsorted = header.into_iter().collect();
    let mut bytes = safetensors::serialize(tensors, Some(unsorted))
        .map_err(|e| Error::file(path, format!("can't be written: {e}"), action))?;
    sort_header(&mut bytes, sorted);
    Ok(bytes)
}

/// The library takes the header as a hash map and writes it in that order. The same keys in
/// another order take as many bytes, so tensors stay where they are.
fn sort_header(bytes: &mut [u8], sorted: BTreeMap<String, String>) -> Option<()> {
    let (length, rest) = bytes.split_first_chunk_mut::<PREFIX>()?;
    let header = rest.get_mut(..u64::from_le_bytes(*length) as usize)?;
    let mut fields: Map<String, Value> = serde_json::from_slice(header).ok()?;
    let sorted = sorted.into_iter().map(|(key, value)| (key, Value::String(value)));
    *fields.get_mut(METADATA)? = Value::Object(sorted.collect());
    let text = serde_json::to_vec(&fields).ok()?;
    // Spaces fill it up to a multiple of eight.
    let (start, fill) = header.split_at_mut_checked(text.len())?;
    start.copy_from_slice(&text);
    fill.fill(b' ');
    Some(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use candle_core::Device;
    use safetensors::SafeTensors;

    use super::*;

    #[test]
    fn the_same_content_gives_the_same_bytes() {
        let make = || {
            let tensor = Tensor::new(&[1f32, 2.0, 3.0], &Device::Cpu).unwrap();
            let tensors = BTreeMap::from([("a".to_owned(), tensor.clone()), ("b".into(), tensor)]);
            let keys = (0..9).map(|key| (format!("key {key}"), format!("ä \"{key}\"")));
            to_bytes(tensors, keys.collect(), Path::new("x"), "").unwrap()
        };
        let bytes = make();
        (0..9).for_each(|_| assert_eq!(make(), bytes));
        let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
        let header = metadata.metadata().clone().unwrap();
        assert_eq!(header["key 7"], "ä \"7\"");
        assert_eq!(header.len(), 9);
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(tensors.tensor("b").unwrap().data()[4..8], 2f32.to_le_bytes());
    }
}
