//! The frozen weights of a decoder, in the layout of transformers.

use candle_core::{DType, Device, Tensor};

use crate::config::Config;
use crate::config::Target;
use crate::error::{Error, Result};
use crate::matrix::Matrix;

/// y = x W^T + b, with W [out, in] and b [out].
#[derive(Debug, Clone)]
pub struct Linear {
    /// [out, in]
    pub weight: Matrix,
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

    pub(crate) fn linear_mut(&mut self, target: Target) -> &mut Linear {
        match target {
            Target::Q => &mut self.q,
            Target::K => &mut self.k,
            Target::V => &mut self.v,
            Target::O => &mut self.o,
            Target::Gate => &mut self.gate,
            Target::Up => &mut self.up,
            Target::Down => &mut self.down,
        }
    }

    fn linears(&self) -> [&Linear; 7] {
        [&self.q, &self.k, &self.v, &self.o, &self.gate, &self.up, &self.down]
    }

    fn vectors(&self) -> impl Iterator<Item = &Tensor> {
        let biases = self.linears().into_iter().filter_map(|linear| linear.bias.as_ref());
        let norms = [&self.attn_norm, &self.mlp_norm];
        biases.chain(norms).chain(&self.q_norm).chain(&self.k_norm)
    }
}

/// All frozen weights of a decoder.
#[derive(Debug, Clone)]
pub struct Weights {
    /// [vocabulary, hidden]
    pub embed: Matrix,
    /// Weights of every block.
    pub layers: Vec<LayerWeights>,
    /// [hidden]
    pub final_norm: Tensor,
    /// [vocabulary, hidden]; `None` when the embedding is the head.
    pub head: Option<Matrix>,
}

impl Weights {
    /// The matrix hidden states are projected with: [vocabulary, hidden].
    pub fn head_matrix(&self) -> &Matrix {
        self.head.as_ref().unwrap_or(&self.embed)
    }

    /// Device of all tensors.
    pub fn device(&self) -> &Device {
        self.final_norm.device()
    }

    /// Type that all values have where they are computed with.
    pub fn dtype(&self) -> DType {
        self.embed.dtype()
    }

    /// Bytes of all tensors.
    pub fn bytes(&self) -> u64 {
        let vectors = self.layers.iter().flat_map(LayerWeights::vectors);
        let vectors = vectors.chain([&self.final_norm]);
        let vectors = vectors.map(|one| one.elem_count() * one.dtype().size_in_bytes());
        let matrices = self.matrices().map(Matrix::bytes);
        vectors.chain(matrices).sum::<usize>() as u64
    }

    /// All matrices, the embedding first.
    pub fn matrices(&self) -> impl Iterator<Item = &Matrix> {
        let layers = self.layers.iter().flat_map(LayerWeights::linears);
        let outside = [&self.embed].into_iter().chain(&self.head);
        outside.chain(layers.map(|linear| &linear.weight))
    }

    /// Every tensor has the shape the configuration gives it, and all have one
    /// device and type. Errors name the first tensor that does not fit.
    pub fn validate(&self, config: &Config) -> Result<()> {
        let hidden = config.hidden_size;
        let check = Check { device: self.device(), dtype: self.dtype() };
        check.matrix("embed_tokens", &self.embed, [config.vocab_size, hidden])?;
        check.shape("norm", &self.final_norm, &[hidden])?;
        match (&self.head, config.tie_embeddings) {
            (Some(head), false) => check.matrix("lm_head", head, [config.vocab_size, hidden])?,
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
        let has = (tensor.dims(), tensor.dtype(), tensor.device());
        self.fits(name, has, expected)
    }

    fn matrix(&self, name: &str, matrix: &Matrix, expected: [usize; 2]) -> Result<()> {
        let dims = match matrix {
            Matrix::Dense(tensor) => tensor.dims().to_vec(),
            Matrix::Quantized(_) => matrix.dims2().map(|(out, input)| vec![out, input])?,
        };
        self.fits(name, (&dims, matrix.dtype(), &matrix.device()), &expected)
    }

    fn fits(
        &self,
        name: &str,
        (dims, dtype, device): (&[usize], DType, &Device),
        expected: &[usize],
    ) -> Result<()> {
        if dims != expected {
            let problem = format!("has shape {dims:?}, not {expected:?}");
            return Err(Error::weight(name, problem));
        }
        if dtype != self.dtype || !device.same_device(self.device) {
            return Err(Error::weight(name, "has another type or device"));
        }
        Ok(())
    }

    fn linear(&self, name: &str, linear: &Linear, shape: [usize; 2], bias: bool) -> Result<()> {
        self.matrix(name, &linear.weight, shape)?;
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
