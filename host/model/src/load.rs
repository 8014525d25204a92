//! Models from disk, from the Hub, or from inside this program.

mod assemble;
mod config_gguf;
mod config_json;
mod digest;
mod experts;
mod gguf;
mod gguf_keys;
mod gguf_names;
mod gguf_own;
mod gguf_pre_tokenizer;
mod gguf_sentencepiece;
mod gguf_tokenizer;
mod gguf_types;
mod held;
pub mod hub;
mod mismatch;
mod reader;
mod rope_json;
mod safetensors;
mod source;
mod text_config;
mod text_files;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::safetensors::Dtype;
use candle_core::{DType, Device};
use host_files::capped;
use serde_json::Value;

pub use config_gguf::GgufTensors;
pub use digest::file_sha256;
pub use held::Held;
pub use hub::HubAccess;
pub use source::{EmbeddedModel, Source, hub_id};

pub(crate) use self::digest::{Part, model_digest};
pub(crate) use self::gguf::Gguf;
pub(crate) use self::gguf_names::{gguf_tensor_name, is_router, is_stack};
pub(crate) use self::gguf_pre_tokenizer::name as pre_tokenizer_name;
pub(crate) use self::safetensors::weight_files;
use self::safetensors::{InMemory, Shards};
use crate::budget;
use crate::chat::TemplateOptions;
use crate::config::Config;
use crate::decoder::Decoder;
use crate::error::{Error, Result};
use crate::pass::Kernels;
use crate::tokenizer::{ChatTokenizer, FURTHER_TEMPLATES, SIDE_FILES, TokenizerFiles};

/// Further templates of a model.
const MOST_TEMPLATES: usize = 100;

/// How to load a model.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// Where the weights go.
    pub device: Device,
    /// Which code runs the model; none means the fused kernels where they can run (CPU; f32 or bf16), else the plain ones.
    pub kernels: Option<Kernels>,
    /// Type that the weights are converted to, and computed in.
    pub dtype: DType,
    /// How the matrices are held in memory.
    pub held: Held,
    /// A chat template (Jinja) to use instead of the model's own.
    pub chat_template: Option<PathBuf>,
    /// Which of the model's own templates, and what it is given.
    pub template: TemplateOptions,
    /// How to reach the Hub.
    pub hub: HubAccess,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            device: Device::Cpu,
            kernels: None,
            dtype: DType::F32,
            held: Held::Dense,
            chat_template: None,
            template: TemplateOptions::default(),
            hub: HubAccess::from_env(),
        }
    }
}

/// A model ready to run.
pub struct Model {
    /// What to call it: the folder or file name, the Hub id, or the embedded model's name.
    pub name: String,
    /// The commit, for a model of the Hub.
    pub revision: Option<String>,
    /// Under which name others find it: its Hub id, with `@` and the commit where that is known.
    pub published: Option<String>,
    /// sha256 (hex) over the model's files.
    pub digest: String,
    /// The decoder's shape.
    pub config: Arc<Config>,
    /// config.json as found; none for a GGUF file, which has no such file.
    pub config_json: Option<Value>,
    /// The weights and the code that runs them.
    pub decoder: Decoder,
    /// Tokenizer and chat template.
    pub tokenizer: ChatTokenizer,
    /// What its files say twice and differently, or what isn't used, a line each: which of the two counts.
    pub notices: Vec<String>,
}

impl Model {
    /// What an adapter for it names as its base.
    pub fn base(&self) -> &str {
        self.published.as_deref().unwrap_or(&self.name)
    }
}

/// Load a model: configuration, weights as [`LoadOptions::dtype`], tokenizer, chat template, digest of its files.
///
/// # Errors
/// One line that names the file (and tensor or field) and the next step: a file is missing, truncated or not of its
/// kind, the architecture isn't supported, tensors are missing or misshapen, the tokenizer doesn't fit.
pub fn load(source: &Source, options: &LoadOptions) -> Result<Model> {
    let mut model = match source {
        Source::Directory(folder) => from_folder(folder, folder_name(folder), options)?,
        Source::Gguf(path) => from_gguf(path, options)?,
        Source::Hub { id, revision } => {
            let snapshot = hub::fetch(id, revision.as_deref(), &options.hub)?;
            let mut model = from_folder(&snapshot.folder, id.clone(), options)?;
            model.published = Some(format!("{id}@{}", snapshot.commit));
            model.revision = Some(snapshot.commit);
            model.notices.extend(snapshot.notice);
            model
        }
        Source::Embedded(embedded) => from_embedded(embedded, options)?,
    };
    let read =
        |path: &PathBuf| capped::read_text(path, budget::TEMPLATE).map_err(|e| Error::io(path, e));
    let instead = options.chat_template.as_ref().map(read).transpose()?;
    model.tokenizer = model.tokenizer.with_template(&options.template, instead.as_deref())?;
    Ok(model)
}

fn from_folder(folder: &Path, name: String, options: &LoadOptions) -> Result<Model> {
    let config_path = folder.join("config.json");
    if !config_path.is_file() {
        let action = "give a folder in the Hugging Face layout (config.json, model.safetensors, tokenizer.json), a .gguf file or a Hub id";
        return Err(Error::file(config_path, "is missing", action));
    }
    let config_bytes = read(&config_path, budget::CONFIG)?;
    let (mut config, config_json, mut notices) = parse_config(&config_bytes, &config_path)?;
    let weights_at = weight_files(folder)?;
    let (mut tokenizer, said) = text_files::read(tokenizer_files(folder)?, folder, &config)?;
    notices.extend(said);
    notices.extend(limit_vocabulary(&mut tokenizer, &config, &folder.join("tokenizer.json")));
    let mut found = Vec::new();
    let (weights, digest) = rayon::join(
        || {
            let shards = Shards::open(&weights_at, &options.device, options.dtype)?;
            found.extend(shards.disagreements(folder)?);
            found.extend(stored_type(&config_json, shards.types(), &config_path));
            assemble::assemble(&mut config, &shards, options.held, &mut found)
        },
        || {
            let shards = weights_at.iter().map(|path| Part::File(file_name(path), path));
            digest_of(&config_bytes, &tokenizer, shards.collect())
        },
    );
    notices.extend(found);
    let decoder = Decoder::new(config, weights?, kernels(options))?;
    Ok(Model {
        name,
        revision: None,
        published: None,
        digest: digest?,
        config: decoder.config.clone(),
        config_json: Some(config_json),
        decoder,
        tokenizer,
        notices,
    })
}

fn from_gguf(path: &Path, options: &LoadOptions) -> Result<Model> {
    let file = Gguf::open(path, &options.device, options.dtype)?;
    let mut config = file.config().clone();
    let mut notices = file.notices().to_vec();
    let (mut tokenizer, said) = gguf_tokenizer::read(path, file.metadata(), config.max_position)?;
    notices.extend(said);
    notices.extend(limit_vocabulary(&mut tokenizer, &config, path));
    let (weights, digest) = rayon::join(
        || assemble::assemble(&mut config, &file, options.held, &mut notices),
        || model_digest(&[Part::File(file_name(path), path)]),
    );
    let decoder = Decoder::new(config, weights?, kernels(options))?;
    let name = file_name(path).to_owned();
    Ok(Model {
        name,
        revision: None,
        published: None,
        digest: digest?,
        config: decoder.config.clone(),
        config_json: None,
        decoder,
        tokenizer,
        notices,
    })
}

fn from_embedded(model: &EmbeddedModel, options: &LoadOptions) -> Result<Model> {
    let origin = Path::new(model.name);
    let (mut config, config_json, mut notices) =
        parse_config(model.config, &origin.join("config.json"))?;
    let files =
        [("tokenizer.json", model.tokenizer), ("tokenizer_config.json", model.tokenizer_config)];
    let files = files.into_iter().map(|(name, bytes)| (name.to_owned(), bytes.to_vec())).collect();
    let (mut tokenizer, said) = text_files::read(files, origin, &config)?;
    notices.extend(said);
    let weights_name = origin.join("model.safetensors");
    notices.extend(limit_vocabulary(&mut tokenizer, &config, &origin.join("tokenizer.json")));
    let tensors = InMemory::open(&weights_name, model.weights, &options.device, options.dtype)?;
    let weights = assemble::assemble(&mut config, &tensors, options.held, &mut notices)?;
    let digest =
        digest_of(model.config, &tokenizer, vec![Part::Bytes("model.safetensors", model.weights)])?;
    let decoder = Decoder::new(config, weights, kernels(options))?;
    let name = model.name.to_owned();
    Ok(Model {
        name,
        revision: None,
        published: None,
        digest,
        config: decoder.config.clone(),
        config_json: Some(config_json),
        decoder,
        tokenizer,
        notices,
    })
}

fn kernels(options: &LoadOptions) -> Kernels {
    let known = matches!(options.dtype, DType::F32 | DType::BF16);
    let fused = options.device.is_cpu() && known;
    options.kernels.unwrap_or(if fused { Kernels::Fused } else { Kernels::Plain })
}

/// The digest covers configuration, weights and the tokenizer's files, as they were before any override.
fn digest_of(config: &[u8], tokenizer: &ChatTokenizer, weights: Vec<Part<'_>>) -> Result<String> {
    let mut parts = weights;
    parts.push(Part::Bytes("config.json", config));
    parts.extend(tokenizer.files().iter().map(|(name, bytes)| Part::Bytes(name, bytes)));
    model_digest(&parts)
}

fn parse_config(bytes: &[u8], path: &Path) -> Result<(Config, Value, Vec<String>)> {
    let text = String::from_utf8_lossy(bytes);
    let (config, notices) = Config::from_json_with_notices(&text, &path.display().to_string())?;
    let json: Value = serde_json::from_slice(bytes)
        .map_err(|e| Error::file(path, format!("isn't valid JSON: {e}"), "fetch the file again"))?;
    let json = text_config::of(&json).unwrap_or(json);
    if let Some(quantization) = json.get("quantization_config").filter(|q| !q.is_null()) {
        let method = quantization["quant_method"].as_str().unwrap_or("an unknown method");
        let action = "use the original checkpoint in f16, bf16 or f32, or a GGUF file";
        return Err(Error::file(path, format!("the weights are quantized with {method}"), action));
    }
    Ok((config, json, notices))
}

/// A line if config.json names a type that no weight is stored in.
fn stored_type(json: &Value, stored: &BTreeSet<Dtype>, path: &Path) -> Option<String> {
    let (field, stated) = ["dtype", "torch_dtype"]
        .iter()
        .find_map(|field| Some((field, json.get(field)?.as_str()?)))?;
    let dtype = match stated.trim_start_matches("torch.") {
        "float32" | "float" => Dtype::F32,
        "bfloat16" => Dtype::BF16,
        "float16" | "half" => Dtype::F16,
        _ => return None,
    };
    if stored.is_empty() || stored.contains(&dtype) {
        return None;
    }
    let stored: Vec<String> = stored.iter().map(|dtype| format!("{dtype:?}")).collect();
    Some(format!(
        "{}: `{field}` is {stated:?}, but the weights are stored as {}: they are read as stored and computed in as --precision says",
        path.display(),
        stored.join(" and ")
    ))
}

fn tokenizer_files(folder: &Path) -> Result<TokenizerFiles> {
    let mut files = TokenizerFiles::new();
    for name in SIDE_FILES.into_iter().chain(["tokenizer.json"]) {
        let path = folder.join(name);
        if path.is_file() {
            let most = if name == "tokenizer.json" { budget::TOKENIZER } else { budget::SIDE_FILE };
            files.insert(name.to_owned(), read(&path, most)?);
        }
    }
    let further = std::fs::read_dir(folder.join(FURTHER_TEMPLATES)).into_iter().flatten().flatten();
    let further = further.map(|entry| entry.path()).filter(|path| path.is_file());
    for path in further.take(MOST_TEMPLATES) {
        if let Some(name) = path.file_name().and_then(|name| name.to_str()) {
            files.insert(format!("{FURTHER_TEMPLATES}/{name}"), read(&path, budget::TEMPLATE)?);
        }
    }
    Ok(files)
}

/// A tokenizer may have ids that the embedding has no row for, such as a padding token that was added. Texts with one of
/// them are refused when they are encoded.
fn limit_vocabulary(tokenizer: &mut ChatTokenizer, config: &Config, path: &Path) -> Option<String> {
    let (beyond, first) = tokenizer.limit(config.vocab_size);
    let first = first.unwrap_or_default();
    (beyond > 0).then(|| {
        format!(
            "{}: has {beyond} token ids beyond the {} that the model embeds ({first:?} is the first); a text with one of them is refused",
            path.display(), config.vocab_size
        )
    })
}

fn read(path: &Path, most: u64) -> Result<Vec<u8>> {
    capped::read(path, most).map_err(|e| Error::io(path, e))
}

fn file_name(path: &Path) -> &str {
    path.file_name().and_then(|n| n.to_str()).unwrap_or("model")
}

fn folder_name(folder: &Path) -> String {
    let full = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    full.file_name()
        .map_or_else(|| folder.display().to_string(), |n| n.to_string_lossy().into_owned())
}
