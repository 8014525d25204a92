//! Low-rank adapter (Hu et al. 2021, arXiv 2106.09685), named as peft names it.

pub(crate) mod modules;
mod shape;

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor, Var};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::config::Config;
pub use crate::config::Target;
use crate::error::{Error, Result};

pub use shape::{LoraConfig, Names, Place, Shape};

/// Which of the two factors of an adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// [rank, in]
    A,
    /// [out, rank]
    B,
}

/// The factors of one adapted projection: y = W x + scaling B A x.
#[derive(Debug, Clone)]
pub struct Pair {
    /// [rank, in]
    pub a: Var,
    /// [out, rank]
    pub b: Var,
    /// Rows of A, columns of B.
    pub rank: usize,
    /// alpha / rank, or alpha / sqrt(rank)
    pub scaling: f64,
}

/// A trainable adapter: A and B per adapted projection, f32.
#[derive(Debug, Clone)]
pub struct Lora {
    shape: Shape,
    vars: BTreeMap<String, Var>,
    /// `vars` by layer and target, for the forward pass.
    pairs: Vec<[Option<Pair>; 7]>,
}

impl Lora {
    /// A fresh adapter that changes nothing: A uniform in +-1/sqrt(in) (Kaiming
    /// with a = sqrt 5, as peft does), B zero. A tensor's draw depends on the
    /// seed, layer and target alone.
    pub fn new(model: &Config, config: LoraConfig, seed: u64, device: &Device) -> Result<Self> {
        let shape = config.shape(model)?;
        let mut tensors = BTreeMap::new();
        for (layer, target, Place { rank, .. }) in shape.adapted() {
            let (rows, cols) = model.shape(target);
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            random.set_stream((layer * Target::ALL.len() + target as usize) as u64);
            let bound = 1.0 / (cols as f32).sqrt();
            let a: Vec<f32> =
                (0..rank * cols).map(|_| random.random_range(-bound..bound)).collect();
            let a = Tensor::from_vec(a, (rank, cols), device)?;
            let b = Tensor::zeros((rows, rank), DType::F32, device)?;
            tensors.insert(Self::var_name(layer, target, Side::A), a);
            tensors.insert(Self::var_name(layer, target, Side::B), b);
        }
        Self::from_tensors(model, shape, tensors, device)
    }

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
            let mut take = |side: Side, shape: (usize, usize)| -> Result<Var> {
                let name = Self::var_name(layer, target, side);
                let tensor = tensors.remove(&name).ok_or_else(|| {
                    Error::adapter(
                        format!("tensor `{name}` is missing"),
                        "use an adapter made for this model",
                    )
                })?;
                if tensor.dims() != [shape.0, shape.1] {
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
            let a = take(Side::A, (rank, input))?;
            let b = take(Side::B, (out, rank))?;
            let scaling = shape.scaling(place);
            pairs[layer][target as usize] = Some(Pair { a, b, rank, scaling });
        }
        if let Some(name) = tensors.keys().next() {
            return Err(Error::adapter(
                format!("tensor `{name}` has no place in the model"),
                "use an adapter made for this model",
            ));
        }
        Ok(Self { shape, vars, pairs })
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
                    pair.a.dims() == [pair.rank, input] && pair.b.dims() == [out, pair.rank]
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
        let side = match side {
            Side::A => "lora_A",
            Side::B => "lora_B",
        };
        format!("base_model.model.model.layers.{layer}.{part}.{name}.{side}.weight")
    }
}
