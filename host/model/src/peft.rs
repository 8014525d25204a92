//! Adapters in the format of Python's `peft`: adapter_config.json and adapter_model.safetensors.
//!
//! Phi-3 has one module `qkv_proj` and one `gate_up_proj` where this crate adapts q, k, v, gate and up apart; see
//! [`stacked`] for how one becomes the other without changing a number.

mod config_file;
mod stacked;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use host_files::atomic;
use safetensors::SafeTensors;

use self::config_file::AdapterConfig;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::lora::{Lora, LoraConfig, Target};
use crate::tensor_file;

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";
/// Key in the header of the weights file: which parts of stacked modules are adapted.
const PARTS: &str = "parts";

/// Tensors by their names in the file.
type Tensors = BTreeMap<String, Tensor>;

impl Lora {
    /// Write the adapter into the folder `dir` (made if need be) so that `peft` loads it for the model `base` (a Hub
    /// id or folder name, recorded only). Weights are written before the configuration, each whole or not at all.
    ///
    /// # Errors
    /// [`Error::Io`] when the folder can't be written.
    pub fn save_peft(&self, dir: &Path, model: &Config, base: &str) -> Result<()> {
        let mut tensors: Tensors =
            self.named().map(|(name, var)| (name.to_owned(), var.as_detached_tensor())).collect();
        let mut file = AdapterConfig::new(&self.config, base);
        let mut header = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
        if stacked::modules(model).next().is_some() {
            tensors = stacked::fuse(self, model, tensors, &mut file)?;
            let parts: Vec<&str> = self.config.targets.iter().map(|t| t.name()).collect();
            header.insert(PARTS.to_owned(), parts.join(","));
        }
        std::fs::create_dir_all(dir).map_err(|e| Error::io(dir, e))?;
        let path = dir.join(WEIGHTS);
        let bytes = tensor_file::to_bytes(tensors, header, &path, "check the adapter")?;
        atomic::write(&path, &bytes)?;
        Ok(atomic::write(&dir.join(CONFIG), file.to_json().as_bytes())?)
    }

    /// Read an adapter that this crate or `peft` wrote, for a model of the shape `model`.
    ///
    /// # Errors
    /// [`Error::File`] when a file is missing or broken, or the adapter has a setting that can't be honoured (DoRA,
    /// rank-stabilised scaling, trained biases, modules saved whole, ranks that differ); [`Error::Adapter`] when its
    /// tensors don't fit the model.
    pub fn load_peft(dir: &Path, model: &Config, device: &Device) -> Result<Self> {
        let file = AdapterConfig::read(&dir.join(CONFIG))?;
        let path = dir.join(WEIGHTS);
        if !path.is_file() {
            let action = if dir.join("adapter_model.bin").is_file() {
                "save the adapter again with safe_serialization=True"
            } else {
                "give the folder of an adapter"
            };
            return Err(Error::file(path, "is missing", action));
        }
        let (mut tensors, parts) = read_tensors(&path, device)?;
        if stacked::modules(model).next().is_some() {
            tensors = stacked::split(&path, model, tensors, &file, parts.as_deref())?;
        } else {
            file.refuse_patterns()?;
        }
        let targets = targets_of(&tensors);
        if targets.is_empty() {
            return Err(Error::file(
                path,
                "holds no LoRA tensors",
                "give the folder of a LoRA adapter",
            ));
        }
        let config = LoraConfig { rank: file.rank, alpha: file.alpha, targets };
        Self::from_tensors(model, config, tensors, device)
    }
}

/// All tensors as f32, and the header's list of parts.
fn read_tensors(path: &Path, device: &Device) -> Result<(Tensors, Option<String>)> {
    let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
    let broken = |e: safetensors::SafeTensorError| {
        Error::file(
            path,
            format!("isn't a complete safetensors file ({e})"),
            "save the adapter again",
        )
    };
    let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(broken)?;
    let parts = metadata.metadata().as_ref().and_then(|m| m.get(PARTS).cloned());
    let mut tensors = Tensors::new();
    for (name, view) in SafeTensors::deserialize(&bytes).map_err(broken)?.tensors() {
        let tensor = candle_core::safetensors::Load::load(&view, device)?.to_dtype(DType::F32)?;
        tensors.insert(name, tensor);
    }
    Ok((tensors, parts))
}

/// The projections that the tensors adapt. A tensor of another module is left for [`Lora::from_tensors`] to refuse.
fn targets_of(tensors: &Tensors) -> Vec<Target> {
    let module = |name: &str| {
        name.strip_suffix(".lora_A.weight")?.rsplit('.').next().and_then(Target::from_name)
    };
    let found: BTreeSet<Target> = tensors.keys().filter_map(|name| module(name)).collect();
    found.into_iter().collect()
}
