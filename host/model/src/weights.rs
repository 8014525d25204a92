//! The frozen weights of a decoder, in the layout of transformers.

use candle_core::{DType, Device, Tensor};

use crate::config::Config;
use crate::config::Target;
use crate::error::{Error, Result};
use crate::matrix::Matrix;
use crate::operation::wide;

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
    /// [hidden], before attention
    pub attn_norm: Option<Tensor>,
    /// [hidden], on what attention gives
    pub attn_out_norm: Option<Tensor>,
    /// [heads * head_dim, hidden]
    pub q: Linear,
    /// [kv heads * head_dim, hidden]
    pub k: Linear,
    /// [kv heads * head_dim, hidden]
    pub v: Linear,
    /// [hidden, heads * head_dim]
    pub o: Linear,
    /// [head_dim], or [heads * head_dim] where a norm is over all heads
    pub q_norm: Option<Tensor>,
    /// [head_dim], or [kv heads * head_dim]
    pub k_norm: Option<Tensor>,
    /// [hidden], before the MLP
    pub mlp_norm: Option<Tensor>,
    /// [hidden], on what the MLP gives
    pub mlp_out_norm: Option<Tensor>,
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

    fn linears(&self) -> [&Linear; 7] {
        [&self.q, &self.k, &self.v, &self.o, &self.gate, &self.up, &self.down]
    }

    fn vectors(&self) -> impl Iterator<Item = &Tensor> {
        let biases = self.linears().into_iter().filter_map(|linear| linear.bias.as_ref());
        biases.chain(self.norms().into_iter().flatten())
    }

    /// The same with other norms.
    pub(crate) fn with_norms(
        &self,
        change: impl Fn(&Tensor) -> candle_core::Result<Tensor>,
    ) -> candle_core::Result<Self> {
        let change = |norm: &Option<Tensor>| norm.as_ref().map(&change).transpose();
        Ok(Self {
            attn_norm: change(&self.attn_norm)?,
            attn_out_norm: change(&self.attn_out_norm)?,
            mlp_norm: change(&self.mlp_norm)?,
            mlp_out_norm: change(&self.mlp_out_norm)?,
            q_norm: change(&self.q_norm)?,
            k_norm: change(&self.k_norm)?,
            ..self.clone()
        })
    }

    /// The norms of a block, in the order of [`NormPlacement::names`], then those of q and k.
    pub fn norms(&self) -> [Option<&Tensor>; 6] {
        let sides = [&self.attn_norm, &self.attn_out_norm, &self.mlp_norm, &self.mlp_out_norm];
        let [a, b, c, d] = sides.map(Option::as_ref);
        [a, b, c, d, self.q_norm.as_ref(), self.k_norm.as_ref()]
    }
}

impl Config {
    /// What rows are multiplied with in a norm of this weight, in at least single precision.
    pub(crate) fn norm_factor(&self, weight: &Tensor) -> candle_core::Result<Tensor> {
        let weight = wide(weight)?;
        if self.norm_offset == 0.0 { Ok(weight) } else { weight + self.norm_offset }
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
        self.linear(&name("q_proj"), &layer.q, [q, hidden], qkv_bias)?;
        self.linear(&name("k_proj"), &layer.k, [kv, hidden], qkv_bias)?;
        self.linear(&name("v_proj"), &layer.v, [kv, hidden], qkv_bias)?;
        self.linear(&name("o_proj"), &layer.o, [hidden, q], config.o_bias)?;
        self.linear(&name("gate_proj"), &layer.gate, [inner, hidden], mlp_bias)?;
        self.linear(&name("up_proj"), &layer.up, [inner, hidden], mlp_bias)?;
        self.linear(&name("down_proj"), &layer.down, [hidden, inner], mlp_bias)?;
        let sides = config.norms.names().map(|name| name.map(|name| (name, hidden)));
        let heads = config.qk_norm_sizes().unwrap_or_default();
        let heads = ["q_norm", "k_norm"].into_iter().zip(heads);
        let heads = heads.map(|wanted| config.qk_norm_sizes().and(Some(wanted)));
        let places = ["attn_norm", "attn_out_norm", "mlp_norm", "mlp_out_norm", "q_norm", "k_norm"];
        let wanted = sides.into_iter().chain(heads);
        for ((place, norm), wanted) in places.into_iter().zip(layer.norms()).zip(wanted) {
            match (norm, wanted) {
                (Some(tensor), Some((part, size))) => self.shape(&name(part), tensor, &[size])?,
                (None, None) => {}
                (Some(_), None) => return Err(Error::weight(name(place), "is unexpected")),
                (None, Some((part, _))) => return Err(Error::weight(name(part), "is missing")),
            }
        }
        Ok(())
    }
}
