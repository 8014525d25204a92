//! A model as a folder in the Hugging Face layout, with the adapter merged into the weights.

mod config_json;
pub mod gguf;
pub mod modelfile;
mod tensors;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use candle_core::DType;
use host_files::atomic;
use safetensors::View as _;
use serde_json::{Value, json};

use self::tensors::{MergedTensor, merged_tensors};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::load::Model;
use crate::lora::Lora;
use crate::tokenizer::ChatTokenizer;

pub use config_json::config_json;

/// Write the model to the new folder `dir`, every adapted weight W as W + alpha/rank * B A, all in `dtype` (f32, bf16
/// or f16). Configuration and tokenizer files are written as they were found; those of a GGUF file are made from its
/// metadata. The folder appears whole or not at all; [`crate::load::load`] and Python's transformers read it.
///
/// # Errors
/// [`Error::File`] when `dir` exists already, [`Error::Io`] when it can't be written (disk full), [`Error::Adapter`]
/// when the adapter is of another model.
pub fn merge(model: &Model, adapter: Option<&Lora>, dir: &Path, dtype: DType) -> Result<()> {
    merge_with(model, adapter, dir, dtype, &[])
}

/// As [`merge`], with more files in the folder: name and content.
///
/// # Errors
/// As [`merge`].
pub fn merge_with(
    model: &Model,
    adapter: Option<&Lora>,
    dir: &Path,
    dtype: DType,
    more: &[(&str, &[u8])],
) -> Result<()> {
    let type_name = type_name(dtype)?;
    if model.config_json.is_none() {
        refuse_biases(&model.config, dir)?;
    }
    refuse_other(adapter, &model.config)?;
    let folder = atomic::Folder::begin(dir)?;
    write_weights(model, adapter, &folder, dtype)?;
    write_files(folder.path(), &model.tokenizer, more)?;
    let mut config = model.config_json.clone().unwrap_or_else(|| config_json(&model.config));
    set_type(&mut config, type_name);
    set_head(&mut config, model.config.tie_embeddings);
    let text = serde_json::to_string_pretty(&config).unwrap_or_default();
    atomic::write(&folder.path().join("config.json"), text.as_bytes())?;
    if !model.tokenizer.files().contains_key("generation_config.json") {
        let generation = json!({ "eos_token_id": model.tokenizer.stop_tokens() }).to_string();
        atomic::write(&folder.path().join("generation_config.json"), generation.as_bytes())?;
    }
    // The weights' writer makes its file readable for the owner alone; all files get what the system gives a file.
    let [weights, config] =
        ["model.safetensors", "config.json"].map(|name| folder.path().join(name));
    let permissions = std::fs::metadata(&config).map(|m| m.permissions());
    permissions
        .and_then(|p| std::fs::set_permissions(&weights, p))
        .map_err(|e| Error::io(&weights, e))?;
    Ok(folder.finish()?)
}

/// Write an adapter to the new folder `dir` as peft and what is built on it load it: adapter, tokenizer files and chat
/// template, `more` files by name. It names its base as [`Model::base`] says. The folder appears whole or not at all.
///
/// # Errors
/// As [`merge`].
pub fn adapter(model: &Model, adapter: &Lora, dir: &Path, more: &[(&str, &[u8])]) -> Result<()> {
    refuse_other(Some(adapter), &model.config)?;
    let folder = atomic::Folder::begin(dir)?;
    adapter.save_peft(folder.path(), &model.config, model.base())?;
    write_files(folder.path(), &model.tokenizer, more)?;
    Ok(folder.finish()?)
}

/// The files of a tokenizer, and others.
fn write_files(folder: &Path, tokenizer: &ChatTokenizer, more: &[(&str, &[u8])]) -> Result<()> {
    let own = tokenizer.files().iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice()));
    for (name, bytes) in own.chain(more.iter().copied()) {
        let path = folder.join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(|e| Error::io(parent, e))?;
        }
        atomic::write(&path, bytes)?;
    }
    Ok(())
}

/// An adapter belongs to a model of its shape.
fn refuse_other(adapter: Option<&Lora>, config: &Config) -> Result<()> {
    let export = "export with the model it was made for";
    match adapter {
        Some(lora) if lora.num_layers() != config.num_layers => {
            Err(Error::adapter("has another number of layers than the model", export))
        }
        Some(lora) if !lora.fits(config) => {
            Err(Error::adapter("has factors of other shapes than the model's matrices", export))
        }
        _ => Ok(()),
    }
}

/// One flag gives all four projections of attention a bias; GGUF may hold some of them.
fn refuse_biases(config: &Config, dir: &Path) -> Result<()> {
    let one_flag = config.family.bias_flags().contains(&"attention_bias");
    if !one_flag || config.qkv_bias == config.o_bias {
        return Ok(());
    }
    let problem = format!(
        "can't be written: a {} with biases on some projections of attention has no config.json",
        config.family.class()
    );
    Err(Error::file(dir, problem, "export the adapter without --merged"))
}

fn type_name(dtype: DType) -> Result<&'static str> {
    match dtype {
        DType::F32 => Ok("float32"),
        DType::BF16 => Ok("bfloat16"),
        DType::F16 => Ok("float16"),
        other => Err(Error::weight(
            "(all)",
            format!("can't be exported as {other:?}, only as f32, bf16 or f16"),
        )),
    }
}

/// `torch_dtype` (transformers 4) or `dtype` (5), whichever the file has, or both.
fn set_type(config: &mut Value, name: &str) {
    let Some(fields) = config.as_object_mut() else {
        return;
    };
    if fields.contains_key("dtype") {
        fields.insert("dtype".into(), json!(name));
    }
    if fields.contains_key("torch_dtype") || !fields.contains_key("dtype") {
        fields.insert("torch_dtype".into(), json!(name));
    }
}

/// A head of its own is written, so nothing that reads the file may take the embedding for it.
fn set_head(config: &mut Value, tied: bool) {
    if let Some(fields) = config.as_object_mut()
        && !tied
        && fields.get("tie_word_embeddings") != Some(&json!(false))
    {
        fields.insert("tie_word_embeddings".into(), json!(false));
    }
}

/// Tensors are merged one by one while the file is written, so that no second copy of the model is held.
fn write_weights(
    model: &Model,
    adapter: Option<&Lora>,
    folder: &atomic::Folder,
    dtype: DType,
) -> Result<()> {
    let failure = Mutex::new(None);
    let tensors = merged_tensors(&model.config, &model.decoder.weights, adapter, dtype, &failure)?;
    let tensors: BTreeMap<String, MergedTensor<'_>> = tensors.into_iter().collect();
    folder.check_room(tensors.values().map(|one| one.data_len() as u64).sum())?;
    let path = &folder.path().join("model.safetensors");
    let metadata = [("format".to_owned(), "pt".to_owned())].into();
    let written = safetensors::serialize_to_file(tensors, Some(metadata), path);
    let failure = failure.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(error) = failure {
        return Err(Error::Tensor(error));
    }
    written.map_err(|e| match e {
        safetensors::SafeTensorError::IoError(io) => Error::io(path, io),
        other => {
            Error::file(path, format!("can't be written: {other}"), "check the disk and try again")
        }
    })?;
    std::fs::File::open(path).and_then(|file| file.sync_all()).map_err(|e| Error::io(path, e))
}
