//! Weights in safetensors files, one or several shards, memory-mapped.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use candle_core::safetensors::{Load, MmapedSafetensors};
use candle_core::{DType, Device, Tensor};
use host_files::capped;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::reader::TensorSource;
use host_files::text::line;

use crate::error::{Error, Result};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const FETCH_AGAIN: &str = "fetch the file again";

/// Memory-mapped safetensors files.
pub struct Shards {
    files: Vec<(PathBuf, MmapedSafetensors)>,
    /// Tensor name to the file that holds it, and its shape.
    tensors: BTreeMap<String, (usize, Vec<usize>)>,
    types: BTreeSet<Dtype>,
    device: Device,
    dtype: DType,
}

/// The weight files of a model folder: model.safetensors, or the shards that its index names.
///
/// # Errors
/// [`Error::File`] when there are none, the index isn't valid, or a shard is missing.
pub fn weight_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let single = folder.join(SINGLE);
    if single.is_file() {
        return Ok(vec![single]);
    }
    let index = folder.join(INDEX);
    if !index.is_file() {
        return Err(no_weights(folder));
    }
    let mut files = Vec::new();
    for name in shard_names(&index)? {
        let shard = folder.join(&name);
        if !shard.is_file() {
            return Err(Error::file(
                shard,
                format!("is missing, but {INDEX} names it"),
                FETCH_AGAIN,
            ));
        }
        files.push(shard);
    }
    Ok(files)
}

fn no_weights(folder: &Path) -> Error {
    let pickled = folder.join("pytorch_model.bin").is_file()
        || folder.join("pytorch_model.bin.index.json").is_file();
    let action = if pickled {
        "convert pytorch_model.bin with transformers: save_pretrained(folder, safe_serialization=True)"
    } else {
        "give a folder with the model's safetensors files"
    };
    Error::file(folder, format!("holds no {SINGLE} and no {INDEX}"), action)
}

fn shard_names(index: &Path) -> Result<BTreeSet<String>> {
    Ok(weight_map(index)?.into_values().collect())
}

/// Tensors and the file of each, as the index has them.
fn weight_map(index: &Path) -> Result<BTreeMap<String, String>> {
    let invalid = |problem: String| Error::file(index, problem, FETCH_AGAIN);
    let text = capped::read(index, crate::budget::TOKENIZER).map_err(|e| Error::io(index, e))?;
    let json: serde_json::Value =
        serde_json::from_slice(&text).map_err(|e| invalid(format!("isn't valid JSON: {e}")))?;
    let map = json.get("weight_map").and_then(|m| m.as_object());
    let map =
        map.filter(|m| !m.is_empty()).ok_or_else(|| invalid("has no weight_map".to_owned()))?;
    map.iter()
        .map(|(tensor, file)| match file.as_str() {
            // A plain name: an index must not reach outside of its folder.
            Some(name) if !name.is_empty() && !name.contains(['/', '\\']) && name != ".." => {
                Ok((tensor.clone(), name.to_owned()))
            }
            _ => {
                Err(invalid(format!("weight_map names {file}, which isn't a file of this folder")))
            }
        })
        .collect()
}

impl Shards {
    /// Map `files`; tensors are read later, one by one, as `dtype` on `device`.
    ///
    /// # Errors
    /// [`Error::File`] for a file that isn't valid safetensors (truncated, another format) or holds types other
    /// than f16, bf16, f32 and f64; [`Error::Io`] when it can't be opened.
    pub fn open(files: &[PathBuf], device: &Device, dtype: DType) -> Result<Self> {
        let mut shards = Self {
            files: Vec::new(),
            tensors: BTreeMap::new(),
            types: BTreeSet::new(),
            device: device.clone(),
            dtype,
        };
        for path in files {
            let length = std::fs::metadata(path).map_err(|e| Error::io(path, e))?.len();
            if length == 0 {
                return Err(Error::file(path, "is empty", FETCH_AGAIN));
            }
            // SAFETY: the map is only read. A model file that another program changes meanwhile is outside of
            // what this program can guard against; its digest then won't match a later run's.
            #[expect(unsafe_code, reason = "files larger than the memory are read as well")]
            let mapped =
                unsafe { MmapedSafetensors::new(path) }.map_err(|e| not_safetensors(path, &e))?;
            for (name, view) in mapped.tensors() {
                check_type(path, &name, view.dtype())?;
                shards.types.insert(view.dtype());
                if let Some((first, _)) = shards.tensors.get(&name) {
                    shards.refuse_another(&name, *first, path, &view)?;
                }
                shards.tensors.insert(name, (shards.files.len(), view.shape().to_vec()));
            }
            shards.files.push((path.clone(), mapped));
        }
        Ok(shards)
    }

    /// A tensor that a second shard holds must be the same in both.
    fn refuse_another(
        &self,
        name: &str,
        first: usize,
        path: &Path,
        view: &TensorView<'_>,
    ) -> Result<()> {
        let (other, mapped) = &self.files[first];
        if same_view(&mapped.get(name)?, view) {
            return Ok(());
        }
        let problem = format!("tensor {name} is another one in {}", other.display());
        Err(Error::file(
            path,
            problem,
            "remove the shard that isn't of this model, or fetch all shards again",
        ))
    }

    /// The types that tensors are stored in.
    pub fn types(&self) -> &BTreeSet<Dtype> {
        &self.types
    }

    /// The name of the file that holds a tensor.
    fn holder(&self, name: &str) -> Option<&str> {
        let (index, _) = self.tensors.get(name)?;
        self.files[*index].0.file_name()?.to_str()
    }

    /// What the index and the files of a folder say differently, and the weight files that aren't read.
    ///
    /// # Errors
    /// As [`weight_files`].
    pub fn disagreements(&self, folder: &Path) -> Result<Vec<String>> {
        let mut notices = Vec::new();
        let index = folder.join(INDEX);
        if !index.is_file() {
            return Ok(notices);
        }
        if folder.join(SINGLE).is_file() {
            notices.push(format!(
                "{}: isn't read: {SINGLE} beside it counts, as in transformers",
                index.display()
            ));
            return Ok(notices);
        }
        let map = weight_map(&index)?;
        let elsewhere = |(name, file): &(&String, &String)| {
            self.holder(name).is_some_and(|holder| holder != *file)
        };
        let mut moved = map.iter().filter(elsewhere);
        if let Some((name, file)) = moved.next() {
            let holder = self.holder(name).unwrap_or_default();
            notices.push(format!(
                "{}: says that {} is in {}, but it is in {holder}; so are {} more tensors elsewhere: they are read where they are, as in transformers",
                index.display(), line(name), line(file), moved.count()
            ));
        }
        let mut unnamed = self.tensors.keys().filter(|name| !map.contains_key(*name));
        if let Some(name) = unnamed.next() {
            notices.push(format!(
                "{}: doesn't name {} and {} more tensors of its shards, which are read all the same, as in transformers",
                index.display(), line(name), unnamed.count()
            ));
        }
        let read: BTreeSet<&String> = map.values().collect();
        let files = std::fs::read_dir(folder).map_err(|e| Error::io(folder, e))?;
        let names = files.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut stale: Vec<String> = names
            .filter(|name| {
                name.starts_with("model-") && name.ends_with(".safetensors") && !read.contains(name)
            })
            .collect();
        stale.sort();
        if let Some(first) = stale.first() {
            notices.push(format!(
                "{}: doesn't name {} of {} such files, which aren't read",
                index.display(),
                line(first),
                stale.len()
            ));
        }
        Ok(notices)
    }
}

fn same_view(one: &TensorView<'_>, other: &TensorView<'_>) -> bool {
    one.dtype() == other.dtype() && one.shape() == other.shape() && one.data() == other.data()
}

fn not_safetensors(path: &Path, error: &candle_core::Error) -> Error {
    let text = error.to_string();
    let reason = text.lines().next().unwrap_or_default();
    Error::file(path, format!("isn't a complete safetensors file ({reason})"), FETCH_AGAIN)
}

fn check_type(path: &Path, name: &str, dtype: Dtype) -> Result<()> {
    match dtype {
        Dtype::F16 | Dtype::BF16 | Dtype::F32 | Dtype::F64 => Ok(()),
        other => Err(Error::file(
            path,
            format!("tensor {name} has type {other:?}; quantized checkpoints can't be trained"),
            "use the original in f16, bf16 or f32, or a GGUF file",
        )),
    }
}

impl TensorSource for Shards {
    fn file(&self, name: &str) -> &Path {
        let index = self.tensors.get(name).map_or(0, |(index, _)| *index);
        self.files.get(index).map_or(Path::new(SINGLE), |(path, _)| path)
    }

    fn names(&self) -> Vec<String> {
        self.tensors.keys().cloned().collect()
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.tensors.get(name).map(|(_, shape)| shape.clone())
    }

    fn read(&self, name: &str) -> Result<Tensor> {
        let (index, _) = &self.tensors[name];
        let tensor = self.files[*index].1.load(name, &self.device)?;
        Ok(tensor.to_dtype(self.dtype)?)
    }

    fn same(&self, one: &str, other: &str) -> bool {
        let view = |name: &str| {
            let (index, _) = self.tensors.get(name)?;
            self.files[*index].1.get(name).ok()
        };
        view(one).zip(view(other)).is_some_and(|(one, other)| same_view(&one, &other))
    }
}

/// Weights as safetensors bytes in memory.
pub struct InMemory<'a> {
    name: &'a Path,
    tensors: SafeTensors<'a>,
    device: Device,
    dtype: DType,
}

impl<'a> InMemory<'a> {
    /// Parse `bytes`; `name` stands for a file name in errors.
    ///
    /// # Errors
    /// [`Error::File`] when the bytes aren't valid safetensors of a float type.
    pub fn open(name: &'a Path, bytes: &'a [u8], device: &Device, dtype: DType) -> Result<Self> {
        let tensors = SafeTensors::deserialize(bytes)
            .map_err(|e| not_safetensors(name, &candle_core::Error::from(e)))?;
        for (tensor, view) in tensors.tensors() {
            check_type(name, &tensor, view.dtype())?;
        }
        Ok(Self { name, tensors, device: device.clone(), dtype })
    }
}

impl TensorSource for InMemory<'_> {
    fn file(&self, _: &str) -> &Path {
        self.name
    }

    fn names(&self) -> Vec<String> {
        self.tensors.names().into_iter().map(str::to_owned).collect()
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.tensors.tensor(name).ok().map(|view| view.shape().to_vec())
    }

    fn read(&self, name: &str) -> Result<Tensor> {
        let view = self.tensors.tensor(name).map_err(candle_core::Error::from)?;
        Ok(view.load(&self.device)?.to_dtype(self.dtype)?)
    }
    fn same(&self, one: &str, other: &str) -> bool {
        let view = |name: &str| self.tensors.tensor(name).ok();
        view(one).zip(view(other)).is_some_and(|(one, other)| same_view(&one, &other))
    }
}
