//! Adapters before any training.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::{Init, Lora, LoraConfig, Place, Side, principal};
use crate::config::{Config, Target};
use crate::error::{Error, Result};
use crate::weights::{Linear, Weights};

impl Lora {
    /// A fresh adapter that changes nothing: A uniform in +-1/sqrt(in) (Kaiming
    /// with a = sqrt 5, as peft does), B zero. A tensor's draw depends on the
    /// seed, layer and target alone.
    ///
    /// # Errors
    /// [`Error::Adapter`] for what doesn't fit the model, and for a configuration that
    /// [`Lora::for_weights`] alone can follow.
    pub fn new(model: &Config, config: LoraConfig, seed: u64, device: &Device) -> Result<Self> {
        if config.magnitudes || config.init != Init::Kaiming {
            return Err(Error::adapter(
                "magnitudes and a start at singular values are those of a model's weights",
                "make the adapter for a model that is loaded",
            ));
        }
        Self::drawn(model, &config, device, |layer, target, place| {
            kaiming(model, (layer, target, place), seed, device)
        })
    }

    /// A fresh adapter that changes nothing, as the configuration wants it. Magnitudes are the
    /// lengths of the rows of the weights. PiSSA (arXiv 2404.02948): A and B are the largest singular
    /// values with their vectors, `scaling B A` is the nearest matrix of that rank. The paper takes
    /// it off the weight; here it is taken off by the second half of A and B, which isn't trained, so
    /// that the model without the adapter stays what it was:
    ///
    /// ```text
    /// y = W x + scaling (B A - B0 A0) x = W x + scaling [B, -B0] [A; A0] x
    /// ```
    ///
    /// # Errors
    /// [`Error::Adapter`] for what doesn't fit the model.
    pub fn for_weights(
        model: &Config,
        weights: &Weights,
        config: LoraConfig,
        seed: u64,
    ) -> Result<Self> {
        let device = weights.device();
        let half_held = config.init == Init::Pissa;
        let lora = Self::drawn(model, &config, device, |layer, target, place| {
            let missing = || Error::adapter("the layer has experts", "adapt its attention alone");
            let linear = weights.layers[layer].linear(target).ok_or_else(missing)?;
            let mut found = match config.init {
                Init::Kaiming => kaiming(model, (layer, target, place), seed, device)?,
                Init::Pissa => {
                    let mut random = dice(seed, layer, target);
                    pissa(linear, place, config.rank_stabilized, &mut random)?
                }
            };
            if config.magnitudes {
                let lengths = linear.weight.square_lengths()?;
                let lengths: Vec<f32> = lengths.iter().map(|square| square.sqrt() as f32).collect();
                let size = lengths.len();
                found.push((Side::Magnitude, Tensor::from_vec(lengths, size, device)?));
            }
            Ok(found)
        })?;
        Ok(Self { half_held, ..lora })
    }

    fn drawn(
        model: &Config,
        config: &LoraConfig,
        device: &Device,
        draw: impl Fn(usize, Target, Place) -> Result<Vec<(Side, Tensor)>> + Sync,
    ) -> Result<Self> {
        let shape = config.shape(model)?;
        let places: Vec<(usize, Target, Place)> = shape.adapted().collect();
        let drawn = places.into_par_iter().map(|(layer, target, place)| {
            let found = draw(layer, target, place)?.into_iter();
            let named = |(side, tensor)| (Self::var_name(layer, target, side), tensor);
            Ok(found.map(named).collect::<Vec<_>>())
        });
        let drawn: Vec<Vec<(String, Tensor)>> = drawn.collect::<Result<_>>()?;
        let tensors: BTreeMap<String, Tensor> = drawn.into_iter().flatten().collect();
        Self::from_tensors(model, shape, tensors, device)
    }
}

fn dice(seed: u64, layer: usize, target: Target) -> ChaCha8Rng {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream((layer * Target::ALL.len() + target as usize) as u64);
    random
}

fn kaiming(
    model: &Config,
    (layer, target, Place { rank, .. }): (usize, Target, Place),
    seed: u64,
    device: &Device,
) -> Result<Vec<(Side, Tensor)>> {
    let (rows, cols) = model.shape(target);
    let mut random = dice(seed, layer, target);
    let bound = 1.0 / (cols as f32).sqrt();
    let a: Vec<f32> = (0..rank * cols).map(|_| random.random_range(-bound..bound)).collect();
    let a = Tensor::from_vec(a, (rank, cols), device)?;
    Ok(vec![(Side::A, a), (Side::B, Tensor::zeros((rows, rank), DType::F32, device)?)])
}

/// [A; A0] and [B, -B0], where A is A0 and B is B0 at first.
fn pissa(
    linear: &Linear,
    place: Place,
    rank_stabilized: bool,
    random: &mut ChaCha8Rng,
) -> Result<Vec<(Side, Tensor)>> {
    let weight = linear.weight.tensor()?.to_dtype(DType::F32)?;
    let rank = place.rank / 2;
    let scaling = place.scaling(rank_stabilized);
    let (b, a) = principal::factors(&weight, rank, random)?;
    // Half of the scaling is taken out of each, so that scaling B A is the nearest matrix.
    let share = 1.0 / scaling.sqrt();
    let (a, b) = ((a * share)?, (b * share)?);
    let behind = b.neg()?;
    Ok(vec![(Side::A, Tensor::cat(&[&a, &a], 0)?), (Side::B, Tensor::cat(&[&b, &behind], 1)?)])
}
