//! The frozen weights of a decoder, in the layout of transformers.

use candle_core::{DType, Device, Tensor};

use crate::config::Config;
use crate::config::Target;
use crate::error::{Error, Result};

/// y = x W^T + b, with W [out, in] and b [out].
#[derive(Debug, Clone)]
pub struct Linear {
    /// [out, in]
    pub weight: Tensor,
    /// [out]
    pub bias: Option<Tensor>,
}

/// One block. Fused projections (Phi-3) are split before they come here.
#[derive(Debug, Clone)]
pub struct LayerWeights {
    /// [hidden]
    pub attn_norm: Tensor,
    /// [heads * head_dim, hidden]
    pub q: Linear,
    /// [kv heads * head_dim, hidden]
    pub k: Linear,
    /// [kv heads * head_dim, hidden]
    pub v: Linear,
    /// [hidden, heads * head_dim]
    pub o: Linear,
    /// [head_dim]
    pub q_norm: Option<Tensor>,
    /// [head_dim]
    pub k_norm: Option<Tensor>,
    /// [hidden]
    pub mlp_norm: Tensor,
    /// [intermediate, hidden]
    pub gate: Linear,
    /// [intermediate, hidden]
    pub up: Linear,
    /// [hidden, intermediate]
    pub down: Linear,
}

impl LayerWeights {
    /// The projection that an adapter can sit on.
    pub fn linear(&self, target: Target) -> &Linear {
        match target {
            Target::Q => &self.q,
            Target::K => &self.k,
            Target::V => &self.v,
            Target::O => &self.o,
            Target::Gate => &self.gate,
            Target::Up => &self.up,
            Target::Down => &self.down,
        }
    }

    fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        let linears = [&self.q, &self.k, &self.v, &self.o, &self.gate, &self.up, &self.down];
        let linears = linears
            .into_iter()
            .flat_map(|linear| std::iter::once(&linear.weight).chain(&linear.bias));
        let norms = [&self.attn_norm, &self.mlp_norm];
        let optional = self.q_norm.iter().chain(&self.k_norm);
        linears.chain(norms).chain(optional)
    }
}

/// All frozen weights of a decoder.
#[derive(Debug, Clone)]
pub struct Weights {
    /// [vocabulary, hidden]
    pub embed: Tensor,
    /// Weights of every block.
    pub layers: Vec<LayerWeights>,
    /// [hidden]
    pub final_norm: Tensor,
    /// [vocabulary, hidden]; `None` when the embedding is the head.
    pub head: Option<Tensor>,
}

impl Weights {
    /// The matrix hidden states are projected with: [vocabulary, hidden].
    pub fn head_matrix(&self) -> &Tensor {
        self.head.as_ref().unwrap_or(&self.embed)
    }

    /// Device of all tensors.
    pub fn device(&self) -> &Device {
        self.embed.device()
    }

    /// Type of all tensors.
    pub fn dtype(&self) -> DType {
        self.embed.dtype()
    }

    /// Bytes of all tensors.
    pub fn bytes(&self) -> u64 {
        let layers = self.layers.iter().flat_map(LayerWeights::tensors);
        let outside = [&self.embed, &self.final_norm].into_iter().chain(&self.head);
        let bytes = |tensor: &Tensor| tensor.elem_count() * tensor.dtype().size_in_bytes();
        layers.chain(outside).map(bytes).sum::<usize>() as u64
    }

    /// Every tensor has the shape the configuration gives it, and all have one
    /// device and type. Errors name the first tensor that does not fit.
    pub fn validate(&self, config: &Config) -> Result<()> {
        let hidden = config.hidden_size;
        let check = Check { device: self.embed.device(), dtype: self.embed.dtype() };
        check.shape("embed_tokens", &self.embed, &[config.vocab_size, hidden])?;
        check.shape("norm", &self.final_norm, &[hidden])?;
        match (&self.head, config.tie_embeddings) {
            (Some(head), false) => check.shape("lm_head", head, &[config.vocab_size, hidden])?,
            (None, true) => {}
            (Some(_), true) => {
                return Err(Error::weight("lm_head", "exists though embeddings are tied"));
            }
            (None, false) => return Err(Error::weight("lm_head", "is missing")),
        }
        if self.layers.len() != config.num_layers {
            return Err(Error::weight(
                "layers",
                format!("are {}, not {}", self.layers.len(), config.num_layers),
            ));
        }
        for (index, layer) in self.layers.iter().enumerate() {
            check.layer(index, layer, config)?;
        }
        Ok(())
    }
}

struct Check<'a> {
    device: &'a Device,
    dtype: DType,
}

impl Check<'_> {
    fn shape(&self, name: &str, tensor: &Tensor, expected: &[usize]) -> Result<()> {
        if tensor.dims() != expected {
            let problem = format!("has shape {:?}, not {expected:?}", tensor.dims());
            return Err(Error::weight(name, problem));
        }
        if tensor.dtype() != self.dtype || !tensor.device().same_device(self.device) {
            return Err(Error::weight(name, "has another type or device"));
        }
        Ok(())
    }

    fn linear(&self, name: &str, linear: &Linear, shape: [usize; 2], bias: bool) -> Result<()> {
        self.shape(name, &linear.weight, &shape)?;
        match (&linear.bias, bias) {
            (Some(tensor), true) => self.shape(&format!("{name}.bias"), tensor, &shape[..1]),
            (None, false) => Ok(()),
            (Some(_), false) => Err(Error::weight(name, "has an unexpected bias")),
            (None, true) => Err(Error::weight(name, "lacks its bias")),
        }
    }

    fn layer(&self, index: usize, layer: &LayerWeights, config: &Config) -> Result<()> {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let (q, kv) = (config.q_size(), config.kv_size());
        let (qkv_bias, mlp_bias) = (config.qkv_bias, config.mlp_bias);
        let name = |part: &str| format!("layers.{index}.{part}");
        self.shape(&name("input_layernorm"), &layer.attn_norm, &[hidden])?;
        self.shape(&name("post_attention_layernorm"), &layer.mlp_norm, &[hidden])?;
        self.linear(&name("q_proj"), &layer.q, [q, hidden], qkv_bias)?;
        self.linear(&name("k_proj"), &layer.k, [kv, hidden], qkv_bias)?;
        self.linear(&name("v_proj"), &layer.v, [kv, hidden], qkv_bias)?;
        self.linear(&name("o_proj"), &layer.o, [hidden, q], config.o_bias)?;
        self.linear(&name("gate_proj"), &layer.gate, [inner, hidden], mlp_bias)?;
        self.linear(&name("up_proj"), &layer.up, [inner, hidden], mlp_bias)?;
        self.linear(&name("down_proj"), &layer.down, [hidden, inner], mlp_bias)?;
        for (part, norm) in [("q_norm", &layer.q_norm), ("k_norm", &layer.k_norm)] {
            match (norm, config.qk_norm) {
                (Some(tensor), true) => self.shape(&name(part), tensor, &[config.head_dim])?,
                (None, false) => {}
                (Some(_), false) => return Err(Error::weight(name(part), "is unexpected")),
                (None, true) => return Err(Error::weight(name(part), "is missing")),
            }
        }
        Ok(())
    }
}
