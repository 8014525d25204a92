//! From named tensors to a decoder's weights.
//!
//! Tensors are asked for by their Hugging Face names whatever the file format is; a source translates.

use std::collections::BTreeSet;
use std::path::Path;

use candle_core::Tensor;
use rayon::prelude::*;

use crate::config::{Config, Module, Target};
use crate::error::{Error, Result};
use crate::weights::{LayerWeights, Linear, Weights};

/// Named tensors of one model.
pub trait TensorSource: Sync {
    /// The file that holds `name`, or would hold it: for errors.
    fn file(&self, name: &str) -> &Path;
    /// Hugging Face names of all tensors.
    fn names(&self) -> Vec<String>;
    /// Shape of a tensor, none when the source doesn't have it.
    fn shape(&self, name: &str) -> Option<Vec<usize>>;
    /// The tensor in the requested type, on the requested device.
    fn read(&self, name: &str) -> Result<Tensor>;
}

const WRONG_FILES: &str =
    "check that the weights belong to this configuration, or fetch the model again";

/// Read all weights that `config` asks for; stacked projections are split.
///
/// # Errors
/// [`Error::File`] for a tensor that is missing, has another shape, or is there though the architecture has no such
/// tensor (it would silently be left out of the computation).
pub fn assemble(config: &Config, source: &dyn TensorSource) -> Result<Weights> {
    let reader = Reader { config, source, prefix: prefix(source) };
    reader.refuse_unknown()?;
    let (vocab, hidden) = (config.vocab_size, config.hidden_size);
    let layers = (0..config.num_layers)
        .into_par_iter()
        .map(|i| {
            let layer = reader.layer(i)?;
            settle(&layer.attn_norm)?;
            Ok(layer)
        })
        .collect::<Result<Vec<_>>>()?;
    let head = if config.tie_embeddings {
        None
    } else {
        Some(reader.named("lm_head.weight", &[vocab, hidden])?)
    };
    let weights = Weights {
        embed: reader.inner("embed_tokens.weight", &[vocab, hidden])?,
        layers,
        final_norm: reader.inner("norm.weight", &[hidden])?,
        head,
    };
    settle(&weights.embed)?;
    Ok(weights)
}

/// On CUDA every thread has a stream of its own, and nothing orders two of them: what
/// this thread has begun must be done before another one computes with it.
fn settle(tensor: &Tensor) -> Result<()> {
    Ok(tensor.device().synchronize()?)
}

/// Checkpoints of the bare model (without the language-model head) leave out `model.`.
fn prefix(source: &dyn TensorSource) -> &'static str {
    let bare = source.shape("model.embed_tokens.weight").is_none()
        && source.shape("embed_tokens.weight").is_some();
    if bare { "" } else { "model." }
}

struct Reader<'a> {
    config: &'a Config,
    source: &'a dyn TensorSource,
    prefix: &'static str,
}

impl Reader<'_> {
    fn named(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let file = self.source.file(name);
        match self.source.shape(name) {
            Some(found) if found == shape => self.source.read(name),
            Some(found) => {
                let problem = format!(
                    "tensor {name} has shape {found:?}, the configuration asks for {shape:?}"
                );
                Err(Error::file(file, problem, WRONG_FILES))
            }
            None => Err(Error::file(file, format!("tensor {name} is missing"), WRONG_FILES)),
        }
    }

    fn inner(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        self.named(&format!("{}{name}", self.prefix), shape)
    }

    fn linear(&self, name: &str, shape: [usize; 2], bias: bool) -> Result<Linear> {
        let weight = self.inner(&format!("{name}.weight"), &shape)?;
        let bias =
            if bias { Some(self.inner(&format!("{name}.bias"), &shape[..1])?) } else { None };
        Ok(Linear { weight, bias })
    }

    /// The projections of a module, which lie one below the other.
    fn projections(&self, layer: usize, module: &Module) -> Result<Vec<(Target, Linear)>> {
        let shapes = module.parts.iter().map(|part| self.config.shape(*part));
        let rows: usize = shapes.clone().map(|(rows, _)| rows).sum();
        // All parts have the same input.
        let columns = shapes.clone().map(|(_, columns)| columns).next().unwrap_or(0);
        let bias = module.parts.iter().any(|part| self.config.has_bias(*part));
        let name = format!("layers.{layer}.{}", module.path);
        let whole = self.linear(&name, [rows, columns], bias)?;
        if let [part] = module.parts {
            return Ok(vec![(*part, whole)]);
        }
        let mut first = 0;
        let parts = module.parts.iter().zip(shapes).map(|(part, (count, _))| {
            // Copied: a slice would keep the whole tensor alive and isn't laid out on its own.
            let rows = |t: &Tensor| t.narrow(0, first, count)?.force_contiguous();
            let bias = whole.bias.as_ref().map(rows).transpose()?;
            let linear = Linear { weight: rows(&whole.weight)?, bias };
            first += count;
            Ok((*part, linear))
        });
        parts.collect()
    }

    fn layer(&self, index: usize) -> Result<LayerWeights> {
        let c = self.config;
        let modules = c.family.modules().iter();
        let projections = modules.map(|module| self.projections(index, module));
        let mut projections = projections.collect::<Result<Vec<_>>>()?.concat();
        projections.sort_by_key(|(target, _)| *target);
        let projections = projections.into_iter().map(|(_, linear)| linear).collect::<Vec<_>>();
        let [q, k, v, o, gate, up, down] =
            projections.try_into().expect("a family has every projection once");
        let norm = |name: &str, size: usize| self.inner(&format!("layers.{index}.{name}"), &[size]);
        let head_norm = |name: &str| c.qk_norm.then(|| norm(name, c.head_dim)).transpose();
        Ok(LayerWeights {
            attn_norm: norm("input_layernorm.weight", c.hidden_size)?,
            q,
            k,
            v,
            o,
            q_norm: head_norm("self_attn.q_norm.weight")?,
            k_norm: head_norm("self_attn.k_norm.weight")?,
            mlp_norm: norm("post_attention_layernorm.weight", c.hidden_size)?,
            gate,
            up,
            down,
        })
    }

    fn refuse_unknown(&self) -> Result<()> {
        let known = tensor_names(self.config, self.prefix);
        let harmless = |name: &str| {
            // Constants that older exports stored, and a copy of the tied head.
            name.ends_with("rotary_emb.inv_freq")
                || name.starts_with("rope_")
                || name == "lm_head.weight"
        };
        let mut unknown = self.source.names();
        unknown.retain(|name| !known.contains(name) && !harmless(name));
        unknown.sort();
        let Some(first) = unknown.first() else {
            return Ok(());
        };
        let more = match unknown.len() {
            1 => String::new(),
            n => format!(" and {} more", n - 1),
        };
        let problem = format!(
            "tensor {first}{more} has no place in a {} of {} layers",
            self.config.family.name(),
            self.config.num_layers
        );
        Err(Error::file(self.source.file(first), problem, WRONG_FILES))
    }
}

/// The Hugging Face names of the tensors of a model.
fn tensor_names(config: &Config, prefix: &str) -> BTreeSet<String> {
    let mut names: BTreeSet<String> =
        ["embed_tokens.weight", "norm.weight"].iter().map(|n| format!("{prefix}{n}")).collect();
    if !config.tie_embeddings {
        names.insert("lm_head.weight".to_owned());
    }
    for layer in 0..config.num_layers {
        let mut add = |name: &str, bias: bool| {
            names.insert(format!("{prefix}layers.{layer}.{name}.weight"));
            if bias {
                names.insert(format!("{prefix}layers.{layer}.{name}.bias"));
            }
        };
        for module in config.family.modules() {
            add(module.path, module.parts.iter().any(|part| config.has_bias(*part)));
        }
        add("input_layernorm", false);
        add("post_attention_layernorm", false);
        if config.qk_norm {
            add("self_attn.q_norm", false);
            add("self_attn.k_norm", false);
        }
    }
    names
}
