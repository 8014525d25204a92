//! Steering vectors as a safetensors file: `layer.3` and so on, f32, [hidden].

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use host_files::atomic;
use safetensors::SafeTensors;

use super::Steering;
use crate::error::{Error, Result};
use crate::tensor_file;

/// Bytes of a file of vectors: one per layer, of any width.
const LARGEST: u64 = 1 << 30;

const PREFIX: &str = "layer.";
/// Keys in the header.
const MODEL: &str = "model_sha256";
const ABOUT: &str = "about";

/// What a file says of its vectors; nothing where other programs made it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// Digest of the model they were fitted on.
    pub model: Option<String>,
    /// One line for a person.
    pub about: Option<String>,
}

impl Steering {
    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Io`] when it can't be written.
    pub fn save(&self, path: &Path, origin: &Origin) -> Result<()> {
        let header = [(MODEL, &origin.model), (ABOUT, &origin.about)];
        let header: BTreeMap<String, String> = header
            .into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), value.clone()?)))
            .collect();
        let tensors = self.vectors.iter().map(|(layer, vector)| {
            let tensor = Tensor::new(vector.as_slice(), &Device::Cpu)?;
            Ok((format!("{PREFIX}{layer}"), tensor))
        });
        let tensors = tensors.collect::<Result<BTreeMap<_, _>>>()?;
        let bytes = tensor_file::to_bytes(tensors, header, path, "fit it again")?;
        Ok(atomic::write(path, &bytes)?)
    }

    /// Reads vectors of any number format, with what the file says of them.
    ///
    /// # Errors
    /// [`Error::File`] when it can't be read or holds no vectors.
    pub fn load(path: &Path) -> Result<(Self, Origin)> {
        let bytes = host_files::capped::read(path, LARGEST).map_err(|error| {
            Error::file(path, format!("can't be read ({error})"), "check the path")
        })?;
        Self::from_bytes(&bytes).map_err(|problem| {
            let action = "make one with host steer fit";
            Error::file(path, problem, action)
        })
    }

    fn from_bytes(bytes: &[u8]) -> std::result::Result<(Self, Origin), String> {
        let broken = |error: safetensors::SafeTensorError| format!("is no safetensors ({error})");
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(broken)?;
        let header = header.metadata().clone().unwrap_or_default();
        let tensors = candle_core::safetensors::load_buffer(bytes, &Device::Cpu)
            .map_err(|error| format!("is no safetensors ({error})"))?;
        let vectors = tensors.into_iter().map(|(name, tensor)| {
            let layer = name.strip_prefix(PREFIX).and_then(|layer| layer.parse().ok());
            let layer = layer.ok_or_else(|| format!("holds {name:?}, not {PREFIX}NUMBER"))?;
            let values = tensor
                .to_dtype(DType::F32)
                .and_then(|tensor| tensor.to_vec1())
                .map_err(|error| format!("{name} is no vector ({error})"))?;
            Ok((layer, values))
        });
        let vectors = vectors.collect::<std::result::Result<BTreeMap<_, _>, String>>()?;
        let steering = Self::new(vectors).map_err(|error| error.to_string())?;
        let origin =
            Origin { model: header.get(MODEL).cloned(), about: header.get(ABOUT).cloned() };
        Ok((steering, origin))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_was_saved_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v.safetensors");
        let vectors = BTreeMap::from([(0, vec![0.5, -2.0]), (12, vec![1e-7, 3.0])]);
        let steering = Steering::new(vectors).unwrap();
        let origin = Origin { model: Some("abc".into()), about: None };
        steering.save(&path, &origin).unwrap();
        assert_eq!(Steering::load(&path).unwrap(), (steering, origin));
    }

    #[test]
    fn a_file_without_vectors_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v.safetensors");
        let error = |path: &Path| Steering::load(path).unwrap_err().to_string();
        assert!(error(&path).contains("v.safetensors: can't be read"));
        std::fs::write(&path, b"nothing").unwrap();
        assert!(error(&path).contains("is no safetensors"));
        let tensor = Tensor::new(&[[1f32]], &Device::Cpu).unwrap();
        for (name, problem) in [("weight", "not layer.NUMBER"), ("layer.1", "is no vector")] {
            let tensors = BTreeMap::from([(name, &tensor)]);
            std::fs::write(&path, safetensors::serialize(tensors, None).unwrap()).unwrap();
            assert!(error(&path).contains(problem), "{}", error(&path));
        }
    }
}
