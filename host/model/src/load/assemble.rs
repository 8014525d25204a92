//! From named tensors to a decoder's weights.
//!
//! Tensors are asked for by their Hugging Face names whatever the file format is; a source translates.

use std::collections::BTreeSet;
use std::path::Path;

use candle_core::Tensor;
use rayon::prelude::*;

use crate::config::{Architecture, Config};
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

/// Read all weights that `config` asks for; fused projections (Phi-3) are split.
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
    let head = match config.tie_embeddings {
        true => None,
        false => Some(reader.named("lm_head.weight", &[vocab, hidden])?),
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
        let bias = match bias {
            true => Some(self.inner(&format!("{name}.bias"), &shape[..1])?),
            false => None,
        };
        Ok(Linear { weight, bias })
    }

    /// Several projections stored as one, one below the other.
    fn fused<const N: usize>(
        &self,
        name: &str,
        rows: [usize; N],
        columns: usize,
        bias: bool,
    ) -> Result<[Linear; N]> {
        let whole = self.linear(name, [rows.iter().sum(), columns], bias)?;
        let mut first = 0;
        let mut parts = Vec::with_capacity(N);
        for count in rows {
            // Copied: a slice would keep the fused tensor alive and isn't laid out on its own.
            let part = |t: &Tensor| t.narrow(0, first, count)?.force_contiguous();
            let bias = whole.bias.as_ref().map(part).transpose()?;
            parts.push(Linear { weight: part(&whole.weight)?, bias });
            first += count;
        }
        Ok(parts.try_into().expect("one part was made per row count"))
    }

    fn layer(&self, index: usize) -> Result<LayerWeights> {
        let c = self.config;
        let (hidden, inner, q_size, kv_size) =
            (c.hidden_size, c.intermediate_size, c.q_size(), c.kv_size());
        let at = |name: &str| format!("layers.{index}.{name}");
        let norm = |name: &str, size: usize| self.inner(&at(name), &[size]);
        let linear = |name: &str, shape, bias| self.linear(&at(name), shape, bias);
        let ([q, k, v], [gate, up]) = if c.architecture == Architecture::Phi3 {
            (
                self.fused(
                    &at("self_attn.qkv_proj"),
                    [q_size, kv_size, kv_size],
                    hidden,
                    c.qkv_bias,
                )?,
                self.fused(&at("mlp.gate_up_proj"), [inner, inner], hidden, c.mlp_bias)?,
            )
        } else {
            let q = linear("self_attn.q_proj", [q_size, hidden], c.qkv_bias)?;
            let k = linear("self_attn.k_proj", [kv_size, hidden], c.qkv_bias)?;
            let v = linear("self_attn.v_proj", [kv_size, hidden], c.qkv_bias)?;
            let gate = linear("mlp.gate_proj", [inner, hidden], c.mlp_bias)?;
            let up = linear("mlp.up_proj", [inner, hidden], c.mlp_bias)?;
            ([q, k, v], [gate, up])
        };
        let head_norm = |name: &str| c.qk_norm.then(|| norm(name, c.head_dim)).transpose();
        Ok(LayerWeights {
            attn_norm: norm("input_layernorm.weight", hidden)?,
            q,
            k,
            v,
            o: linear("self_attn.o_proj", [hidden, q_size], c.o_bias)?,
            q_norm: head_norm("self_attn.q_norm.weight")?,
            k_norm: head_norm("self_attn.k_norm.weight")?,
            mlp_norm: norm("post_attention_layernorm.weight", hidden)?,
            gate,
            up,
            down: linear("mlp.down_proj", [hidden, inner], c.mlp_bias)?,
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
            self.config.architecture.name(),
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
    let fused = config.architecture == Architecture::Phi3;
    let (qkv, gate_up): (&[&str], &[&str]) = match fused {
        true => (&["self_attn.qkv_proj"], &["mlp.gate_up_proj"]),
        false => (
            &["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
            &["mlp.gate_proj", "mlp.up_proj"],
        ),
    };
    for layer in 0..config.num_layers {
        let mut add = |name: &str, bias: bool| {
            names.insert(format!("{prefix}layers.{layer}.{name}.weight"));
            if bias {
                names.insert(format!("{prefix}layers.{layer}.{name}.bias"));
            }
        };
        qkv.iter().for_each(|n| add(n, config.qkv_bias));
        gate_up.iter().for_each(|n| add(n, config.mlp_bias));
        add("self_attn.o_proj", config.o_bias);
        add("mlp.down_proj", config.mlp_bias);
        add("input_layernorm", false);
        add("post_attention_layernorm", false);
        if config.qk_norm {
            add("self_attn.q_norm", false);
            add("self_attn.k_norm", false);
        }
    }
    names
}
