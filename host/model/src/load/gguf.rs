//! GGUF files: one file with metadata, tokenizer and (often quantized) weights.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use candle_core::quantized::gguf_file::{Content, Value};
use candle_core::{DType, Device, Tensor};
use memmap2::Mmap;

use super::config_gguf::GgufTensors;
use super::gguf_names::hugging_face_name;
use super::gguf_types;
use super::reader::{TensorSource, matrices};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::matrix::{Matrix, Quantized, block_format};

/// Tensors that are no weights.
const SETTINGS: [&str; 3] =
    ["rope_freqs.weight", "rope_factors_short.weight", "rope_factors_long.weight"];
const FETCH_AGAIN: &str = "fetch the file again";
const DEQUANTIZE: &str = "take a file of the model in F16, BF16, Q8_0 or Q4_K_M, or make one with llama.cpp: llama-quantize --allow-requantize THIS.gguf NEW.gguf F16";

/// An opened GGUF file.
pub struct Gguf {
    path: PathBuf,
    map: Mmap,
    content: Content,
    config: Config,
    notices: Vec<String>,
    /// Hugging Face tensor name to GGUF tensor name.
    names: BTreeMap<String, String>,
    device: Device,
    dtype: DType,
}

impl Gguf {
    /// Map the file and read its header; tensors are read and dequantized later, one by one, as `dtype` on `device`.
    ///
    /// # Errors
    /// [`Error::File`] when it isn't GGUF, is truncated, or is one part of a split model; [`Error::Config`] for an
    /// architecture or a setting that isn't supported; [`Error::Io`] when it can't be opened.
    pub fn open(path: &Path, device: &Device, dtype: DType) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::io(path, e))?;
        if file.metadata().map_err(|e| Error::io(path, e))?.len() == 0 {
            return Err(Error::file(path, "is empty", FETCH_AGAIN));
        }
        // SAFETY: the map is only read; a file that changes while it is being read is outside of what this program
        // can guard against.
        #[expect(unsafe_code, reason = "files larger than the memory are read as well")]
        let map = unsafe { Mmap::map(&file) }.map_err(|e| Error::io(path, e))?;
        if let Some(problem) = gguf_types::beyond_bounds(&map) {
            return Err(Error::file(path, problem, FETCH_AGAIN));
        }
        let content = Content::read(&mut Cursor::new(&map[..])).map_err(|e| {
            if let Some(problem) = gguf_types::unreadable(&map) {
                return Error::file(path, problem, DEQUANTIZE);
            }
            let reason = first_line(&e);
            Error::file(path, format!("isn't a complete GGUF file ({reason})"), FETCH_AGAIN)
        })?;
        refuse_split(path, &content.metadata)?;
        check_places(path, map.len(), &content)?;
        let tensors = described_by_tensors(path, &map, &content)?;
        let (config, notices) =
            Config::from_gguf(&content.metadata, &tensors, &path.display().to_string())?;
        let names = content
            .tensor_infos
            .keys()
            .map(|name| (hugging_face_name(name, config.family), name.clone()))
            .collect();
        Ok(Self {
            path: path.to_owned(),
            map,
            content,
            config,
            notices,
            names,
            device: device.clone(),
            dtype,
        })
    }

    /// The decoder's shape, from the metadata.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What the metadata says twice and differently, or what isn't read.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// How many heads a projection interleaves, if it does.
    fn interleaved_heads(&self, name: &str) -> Option<usize> {
        match self.config.family.interleaves_heads_in_gguf() {
            true if name.contains("self_attn.q_proj") => Some(self.config.num_heads),
            true if name.contains("self_attn.k_proj") => Some(self.config.num_kv_heads),
            _ => None,
        }
    }

    /// The lines of a matrix, or of several that are one tensor, if they are in blocks.
    fn blocks(&self, name: &str) -> Result<Option<Quantized>> {
        let info = &self.content.tensor_infos[&self.names[name]];
        let (Some(format), Some((&input, lines))) =
            (block_format(info.ggml_dtype), info.shape.dims().split_last())
        else {
            return Ok(None);
        };
        if !input.is_multiple_of(format.values()) {
            // No file of llama.cpp has such lines.
            let problem = format!("tensor {name} has lines of {input} values, no whole blocks");
            return Err(Error::file(&self.path, problem, FETCH_AGAIN));
        }
        let lines = lines.iter().product::<usize>();
        // The places of all tensors were checked when the file was opened.
        let at = (self.content.tensor_data_offset + info.offset) as usize;
        let bytes = self.map[at..at + format.size(lines * input)].to_vec();
        Ok(Some(Quantized::new(bytes, format, (lines, input), self.dtype)?))
    }

    /// The settings that are tensors, as they are stored.
    pub fn settings(&self) -> Result<Vec<(String, Tensor)>> {
        let there = SETTINGS.iter().filter(|name| self.content.tensor_infos.contains_key(**name));
        let read = |name: &&str| {
            let tensor = dequantize(&self.path, &self.map, &self.content, name, &Device::Cpu)?;
            Ok(((*name).to_owned(), tensor.to_dtype(DType::F32)?))
        };
        there.map(read).collect()
    }

    /// All metadata.
    pub fn metadata(&self) -> &HashMap<String, Value> {
        &self.content.metadata
    }
}

/// Every tensor is within the file: its size decides how much memory is taken.
fn check_places(path: &Path, length: usize, content: &Content) -> Result<()> {
    for (name, info) in &content.tensor_infos {
        let (block, size) = (info.ggml_dtype.block_size(), info.ggml_dtype.type_size());
        let elements =
            info.shape.dims().iter().try_fold(1usize, |all, more| all.checked_mul(*more));
        let end = elements
            .and_then(|elements| (elements / block).checked_mul(size)?.try_into().ok())
            .and_then(|bytes: u64| bytes.checked_add(info.offset))
            .and_then(|end| end.checked_add(content.tensor_data_offset));
        if end.is_none_or(|end| end > length as u64) {
            let problem =
                format!("tensor {name} of shape {:?} is larger than the file", info.shape.dims());
            return Err(Error::file(path, problem, FETCH_AGAIN));
        }
    }
    Ok(())
}

fn refuse_split(path: &Path, metadata: &HashMap<String, Value>) -> Result<()> {
    let parts = match metadata.get("split.count") {
        Some(Value::U16(count)) => u32::from(*count),
        Some(Value::U32(count)) => *count,
        _ => 1,
    };
    if parts > 1 {
        let action =
            "join the parts with llama-gguf-split --merge, or use the safetensors of the model";
        return Err(Error::file(path, format!("is one of {parts} parts of a split model"), action));
    }
    Ok(())
}

/// The settings that GGUF stores as tensors.
fn described_by_tensors(path: &Path, map: &Mmap, content: &Content) -> Result<GgufTensors> {
    let values = |name: &str| -> Result<Option<Vec<f32>>> {
        if !content.tensor_infos.contains_key(name) {
            return Ok(None);
        }
        let tensor = dequantize(path, map, content, name, &Device::Cpu)?;
        Ok(Some(tensor.flatten_all()?.to_dtype(DType::F32)?.to_vec1()?))
    };
    // llama.cpp takes the biases that are there.
    let bias = |modules: &[&str]| {
        let is =
            |name: &str| modules.iter().any(|module| name.ends_with(&format!(".{module}.bias")));
        content.tensor_infos.keys().any(|name| is(name))
    };
    Ok(GgufTensors {
        qkv_bias: bias(&["attn_q", "attn_k", "attn_v"]),
        o_bias: bias(&["attn_output"]),
        mlp_bias: bias(&["ffn_gate", "ffn_up", "ffn_down"]),
        has_output: content.tensor_infos.contains_key("output.weight"),
        rope_freqs: values("rope_freqs.weight")?,
        rope_factors: values("rope_factors_short.weight")?.zip(values("rope_factors_long.weight")?),
    })
}

fn dequantize(
    path: &Path,
    map: &Mmap,
    content: &Content,
    name: &str,
    device: &Device,
) -> Result<Tensor> {
    let broken = |e: candle_core::Error| {
        let reason = first_line(&e);
        Error::file(path, format!("tensor {name} can't be read ({reason})"), FETCH_AGAIN)
    };
    let quantized =
        content.tensor(&mut Cursor::new(&map[..]), name, &Device::Cpu).map_err(broken)?;
    quantized.dequantize(&Device::Cpu).and_then(|t| t.to_device(device)).map_err(broken)
}

fn first_line(error: &candle_core::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

/// Where the lines of [`half_split`] come from.
fn half_split_lines(lines: usize, head_dim: usize) -> impl Iterator<Item = usize> {
    let half = head_dim / 2;
    (0..lines).map(move |line| {
        let (head, within) = (line / head_dim, line % head_dim);
        head * head_dim + within % half * 2 + within / half
    })
}

/// GGUF of some families interleaves the two halves of every q and k head; back to the half-split layout that
/// transformers uses. `t`: [heads * head_dim, in] or, for a bias, [heads * head_dim].
fn half_split(t: &Tensor, heads: usize, head_dim: usize) -> candle_core::Result<Tensor> {
    let shape = t.shape().clone();
    let columns = t.elem_count() / (heads * head_dim);
    t.reshape((heads, head_dim / 2, 2, columns))?.transpose(1, 2)?.contiguous()?.reshape(shape)
}

impl TensorSource for Gguf {
    fn has_config_json(&self) -> bool {
        false
    }

    /// Never asked: a file with a head of its own isn't tied.
    fn same(&self, one: &str, other: &str) -> bool {
        one == other
    }

    fn file(&self, _: &str) -> &Path {
        &self.path
    }

    fn names(&self) -> Vec<String> {
        self.names.keys().cloned().collect()
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.content.tensor_infos.get(self.names.get(name)?).map(|info| info.shape.dims().to_vec())
    }

    fn read(&self, name: &str) -> Result<Tensor> {
        let tensor =
            dequantize(&self.path, &self.map, &self.content, &self.names[name], &self.device)?;
        let tensor = match self.interleaved_heads(name) {
            Some(heads) => half_split(&tensor, heads, self.config.head_dim)?,
            None => tensor,
        };
        // llama.cpp multiplies with what is stored.
        let offset = self.config.norm_offset;
        let tensor = if name.ends_with("norm.weight") && offset != 0.0 {
            (tensor - offset)?
        } else {
            tensor
        };
        Ok(tensor.to_dtype(self.dtype)?)
    }

    fn matrix(&self, name: &str) -> Result<Matrix> {
        let Some(quantized) = self.blocks(name)? else {
            return Ok(self.read(name)?.into());
        };
        let quantized = match self.interleaved_heads(name) {
            Some(_) => {
                let (out, _) = quantized.shape();
                quantized.pick(half_split_lines(out, self.config.head_dim))?
            }
            None => quantized,
        };
        Ok(quantized.to_device(&self.device)?)
    }

    fn stack(&self, name: &str) -> Result<Vec<Matrix>> {
        let Some(quantized) = self.blocks(name)? else {
            return matrices(&self.read(name)?);
        };
        let (lines, _) = quantized.shape();
        let count = self.shape(name).and_then(|shape| shape.first().copied()).unwrap_or(1);
        let each = lines / count.max(1);
        let one = |index: usize| {
            Ok(quantized.pick(index * each..(index + 1) * each)?.to_device(&self.device)?)
        };
        (0..count).map(one).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_interleaved_layout_is_undone() {
        // Two heads of four rows; GGUF order of a head's rows is 0, 2, 1, 3.
        let stored = Tensor::new(&[0f32, 2., 1., 3., 10., 12., 11., 13.], &Device::Cpu).unwrap();
        let rows: Vec<f32> = half_split(&stored, 2, 4).unwrap().to_vec1().unwrap();
        assert_eq!(rows, [0., 1., 2., 3., 10., 11., 12., 13.]);
        let lines: Vec<usize> = half_split_lines(8, 4).collect();
        assert_eq!(lines, [0, 2, 1, 3, 4, 6, 5, 7]);
    }
}
