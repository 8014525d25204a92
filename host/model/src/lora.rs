//! Low-rank adapter (Hu et al. 2021, arXiv 2106.09685), named as peft names it.

mod fresh;
pub(crate) mod modules;
mod named;
mod principal;
mod shape;

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor, Var};

use crate::config::Config;
pub use crate::config::Target;
use crate::error::{Error, Result};
use crate::operation::wide;

pub use shape::{Init, LoraConfig, Names, Place, Shape};

/// Which of the tensors of an adapted projection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// [rank, in]
    A,
    /// [out, rank]
    B,
    /// [out]
    Magnitude,
}

impl Side {
    /// How names of tensors end, as peft has them.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::A => "lora_A.weight",
            Self::B => "lora_B.weight",
            Self::Magnitude => "lora_magnitude_vector",
        }
    }
}

/// The adapter of one projection: y = W x + scaling B A x, and with magnitudes (DoRA, arXiv
/// 2402.09353) every row of that sum is brought to a length of its own:
///
/// ```text
/// y = m / |W + scaling B A| * (W x + scaling B A x), |.| of every row
/// ```
#[derive(Debug, Clone)]
pub struct Pair {
    /// [rank, in]
    pub a: Var,
    /// [out, rank]
    pub b: Var,
    /// m [out]: the length of every row of the adapted weight.
    pub magnitude: Option<Var>,
    /// Rows of A, columns of B.
    pub rank: usize,
    /// alpha / rank, or alpha / sqrt(rank)
    pub scaling: f64,
}

impl Pair {
    /// What stands in the place of `weight` W [out, in] where the adapter is merged into it, in at
    /// least single precision.
    pub(crate) fn merged(&self, weight: &Tensor) -> candle_core::Result<Tensor> {
        let sum = updated(weight, [&self.a, &self.b], self.scaling)?;
        match &self.magnitude {
            None => Ok(sum),
            Some(magnitude) => {
                let magnitude = like(&magnitude.detach(), &sum)?;
                sum.broadcast_mul(&(magnitude / lengths(&sum)?)?.unsqueeze(1)?)
            }
        }
    }
}

/// W + scaling B A [out, in], off the graph of A and B, in at least single precision.
pub fn updated(weight: &Tensor, [a, b]: [&Tensor; 2], scaling: f64) -> candle_core::Result<Tensor> {
    let weight = wide(weight)?;
    let change = like(&b.detach(), &weight)?.matmul(&like(&a.detach(), &weight)?)?;
    &weight + (change * scaling)?
}

/// The length of every row of V [out, in]; of rows that are zero the shortest that isn't, so that what is divided by it
/// is zero as well.
pub fn lengths(sum: &Tensor) -> candle_core::Result<Tensor> {
    sum.sqr()?.sum(1)?.sqrt()?.maximum(f64::from(f32::MIN_POSITIVE))
}

fn like(tensor: &Tensor, other: &Tensor) -> candle_core::Result<Tensor> {
    tensor.to_device(other.device())?.to_dtype(other.dtype())
}

/// A trainable adapter: A, B and perhaps magnitudes per adapted projection, f32.
#[derive(Debug, Clone)]
pub struct Lora {
    shape: Shape,
    vars: BTreeMap<String, Var>,
    /// `vars` by layer and target, for the forward pass.
    pairs: Vec<[Option<Pair>; 7]>,
    /// The second half of every rank isn't trained.
    half_held: bool,
}

impl Lora {
    /// An adapter from stored tensors. Errors name a tensor that is missing,
    /// unknown, or does not fit the model.
    pub fn from_tensors(
        model: &Config,
        shape: Shape,
        mut tensors: BTreeMap<String, Tensor>,
        device: &Device,
    ) -> Result<Self> {
        shape.check(model)?;
        let mut vars = BTreeMap::new();
        let mut pairs = vec![[const { None }; 7]; model.num_layers];
        for (layer, target, place) in shape.adapted() {
            let (out, input) = model.shape(target);
            let mut take = |side: Side, shape: &[usize]| -> Result<Var> {
                let name = Self::var_name(layer, target, side);
                let tensor = tensors.remove(&name).ok_or_else(|| {
                    Error::adapter(
                        format!("tensor `{name}` is missing"),
                        "use an adapter made for this model",
                    )
                })?;
                if tensor.dims() != shape {
                    return Err(Error::adapter(
                        format!("`{name}` has shape {:?}, not {shape:?}", tensor.dims()),
                        "use an adapter made for this model",
                    ));
                }
                let tensor = tensor.to_device(device)?.to_dtype(DType::F32)?;
                let var = Var::from_tensor(&tensor.contiguous()?)?;
                vars.insert(name, var.clone());
                Ok(var)
            };
            let rank = place.rank;
            let a = take(Side::A, &[rank, input])?;
            let b = take(Side::B, &[out, rank])?;
            let magnitude = shape.magnitudes.then(|| take(Side::Magnitude, &[out])).transpose()?;
            let scaling = shape.scaling(place);
            pairs[layer][target as usize] = Some(Pair { a, b, magnitude, rank, scaling });
        }
        if let Some(name) = tensors.keys().next() {
            return Err(Error::adapter(
                format!("tensor `{name}` has no place in the model"),
                "use an adapter made for this model",
            ));
        }
        Ok(Self { shape, vars, pairs, half_held: false })
    }

    /// Whether the second half of every rank stays as it is while the first is trained: the start
    /// of [`Init::Pissa`], negative.
    pub fn half_is_held(&self) -> bool {
        self.half_held
    }

    /// Ranks and alphas by projection.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Trainable tensors in name order.
    pub fn named(&self) -> impl Iterator<Item = (&str, &Var)> {
        self.vars.iter().map(|(name, var)| (name.as_str(), var))
    }

    /// The tensor of that name.
    pub fn get(&self, name: &str) -> Option<&Var> {
        self.vars.get(name)
    }

    /// Blocks of the model it was made for.
    pub fn num_layers(&self) -> usize {
        self.pairs.len()
    }

    /// Whether every factor has the shape this model needs.
    pub(crate) fn fits(&self, model: &Config) -> bool {
        self.pairs.iter().all(|row| {
            Target::ALL.iter().zip(row).all(|(target, pair)| {
                let (out, input) = model.shape(*target);
                pair.as_ref().is_none_or(|pair| {
                    pair.a.dims() == [pair.rank, input]
                        && pair.b.dims() == [out, pair.rank]
                        && pair.magnitude.as_ref().is_none_or(|m| m.dims() == [out])
                })
            })
        })
    }

    /// The factors of one projection, if it is adapted.
    pub fn pair(&self, layer: usize, target: Target) -> Option<&Pair> {
        self.pairs.get(layer)?[target as usize].as_ref()
    }

    /// Every adapted projection, by layer.
    pub fn pairs(&self) -> impl Iterator<Item = (usize, Target, &Pair)> {
        self.pairs.iter().enumerate().flat_map(|(layer, row)| {
            Target::ALL
                .into_iter()
                .filter_map(move |target| Some((layer, target, row[target as usize].as_ref()?)))
        })
    }

    /// `base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight`
    pub fn var_name(layer: usize, target: Target, side: Side) -> String {
        let (part, name) = (target.part(), target.name());
        let side = side.name();
        format!("base_model.model.model.layers.{layer}.{part}.{name}.{side}")
    }
}
