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
    /// The MLP.
    pub mlp: MlpWeights,
}

/// The MLP of a block.
#[derive(Debug, Clone)]
pub enum MlpWeights {
    /// One for all rows.
    Dense(GatedWeights),
    /// A mixture of experts.
    Experts(ExpertWeights),
}

/// A gated MLP.
#[derive(Debug, Clone)]
pub struct GatedWeights {
    /// [intermediate, hidden]
    pub gate: Linear,
    /// [intermediate, hidden]
    pub up: Linear,
    /// [hidden, intermediate]
    pub down: Linear,
}

/// A router and its experts, which have no bias.
#[derive(Debug, Clone)]
pub struct ExpertWeights {
    /// [experts, hidden]: never in blocks, since a little error changes which experts a row goes to.
    pub router: Tensor,
    /// By number.
    pub experts: Vec<GatedWeights>,
}

impl GatedWeights {
    fn linears(&self) -> [&Linear; 3] {
        [&self.gate, &self.up, &self.down]
    }
}

impl LayerWeights {
    /// The projection of that name; none where the MLP is made of experts.
    pub fn linear(&self, target: Target) -> Option<&Linear> {
        let dense = || match &self.mlp {
            MlpWeights::Dense(mlp) => Some(mlp),
            MlpWeights::Experts(_) => None,
        };
        match target {
            Target::Q => Some(&self.q),
            Target::K => Some(&self.k),
            Target::V => Some(&self.v),
            Target::O => Some(&self.o),
            Target::Gate => dense().map(|mlp| &mlp.gate),
            Target::Up => dense().map(|mlp| &mlp.up),
            Target::Down => dense().map(|mlp| &mlp.down),
        }
    }

    pub(crate) fn linear_mut(&mut self, target: Target) -> Option<&mut Linear> {
        match (target, &mut self.mlp) {
            (Target::Q, _) => Some(&mut self.q),
            (Target::K, _) => Some(&mut self.k),
            (Target::V, _) => Some(&mut self.v),
            (Target::O, _) => Some(&mut self.o),
            (Target::Gate, MlpWeights::Dense(mlp)) => Some(&mut mlp.gate),
            (Target::Up, MlpWeights::Dense(mlp)) => Some(&mut mlp.up),
            (Target::Down, MlpWeights::Dense(mlp)) => Some(&mut mlp.down),
            (Target::Gate | Target::Up | Target::Down, MlpWeights::Experts(_)) => None,
        }
    }

    fn linears(&self) -> impl Iterator<Item = &Linear> {
        let mlps = match &self.mlp {
            MlpWeights::Dense(mlp) => std::slice::from_ref(mlp),
            MlpWeights::Experts(mlp) => &mlp.experts,
        };
        let attention = [&self.q, &self.k, &self.v, &self.o].into_iter();
        attention.chain(mlps.iter().flat_map(GatedWeights::linears))
    }

    fn vectors(&self) -> impl Iterator<Item = &Tensor> {
        let biases = self.linears().filter_map(|linear| linear.bias.as_ref());
        let router = match &self.mlp {
            MlpWeights::Dense(_) => None,
            MlpWeights::Experts(mlp) => Some(&mlp.router),
        };
        biases.chain(self.norms().into_iter().flatten()).chain(router)
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

    /// The norms of a block, in the order of [`NormPlacement::names`](crate::config::NormPlacement::names), then those of q and k.
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

    fn gated(
        &self,
        name: &str,
        mlp: &GatedWeights,
        [inner, hidden]: [usize; 2],
        bias: bool,
    ) -> Result<()> {
        self.linear(&format!("{name}.gate_proj"), &mlp.gate, [inner, hidden], bias)?;
        self.linear(&format!("{name}.up_proj"), &mlp.up, [inner, hidden], bias)?;
        self.linear(&format!("{name}.down_proj"), &mlp.down, [hidden, inner], bias)
    }

    fn layer(&self, index: usize, layer: &LayerWeights, config: &Config) -> Result<()> {
        let (hidden, qkv_bias) = (config.hidden_size, config.qkv_bias);
        let (q, kv) = (config.q_size(), config.kv_size());
        let name = |part: &str| format!("layers.{index}.{part}");
        self.linear(&name("q_proj"), &layer.q, [q, hidden], qkv_bias)?;
        self.linear(&name("k_proj"), &layer.k, [kv, hidden], qkv_bias)?;
        self.linear(&name("v_proj"), &layer.v, [kv, hidden], qkv_bias)?;
        self.linear(&name("o_proj"), &layer.o, [hidden, q], config.o_bias)?;
        match (&layer.mlp, config.experts(index)) {
            (MlpWeights::Dense(mlp), None) => {
                self.gated(&name("mlp"), mlp, [config.intermediate_size, hidden], config.mlp_bias)?;
            }
            (MlpWeights::Experts(mlp), Some(experts)) => {
                self.shape(&name("router"), &mlp.router, &[experts.count, hidden])?;
                if mlp.experts.len() != experts.count {
                    let problem = format!("are {}, not {}", mlp.experts.len(), experts.count);
                    return Err(Error::weight(name("experts"), problem));
                }
                for (number, expert) in mlp.experts.iter().enumerate() {
                    let shape = [experts.intermediate_size, hidden];
                    self.gated(&name(&format!("experts.{number}")), expert, shape, false)?;
                }
            }
            (MlpWeights::Dense(_), Some(_)) => {
                return Err(Error::weight(name("mlp"), "has no experts"));
            }
            (MlpWeights::Experts(_), None) => {
                return Err(Error::weight(name("mlp"), "has experts, and should be dense"));
            }
        }
        self.norms(&name, layer, config)
    }

    fn norms(
        &self,
        name: &dyn Fn(&str) -> String,
        layer: &LayerWeights,
        config: &Config,
    ) -> Result<()> {
        let sides = config.norms.names().map(|name| name.map(|name| (name, config.hidden_size)));
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
