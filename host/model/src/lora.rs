//! Low-rank adapter (Hu et al. 2021, arXiv 2106.09685), named as peft names it.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor, Var};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::config::Config;
pub use crate::config::Target;
use crate::error::{Error, Result};

/// Which of the two factors of an adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// [rank, in]
    A,
    /// [out, rank]
    B,
}

/// What an adapter looks like; its scaling is alpha / rank.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoraConfig {
    /// Rows of A, columns of B.
    pub rank: usize,
    /// Numerator of the scaling.
    pub alpha: f64,
    /// The projections that are adapted.
    pub targets: Vec<Target>,
}

impl LoraConfig {
    /// alpha / rank
    pub fn scaling(&self) -> f64 {
        self.alpha / self.rank as f64
    }

    fn validate(&self) -> Result<()> {
        if self.rank == 0 || self.rank > 4096 {
            return Err(Error::adapter(format!("rank is {}", self.rank), "choose 1 to 4096"));
        }
        if !(self.alpha.is_finite() && self.alpha > 0.0) {
            return Err(Error::adapter(
                format!("alpha is {}", self.alpha),
                "choose a positive number",
            ));
        }
        if self.targets.is_empty() {
            return Err(Error::adapter("no targets", "name at least one projection"));
        }
        for (index, target) in self.targets.iter().enumerate() {
            if self.targets[..index].contains(target) {
                return Err(Error::adapter(
                    format!("target {} is named twice", target.name()),
                    "name it once",
                ));
            }
        }
        Ok(())
    }
}

/// A trainable adapter: A [rank, in] and B [out, rank] per layer and target, f32.
#[derive(Debug, Clone)]
pub struct Lora {
    /// Rank, alpha and targets.
    pub config: LoraConfig,
    vars: BTreeMap<String, Var>,
    /// `vars` by layer and target, for the forward pass.
    pairs: Vec<[Option<(Var, Var)>; 7]>,
}

impl Lora {
    /// A fresh adapter that changes nothing: A uniform in +-1/sqrt(in) (Kaiming
    /// with a = sqrt 5, as peft does), B zero. A tensor's draw depends on the
    /// seed, layer and target alone.
    pub fn new(model: &Config, config: LoraConfig, seed: u64, device: &Device) -> Result<Self> {
        config.validate()?;
        let mut tensors = BTreeMap::new();
        for layer in 0..model.num_layers {
            for target in &config.targets {
                let (rows, cols) = model.shape(*target);
                let mut random = ChaCha8Rng::seed_from_u64(seed);
                random.set_stream((layer * Target::ALL.len() + *target as usize) as u64);
                let bound = 1.0 / (cols as f32).sqrt();
                let a: Vec<f32> =
                    (0..config.rank * cols).map(|_| random.random_range(-bound..bound)).collect();
                let a = Tensor::from_vec(a, (config.rank, cols), device)?;
                let b = Tensor::zeros((rows, config.rank), DType::F32, device)?;
                tensors.insert(Self::var_name(layer, *target, Side::A), a);
                tensors.insert(Self::var_name(layer, *target, Side::B), b);
            }
        }
        Self::from_tensors(model, config, tensors, device)
    }

    /// An adapter from stored tensors. Errors name a tensor that is missing,
    /// unknown, or does not fit the model.
    pub fn from_tensors(
        model: &Config,
        config: LoraConfig,
        mut tensors: BTreeMap<String, Tensor>,
        device: &Device,
    ) -> Result<Self> {
        config.validate()?;
        let mut vars = BTreeMap::new();
        let mut pairs = Vec::with_capacity(model.num_layers);
        for layer in 0..model.num_layers {
            let mut row = [const { None }; 7];
            for target in &config.targets {
                let (out, input) = model.shape(*target);
                let mut take = |side: Side, shape: (usize, usize)| -> Result<Var> {
                    let name = Self::var_name(layer, *target, side);
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
                let a = take(Side::A, (config.rank, input))?;
                let b = take(Side::B, (out, config.rank))?;
                row[*target as usize] = Some((a, b));
            }
            pairs.push(row);
        }
        if let Some(name) = tensors.keys().next() {
            return Err(Error::adapter(
                format!("tensor `{name}` has no place in the model"),
                "use an adapter made for this model",
            ));
        }
        Ok(Self { config, vars, pairs })
    }

    /// Trainable tensors in name order.
    pub fn named(&self) -> impl Iterator<Item = (&str, &Var)> {
        self.vars.iter().map(|(name, var)| (name.as_str(), var))
    }

    /// The tensor of that name.
    pub fn get(&self, name: &str) -> Option<&Var> {
        self.vars.get(name)
    }

    /// alpha / rank
    pub fn scaling(&self) -> f64 {
        self.config.scaling()
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
                pair.as_ref().is_none_or(|(a, b)| {
                    a.dims() == [self.config.rank, input] && b.dims() == [out, self.config.rank]
                })
            })
        })
    }

    /// (A [rank, in], B [out, rank]) of one projection, if it is adapted.
    pub fn pair(&self, layer: usize, target: Target) -> Option<(&Var, &Var)> {
        let pair = self.pairs.get(layer)?[target as usize].as_ref()?;
        Some((&pair.0, &pair.1))
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
