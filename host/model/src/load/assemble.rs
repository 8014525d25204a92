//! From named tensors to a decoder's weights.
//!
//! Tensors are asked for by their Hugging Face names whatever the file format is; a source translates.

use std::collections::BTreeSet;

use candle_core::Tensor;
use rayon::prelude::*;

use super::experts;
use super::held::Held;
use super::mismatch;
use super::reader::{Reader, TensorSource};
use crate::config::{Config, Module, QkNorm, Target};
use host_files::text::line;

use crate::error::{Error, Result};
use crate::weights::{GatedWeights, LayerWeights, Linear, MlpWeights, Weights};

const HEAD: &str = "lm_head.weight";

/// Read all weights that `config` asks for; stacked projections are split. If the file holds a head of its own though
/// the embeddings are tied, the head is kept and `config` says so, as transformers does.
///
/// # Errors
/// [`Error::File`] for a tensor that is missing, has another shape, or is there though the architecture has no such
/// tensor (it would silently be left out of the computation).
pub fn assemble(
    config: &mut Config,
    source: &dyn TensorSource,
    held: Held,
    notices: &mut Vec<String>,
) -> Result<Weights> {
    let prefix = prefix(source);
    let embedding = embedding(config, source, prefix, notices);
    let config = &*config;
    let reader = Reader { config, source, prefix, held };
    reader.refuse_unknown(notices)?;
    let (vocab, hidden) = (config.vocab_size, config.hidden_size);
    let layers = (0..config.num_layers)
        .into_par_iter()
        .map(|i| {
            let layer = reader.layer(i)?;
            layer.norms().into_iter().flatten().next().map(settle).transpose()?;
            Ok(layer)
        })
        .collect::<Result<Vec<_>>>()?;
    let head =
        if config.tie_embeddings { None } else { Some(reader.outside(HEAD, [vocab, hidden])?) };
    let weights = Weights {
        embed: reader.outside(&embedding, [vocab, hidden])?,
        layers,
        final_norm: reader.inner("norm.weight", &[hidden])?,
        head,
    };
    settle(&weights.final_norm)?;
    held.tell(&weights, source.file(&embedding), notices)?;
    Ok(weights)
}

/// On CUDA every thread has a stream of its own, and nothing orders two of them: what
/// this thread has begun must be done before another one computes with it.
fn settle(tensor: &Tensor) -> Result<()> {
    Ok(tensor.device().synchronize()?)
}

/// The tensor that is the embedding. Unties the head if the file holds another one.
fn embedding(
    config: &mut Config,
    source: &dyn TensorSource,
    prefix: &str,
    notices: &mut Vec<String>,
) -> String {
    let name = format!("{prefix}embed_tokens.weight");
    if !config.tie_embeddings || source.shape(HEAD).is_none() {
        return name;
    }
    let file = source.file(HEAD).display();
    if source.shape(&name).is_none() {
        notices.push(format!("{file}: {HEAD} is the embedding as well: the embeddings are tied (`tie_word_embeddings`) and {name} is missing"));
        return HEAD.to_owned();
    }
    if !source.same(&name, HEAD) {
        config.tie_embeddings = false;
        notices.push(format!("{file}: {HEAD} isn't the embedding, though `tie_word_embeddings` is true: the head of the file is used, as in transformers"));
    }
    name
}

/// What names of the model's tensors begin with: with the head beside it, without it, or with an image encoder beside
/// it (in the order of transformers 5 and 4).
const PREFIXES: [&str; 4] = ["model.", "", "model.language_model.", "language_model.model."];

fn prefix(source: &dyn TensorSource) -> &'static str {
    let has = |prefix: &&str| source.shape(&format!("{prefix}embed_tokens.weight")).is_some();
    PREFIXES.into_iter().find(has).unwrap_or(PREFIXES[0])
}

impl Reader<'_> {
    /// The projections of a module, which lie one below the other.
    fn projections(&self, layer: usize, module: &Module) -> Result<Vec<(Target, Linear)>> {
        let shapes = module.parts.iter().map(|part| self.config.shape(*part));
        let rows: usize = shapes.clone().map(|(rows, _)| rows).sum();
        // All parts have the same input.
        let columns = shapes.clone().map(|(_, columns)| columns).next().unwrap_or(0);
        let bias = module.parts.iter().any(|part| self.config.has_bias(*part));
        let name = format!("layers.{layer}.{}", module.path);
        let whole = self.linear(&name, [rows, columns], bias)?;
        let held = |linear: Linear| -> Result<Linear> {
            Ok(Linear { weight: self.held.hold(linear.weight, false)?, ..linear })
        };
        if let [part] = module.parts {
            return Ok(vec![(*part, held(whole)?)]);
        }
        let mut first = 0;
        let parts = module.parts.iter().zip(shapes).map(|(part, (count, _))| {
            // Copied: a slice would keep the whole tensor alive and isn't laid out on its own.
            let rows = |t: &Tensor| t.narrow(0, first, count)?.force_contiguous();
            let bias = whole.bias.as_ref().map(rows).transpose()?;
            let linear = Linear { weight: whole.weight.lines(first, count)?, bias };
            first += count;
            Ok((*part, held(linear)?))
        });
        parts.collect()
    }

    fn layer(&self, index: usize) -> Result<LayerWeights> {
        let c = self.config;
        let modules = c.modules(index);
        let projections = modules.map(|module| self.projections(index, module));
        let mut projections = projections.collect::<Result<Vec<_>>>()?.concat();
        projections.sort_by_key(|(target, _)| *target);
        let mut projections = projections.into_iter().map(|(_, linear)| linear);
        let mut next = || projections.next().expect("a family has every projection once");
        let [q, k, v, o] = std::array::from_fn(|_| next());
        let mlp = match c.experts(index) {
            Some(experts) => MlpWeights::Experts(experts::read(self, experts, index)?),
            None => MlpWeights::Dense(GatedWeights { gate: next(), up: next(), down: next() }),
        };
        let norm = |name: &str, size: usize| self.inner(&format!("layers.{index}.{name}"), &[size]);
        let side = |name: Option<&str>| {
            name.map(|name| norm(&format!("{name}.weight"), c.hidden_size)).transpose()
        };
        let [attn_norm, attn_out_norm, mlp_norm, mlp_out_norm] = c.norms.names().map(side);
        let head_norm = |name: &str, which: usize| {
            c.qk_norm_sizes().map(|sizes| norm(name, sizes[which])).transpose()
        };
        Ok(LayerWeights {
            attn_norm: attn_norm?,
            attn_out_norm: attn_out_norm?,
            q,
            k,
            v,
            o,
            q_norm: head_norm("self_attn.q_norm.weight", 0)?,
            k_norm: head_norm("self_attn.k_norm.weight", 1)?,
            mlp_norm: mlp_norm?,
            mlp_out_norm: mlp_out_norm?,
            mlp,
        })
    }

    fn refuse_unknown(&self, notices: &mut Vec<String>) -> Result<()> {
        let known = tensor_names(self.config, self.source, self.prefix);
        let mut unknown = self.source.names();
        // The copy of a tied head was looked at; what GGUF stores of rope as tensors was read with the metadata.
        unknown.retain(|name| !known.contains(name) && name != HEAD && !name.starts_with("rope_f"));
        unknown.sort();
        // Constants that older exports stored.
        let constant = |name: &String| name.ends_with("rotary_emb.inv_freq");
        let images = |name: &String| {
            self.prefix.contains("language_model.")
                && ["vision_tower.", "multi_modal_projector."].iter().any(|it| name.contains(it))
        };
        let (encoder, unknown): (Vec<String>, Vec<String>) = unknown.into_iter().partition(images);
        if let Some(first) = encoder.first() {
            let file = self.source.file(first).display();
            let count = encoder.len();
            notices.push(format!("{file}: {count} tensors of the image encoder aren't read; adapters and merged models are of {}", self.config.family.class()));
        }
        let (constants, unknown): (Vec<String>, Vec<String>) =
            unknown.into_iter().partition(constant);
        if let Some(first) = constants.first() {
            let file = self.source.file(first).display();
            let count = constants.len();
            notices.push(format!("{file}: {} and {} more such tensors aren't read: the configuration gives the frequencies", line(first), count - 1));
        }
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
        let action = mismatch::unknown(self.config, first);
        Err(Error::file(self.source.file(first), problem, self.action(Some(action))))
    }
}

/// The Hugging Face names of the tensors of a model; of experts those of their layout.
fn tensor_names(config: &Config, source: &dyn TensorSource, prefix: &str) -> BTreeSet<String> {
    let mut names: BTreeSet<String> =
        ["embed_tokens.weight", "norm.weight"].iter().map(|n| format!("{prefix}{n}")).collect();
    if !config.tie_embeddings {
        names.insert(HEAD.to_owned());
    }
    for layer in 0..config.num_layers {
        let mut add = |name: &str, bias: bool| {
            names.insert(format!("{prefix}layers.{layer}.{name}.weight"));
            if bias {
                names.insert(format!("{prefix}layers.{layer}.{name}.bias"));
            }
        };
        for module in config.modules(layer) {
            add(module.path, module.parts.iter().any(|part| config.has_bias(*part)));
        }
        for name in config.norms.names().into_iter().flatten() {
            add(name, false);
        }
        if config.qk_norm != QkNorm::None {
            add("self_attn.q_norm", false);
            add("self_attn.k_norm", false);
        }
        names.extend(experts::tensor_names(config, source, prefix, layer));
    }
    names
}
