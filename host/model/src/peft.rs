//! Adapters in the format of Python's `peft`: adapter_config.json and adapter_model.safetensors.
//!
//! Phi-3 has one module `qkv_proj` and one `gate_up_proj` where this crate adapts q, k, v, gate and up apart; see
//! [`stacked`] for how one becomes the other without changing a number.

mod config_file;
mod read;
mod settings;
mod stacked;
mod targets;

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use host_files::atomic;
use safetensors::SafeTensors;

use self::config_file::AdapterSettings;
use self::stacked::Written;
use crate::config::{Config, Module};
use crate::error::{Error, Result};
use crate::lora::{Lora, Side};
use crate::tensor_file;

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";
/// Key in the header of the weights file: which parts of stacked modules are adapted.
const PARTS: &str = "parts";
/// What peft puts before the name of a module.
const PREFIX: &str = "base_model.model.";

/// Tensors by their names in the file.
type Tensors = BTreeMap<String, Tensor>;

/// `model.layers.0.self_attn.q_proj`
fn module_name(module: &Module, layer: usize) -> String {
    format!("model.layers.{layer}.{}", module.path)
}

/// `base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight`
fn tensor_name(module: &Module, layer: usize, side: Side) -> String {
    format!("{PREFIX}{}.{}", module_name(module, layer), side.name())
}

impl Lora {
    /// Write the adapter into the folder `dir` (made if need be) so that `peft` loads it for the model `base` (a Hub
    /// id or folder name, recorded only). Weights are written before the configuration, each whole or not at all.
    ///
    /// # Errors
    /// [`Error::Io`] when the folder can't be written.
    pub fn save_peft(&self, dir: &Path, model: &Config, base: &str) -> Result<()> {
        std::fs::create_dir_all(dir).map_err(|e| Error::io(dir, e))?;
        let path = dir.join(WEIGHTS);
        let (bytes, entries) = self.peft_bytes(model, &path)?;
        atomic::write(&path, &bytes)?;
        let text = config_file::to_json(self.shape(), &entries, base);
        Ok(atomic::write(&dir.join(CONFIG), text.as_bytes())?)
    }

    /// SHA-256 of the weights' file as [`save_peft`](Self::save_peft) would write it now.
    ///
    /// # Errors
    /// If the adapter can't be written as a file.
    pub fn peft_sha256(&self, model: &Config) -> Result<String> {
        let (bytes, _) = self.peft_bytes(model, Path::new(WEIGHTS))?;
        Ok(host_files::sha256::hex(bytes))
    }

    /// The weights' file, and what it holds.
    fn peft_bytes(
        &self,
        model: &Config,
        path: &Path,
    ) -> Result<(Vec<u8>, Vec<config_file::Entry>)> {
        let Written { tensors, entries, parts } = stacked::stack(self, model)?;
        let mut header = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
        header.extend(parts.map(|parts| (PARTS.to_owned(), parts)));
        let bytes = tensor_file::to_bytes(tensors, header, path, "check the adapter")?;
        Ok((bytes, entries))
    }

    /// Read an adapter that this crate or `peft` wrote, for a model of the shape `model`. Modules may differ in rank and
    /// alpha, and only some of them may be adapted.
    ///
    /// # Errors
    /// [`Error::File`] when a file is missing or broken, the adapter has a setting that can't be honoured (an adapter with biases, modules
    /// saved whole, a start that took a part out of the base's weights), or its tensors don't fit the model.
    pub fn load_peft(dir: &Path, model: &Config, device: &Device) -> Result<Self> {
        let settings = AdapterSettings::read(&dir.join(CONFIG))?;
        let path = dir.join(WEIGHTS);
        if !path.is_file() {
            let action = if dir.join("adapter_model.bin").is_file() {
                "save the adapter again with safe_serialization=True"
            } else {
                "give the folder of an adapter"
            };
            return Err(Error::file(path, "is missing", action));
        }
        let (tensors, parts) = read_tensors(&path, device)?;
        read::adapter(&path, model, &settings, tensors, parts.as_deref(), device)
    }
}

/// What is added to one linear layer as the family's files hold it: scaling * B A. Magnitudes are left out.
pub(crate) struct AdaptedModule {
    /// `model.layers.0.self_attn.q_proj`
    pub name: String,
    /// [rank, in]
    pub a: Tensor,
    /// [out, rank]
    pub b: Tensor,
    pub scaling: f64,
}

/// The adapted linear layers of a model.
pub(crate) fn modules(lora: &Lora, model: &Config) -> Result<Vec<AdaptedModule>> {
    let Written { mut tensors, entries, .. } = stacked::stack(lora, model)?;
    let mut adapted = Vec::new();
    for entry in entries {
        let [a, b] = [Side::A, Side::B]
            .map(|side| tensors.remove(&tensor_name(entry.module, entry.layer, side)));
        if let (Some(a), Some(b)) = (a, b) {
            let name = module_name(entry.module, entry.layer);
            adapted.push(AdaptedModule { name, a, b, scaling: lora.shape().scaling(entry.place) });
        }
    }
    Ok(adapted)
}

/// Bytes of an adapter: a rank of 512 in a model of 70 billion parameters.
const LARGEST: u64 = 32 << 30;

/// All tensors as f32, and the header's list of parts.
fn read_tensors(path: &Path, device: &Device) -> Result<(Tensors, Option<String>)> {
    let bytes = host_files::capped::read(path, LARGEST).map_err(|e| Error::io(path, e))?;
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
