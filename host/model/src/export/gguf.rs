//! Models and adapters as GGUF files, which llama.cpp and what is built on it read.
//!
//! A model from a GGUF file keeps the metadata of that file; only what the weights are written in changes. Otherwise
//! metadata are made of the configuration and the tokenizer. What is written is read back before it gets its name.

mod file;
mod lora;
mod metadata;
mod own;
mod types;
mod vocabulary;

use std::collections::HashMap;
use std::path::Path;

use candle_core::quantized::GgmlDType;
use candle_core::quantized::gguf_file::Value;
use candle_core::{DType, Device, Tensor};

use self::file::{Make, Metadata, PlannedTensor};
use super::tensors::{MergedTensor, merged_tensors};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::families;
use crate::load::{Gguf, Model, Source, gguf_tensor_name, is_router, is_stack};
use crate::lora::Lora;

pub use types::GgufType;

/// Metadata of a source that say how its weights were stored, and not what they are.
const OF_STORAGE: [&str; 3] =
    ["general.alignment", "general.file_type", "general.quantization_version"];
const HEAD: &str = "lm_head.weight";
const EMBEDDING: &str = "model.embed_tokens.weight";

/// What is written as GGUF.
#[derive(Clone, Copy)]
pub struct GgufExport<'a> {
    /// The model.
    pub model: &'a Model,
    /// The GGUF file that the model came from, if it did.
    pub source: Option<&'a Path>,
    /// Under which name others find the base: for the metadata, if it is a Hub id.
    pub base: Option<&'a str>,
}

impl GgufExport<'_> {
    /// Write the model to the new file `path`, every adapted weight W as W + scaling B A. A line for all that isn't in
    /// the file, or that llama.cpp computes otherwise.
    ///
    /// # Errors
    /// [`Error::File`] when `path` exists or its file system has no room; [`Error::Config`] or [`Error::Tokenizer`] for
    /// what llama.cpp has no form for; [`Error::Adapter`] when the adapter is of another model.
    pub fn merged(
        &self,
        adapter: Option<&Lora>,
        kind: GgufType,
        path: &Path,
    ) -> Result<Vec<String>> {
        let Self { model, .. } = *self;
        super::refuse_other(adapter, &model.config)?;
        let origin = self.origin()?;
        let Described { mut metadata, tensors: further, mut notices } = self.described(&origin)?;
        metadata.insert("general.file_type".into(), Value::U32(kind.file_type()));
        metadata.insert("general.quantization_version".into(), Value::U32(2));
        let failure = std::sync::Mutex::default();
        let weights = &model.decoder.weights;
        let names = Names::of(&origin.architecture, &model.config)?;
        let merged = merged_tensors(&names.config, weights, adapter, DType::F32, &failure)?;
        let mut tensors = names.planned(&merged, kind)?;
        let is_matrix = |one: &&PlannedTensor<'_>| one.shape.len() > 1 && !is_router(&one.name);
        let matrices: Vec<&PlannedTensor<'_>> = tensors.iter().filter(is_matrix).collect();
        let others: Vec<_> = matrices.iter().filter(|one| !kind.is_meant(one.kind)).collect();
        if let Some(first) = others.first() {
            notices.push(format!(
                "{} of {} matrices are written as {:?}, {} the first: their lines aren't made of whole blocks of {}",
                others.len(),
                matrices.len(),
                first.kind,
                first.name,
                kind.name()
            ));
        }
        for (name, tensor) in &further {
            let make: Make<'_> = Box::new(|| Ok(tensor.clone()));
            let (name, shape) = (name.clone(), tensor.dims().to_vec());
            tensors.push(PlannedTensor { name, shape, kind: GgmlDType::F32, parts: vec![make] });
        }
        file::write(path, &metadata, &tensors, |written| self.read_back(written, path))?;
        Ok(notices)
    }

    /// Whether the model can be written, without writing anything.
    ///
    /// # Errors
    /// [`Error::Config`] or [`Error::Tokenizer`] for what llama.cpp has no form for.
    pub fn check(&self) -> Result<()> {
        let origin = self.origin()?;
        Names::of(&origin.architecture, &self.model.config)?;
        self.described(&origin).map(|_| ())
    }

    /// The same of an adapter alone, of which [`GgufExport::adapter`] is to write a file.
    ///
    /// # Errors
    /// [`Error::Adapter`] for what GGUF has no form for.
    pub fn check_adapter(&self, adapter: &Lora) -> Result<()> {
        lora::check(adapter)
    }

    /// Write the adapter alone to the new file `path`, for the base as a GGUF file of this architecture.
    ///
    /// # Errors
    /// As [`GgufExport::merged`].
    pub fn adapter(&self, adapter: &Lora, path: &Path) -> Result<()> {
        super::refuse_other(Some(adapter), &self.model.config)?;
        let origin = self.origin()?;
        let names = Names::of(&origin.architecture, &self.model.config)?;
        let mut metadata = self.general(&origin.architecture, "adapter");
        metadata.insert("adapter.type".into(), Value::String("lora".into()));
        let tensors = lora::tensors(adapter, &names, &mut metadata)?;
        file::write(path, &metadata, &tensors, |_| Ok(()))
    }

    fn origin(&self) -> Result<Origin> {
        let gguf =
            self.source.map(|path| Gguf::open(path, &Device::Cpu, DType::F32)).transpose()?;
        let stated =
            gguf.as_ref().and_then(|gguf| match gguf.metadata().get("general.architecture") {
                Some(Value::String(name)) => Some(name.clone()),
                _ => None,
            });
        let architecture =
            stated.unwrap_or_else(|| self.model.config.family.gguf_name().to_owned());
        Ok(Origin { gguf, architecture })
    }

    fn general(&self, architecture: &str, kind: &str) -> Metadata {
        let text = |text: &str| Value::String(text.to_owned());
        let mut metadata = Metadata::from([
            ("general.architecture".to_owned(), text(architecture)),
            ("general.type".to_owned(), text(kind)),
            ("general.name".to_owned(), text(&self.model.name)),
        ]);
        let base = self.base.and_then(|base| Source::parse(base).ok());
        if let Some(Source::Hub { id, .. }) = base
            && let Some((organization, name)) = id.split_once('/')
        {
            metadata.insert("general.base_model.count".into(), Value::U32(1));
            for (field, value) in [
                ("name", name),
                ("organization", organization),
                ("repo_url", &format!("https://huggingface.co/{organization}/{name}")),
            ] {
                metadata.insert(format!("general.base_model.0.{field}"), text(value));
            }
        }
        metadata
    }

    fn described(&self, origin: &Origin) -> Result<Described> {
        let Self { model, .. } = self;
        if let Some(gguf) = &origin.gguf {
            let carried = |key: &str| !OF_STORAGE.contains(&key) && !key.starts_with("split.");
            let metadata = gguf.metadata().iter().filter(|(key, _)| carried(key));
            let mut metadata: Metadata =
                metadata.map(|(key, value)| (key.clone(), value.clone())).collect();
            // As it was found, unless the configuration gives another one.
            if let Some(template) = model.tokenizer.replaced_template() {
                let template = Value::String(template.to_owned());
                metadata.insert("tokenizer.chat_template".into(), template);
                let begins = vocabulary::template_begins(&model.tokenizer).unwrap_or(false);
                metadata.insert("tokenizer.ggml.add_bos_token".into(), Value::Bool(begins));
            }
            return Ok(Described { metadata, tensors: gguf.settings()?, notices: vec![] });
        }
        let shape = metadata::of(&model.config, &origin.architecture)?;
        let (rows, bos) = (model.config.vocab_size, model.config.bos);
        let vocabulary = vocabulary::of(&model.tokenizer, rows, bos)?;
        let mut metadata = self.general(&origin.architecture, "model");
        metadata.extend(shape.metadata);
        metadata.extend(vocabulary.metadata);
        let notices = shape.notices.into_iter().chain(vocabulary.notices).collect();
        Ok(Described { metadata, tensors: shape.tensors, notices })
    }

    /// Reads back what was written, as any reader would find it.
    fn read_back(&self, written: &Path, path: &Path) -> Result<()> {
        let read = Gguf::open(written, &Device::Cpu, DType::F32)?;
        let shape = |config: &Config| {
            let Config { vocab_size, hidden_size, intermediate_size, num_layers, .. } = *config;
            let heads = [config.num_heads, config.num_kv_heads, config.head_dim];
            ([vocab_size, hidden_size, intermediate_size, num_layers], heads, config.rotary_dim())
        };
        if shape(read.config()) == shape(&self.model.config) {
            return Ok(());
        }
        Err(Error::file(path, "reads back as a model of another shape", "report this as a bug"))
    }
}

/// Where a model came from, and what GGUF calls its kind.
struct Origin {
    gguf: Option<Gguf>,
    architecture: String,
}

struct Described {
    metadata: Metadata,
    tensors: Vec<(String, Tensor)>,
    notices: Vec<String>,
}

/// How the tensors of a model are named and laid out in files of an architecture.
struct Names {
    /// The model as one of the family as which such a file is read.
    config: Config,
}

impl Names {
    fn of(architecture: &str, config: &Config) -> Result<Self> {
        let family = families::find_gguf(architecture, config.experts.is_some());
        let family = family.ok_or_else(|| Error::Config {
            file: config.family.class().to_owned(),
            field: "model_type".to_owned(),
            problem: format!("is `{architecture}` in GGUF, which isn't read here"),
            action: "export with --merged".to_owned(),
        })?;
        Ok(Self { config: Config { family, ..config.clone() } })
    }

    fn name(&self, name: &str) -> Result<String> {
        gguf_tensor_name(name, self.config.family).ok_or_else(|| {
            let class = self.config.family.class();
            Error::weight(name, format!("has no name in GGUF that is known for a {class}"))
        })
    }

    /// How many heads of a tensor's lines are interleaved, if they are.
    fn heads(&self, name: &str) -> Option<usize> {
        match self.config.family.interleaves_heads_in_gguf() {
            true if name.contains("self_attn.q_proj") => Some(self.config.num_heads),
            true if name.contains("self_attn.k_proj") => Some(self.config.num_kv_heads),
            _ => None,
        }
    }

    /// Lines in the order in which such files have them.
    fn laid_out(&self, name: &str, tensor: Tensor) -> Result<Tensor> {
        let offset = self.config.norm_offset;
        if offset != 0.0 && name.ends_with("norm.weight") {
            return Ok((tensor + offset)?);
        }
        let Some(heads) = self.heads(name) else { return Ok(tensor) };
        let shape = tensor.shape().clone();
        let half = self.config.head_dim / 2;
        let columns = tensor.elem_count() / (heads * self.config.head_dim);
        let halves = tensor.reshape((heads, 2, half, columns))?;
        Ok(halves.transpose(1, 2)?.contiguous()?.reshape(shape)?)
    }

    /// The experts of a layer, which follow one another in `merged`, become one tensor.
    fn planned<'t>(
        &'t self,
        merged: &'t [(String, MergedTensor<'t>)],
        kind: GgufType,
    ) -> Result<Vec<PlannedTensor<'t>>> {
        let mut planned: Vec<PlannedTensor<'t>> = Vec::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        for (name, tensor) in merged {
            let own = self.name(name)?;
            let make: Make<'t> = Box::new(move || self.laid_out(name, tensor.tensor()?));
            if let Some(place) = places.get(&own) {
                planned[*place].parts.push(make);
                continue;
            }
            places.insert(own.clone(), planned.len());
            let is_head = name == HEAD || (name == EMBEDDING && self.config.tie_embeddings);
            let is_f32 = is_router(&own);
            let dtype = if is_f32 { GgmlDType::F32 } else { kind.of(tensor.dims(), is_head) };
            let shape = tensor.dims().to_vec();
            planned.push(PlannedTensor { name: own, shape, kind: dtype, parts: vec![make] });
        }
        for stack in planned.iter_mut().filter(|one| is_stack(&one.name)) {
            stack.shape.insert(0, stack.parts.len());
        }
        Ok(planned)
    }
}
