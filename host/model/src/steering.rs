//! Steering: vectors that are added to the residual stream at every position.
//!
//! ```text
//! h_l += c * v_l,   v_l = mean(h_l | positive) - mean(h_l | negative)
//! ```
//!
//! Layer 0 is the embeddings and layer l the residual stream after block l, as for taps;
//! a tap of a steered layer reads it with the vector added. Activation addition goes back
//! to Turner et al. 2023 (arXiv 2308.10248); what it does to refusals is measured in
//! arXiv 2602.04896.

mod file;

use std::collections::BTreeMap;

use candle_core::Tensor;
use sha2::{Digest, Sha256};

use crate::config::Config;
use crate::error::{Error, Result};

pub use file::Origin;

/// One vector per layer, all of the same width, all finite.
#[derive(Debug, Clone, PartialEq)]
pub struct Steering {
    vectors: BTreeMap<usize, Vec<f32>>,
}

impl Steering {
    /// # Errors
    /// [`Error::Steering`] without any vector, for vectors of different widths, and for
    /// one that isn't finite.
    pub fn new(vectors: BTreeMap<usize, Vec<f32>>) -> Result<Self> {
        let widths = || vectors.values().map(Vec::len);
        let Some(width) = widths().next() else {
            return Err(Error::steering("no layer has a vector", "name one layer"));
        };
        if let Some(other) = widths().find(|other| *other != width || *other == 0) {
            return Err(Error::steering(
                format!("vectors of {width} and of {other} values"),
                "fit them on one model",
            ));
        }
        let finite = |vector: &[f32]| vector.iter().all(|value| value.is_finite());
        match vectors.iter().find(|(_, vector)| !finite(vector)) {
            Some((layer, _)) => Err(Error::steering(
                format!("the vector of layer {layer} isn't finite"),
                "fit it again",
            )),
            None => Ok(Self { vectors }),
        }
    }

    /// The difference of two means per layer.
    ///
    /// # Errors
    /// As [`Self::new`]; both must have the same layers.
    pub fn difference(positive: &RunningMean, negative: &RunningMean) -> Result<Self> {
        let layers = positive.layers.iter().zip(&negative.layers);
        let vectors = layers.map(|((layer, a), (_, b))| {
            let values = a.iter().zip(b).map(|(a, b)| (a - b) as f32);
            (*layer, values.collect())
        });
        Self::new(vectors.collect())
    }

    /// Layers that have a vector, ascending.
    pub fn layers(&self) -> impl Iterator<Item = usize> {
        self.vectors.keys().copied()
    }

    /// Values of a vector.
    pub fn width(&self) -> usize {
        self.vectors.values().next().map_or(0, Vec::len)
    }

    /// Only these layers.
    ///
    /// # Errors
    /// [`Error::Steering`] if one of them has no vector.
    pub fn select(&self, layers: &[usize]) -> Result<Self> {
        let vectors = layers.iter().map(|layer| {
            if let Some(vector) = self.vectors.get(layer) {
                Ok((*layer, vector.clone()))
            } else {
                let known: Vec<String> = self.layers().map(|layer| layer.to_string()).collect();
                Err(Error::steering(
                    format!("layer {layer} has no vector"),
                    format!("choose from {}", known.join(", ")),
                ))
            }
        });
        Self::new(vectors.collect::<Result<_>>()?)
    }

    /// # Errors
    /// [`Error::Steering`] if the coefficient makes it infinite.
    pub fn scaled(&self, coefficient: f64) -> Result<Self> {
        let scale = |value: &f32| (coefficient * f64::from(*value)) as f32;
        let vectors = self.vectors.iter();
        let vectors = vectors.map(|(layer, vector)| (*layer, vector.iter().map(scale).collect()));
        Self::new(vectors.collect())
    }

    /// Without the part along `direction`, layer by layer: v - (v . r) r with |r| = 1
    /// (arXiv 2602.04896).
    ///
    /// # Errors
    /// [`Error::Steering`] if `direction` lacks a layer.
    pub fn projected(&self, direction: &Self) -> Result<Self> {
        let vectors = self.pairs(direction)?.map(|(layer, v, r)| {
            let along = match dot(r, r) {
                0.0 => 0.0,
                square => dot(v, r) / square,
            };
            let values = v.iter().zip(r);
            let values = values.map(|(v, r)| (f64::from(*v) - along * f64::from(*r)) as f32);
            (layer, values.collect())
        });
        Self::new(vectors.collect())
    }

    /// The cosine with `direction`, layer by layer; 0 with a vector of zeros.
    ///
    /// # Errors
    /// [`Error::Steering`] if `direction` lacks a layer.
    pub fn cosines(&self, direction: &Self) -> Result<Vec<f64>> {
        let cosines =
            self.pairs(direction)?.map(|(_, v, r)| match (dot(v, v) * dot(r, r)).sqrt() {
                0.0 => 0.0,
                norms => (dot(v, r) / norms).clamp(-1.0, 1.0),
            });
        Ok(cosines.collect())
    }

    /// Layer, own vector, vector of the other.
    fn pairs<'s>(
        &'s self,
        other: &'s Self,
    ) -> Result<impl Iterator<Item = (usize, &'s Vec<f32>, &'s Vec<f32>)>> {
        if let Some(layer) = self.layers().find(|at| !other.vectors.contains_key(at)) {
            return Err(Error::steering(
                format!("layer {layer} has no direction to compare with"),
                "fit both at the same layers",
            ));
        }
        if self.width() != other.width() {
            return Err(Error::steering(
                format!("vectors of {} and of {} values", self.width(), other.width()),
                "fit both on one model",
            ));
        }
        let vectors = self.vectors.iter();
        Ok(vectors.map(|(layer, vector)| (*layer, vector, &other.vectors[layer])))
    }

    /// SHA-256 of layers and bits: what is added, and nothing else, decides it.
    pub fn digest(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        for (layer, vector) in &self.vectors {
            for number in [*layer, vector.len()] {
                hasher.update((number as u64).to_le_bytes());
            }
            vector.iter().for_each(|value| hasher.update(value.to_le_bytes()));
        }
        hasher.finalize().into()
    }

    /// Layer by layer, ascending.
    pub fn vectors(&self) -> &BTreeMap<usize, Vec<f32>> {
        &self.vectors
    }

    /// # Errors
    /// [`Error::Steering`] if the model has other widths or not that many layers.
    pub fn check(&self, config: &Config) -> Result<()> {
        if self.width() != config.hidden_size {
            return Err(Error::steering(
                format!(
                    "vectors of {} values for a model of width {}",
                    self.width(),
                    config.hidden_size
                ),
                "fit them on this model",
            ));
        }
        match self.layers().find(|layer| *layer > config.num_layers) {
            Some(layer) => Err(Error::steering(
                format!("layer {layer} is steered"),
                format!("choose 0 to {}", config.num_layers),
            )),
            None => Ok(()),
        }
    }

    /// Adds the layer's vector to every row of `stream` [rows, hidden].
    pub(crate) fn add(&self, layer: usize, stream: &mut [f32]) {
        if let Some(vector) = self.vectors.get(&layer) {
            for row in stream.chunks_exact_mut(vector.len()) {
                row.iter_mut().zip(vector).for_each(|(x, v)| *x += v);
            }
        }
    }

    /// The same for a tensor on any device, in its own number format.
    pub(crate) fn add_to(&self, layer: usize, stream: Tensor) -> Result<Tensor> {
        match self.vectors.get(&layer) {
            Some(vector) => {
                let vector = Tensor::new(vector.as_slice(), stream.device())?;
                Ok(stream.broadcast_add(&vector.to_dtype(stream.dtype())?)?)
            }
            None => Ok(stream),
        }
    }
}

/// Running means of activations, per layer.
#[derive(Debug, Clone, Default)]
pub struct RunningMean {
    layers: BTreeMap<usize, Vec<f64>>,
    count: BTreeMap<usize, u64>,
}

impl RunningMean {
    /// Takes in what one prompt shows at a layer.
    pub fn add(&mut self, layer: usize, activation: &[f32]) {
        let count = self.count.entry(layer).or_default();
        *count += 1;
        let fraction = 1.0 / *count as f64;
        let mean = self.layers.entry(layer).or_insert_with(|| vec![0.0; activation.len()]);
        for (mean, value) in mean.iter_mut().zip(activation) {
            *mean += fraction * (f64::from(*value) - *mean);
        }
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    let products = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b));
    products.sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn steering(layers: &[(usize, &[f32])]) -> Steering {
        let vectors = layers.iter().map(|(layer, v)| (*layer, v.to_vec()));
        Steering::new(vectors.collect()).unwrap()
    }

    #[test]
    fn the_golden_projection() {
        let v = steering(&[(3, &[1.0, 1.0])]);
        let r = steering(&[(3, &[1.0, 0.0]), (4, &[0.0, 1.0])]);
        assert_eq!(v.projected(&r).unwrap(), steering(&[(3, &[0.0, 1.0])]));
        // The length of r makes no difference.
        let longer = r.scaled(5.0).unwrap();
        assert_eq!(v.projected(&longer).unwrap(), steering(&[(3, &[0.0, 1.0])]));
        assert!((v.cosines(&r).unwrap()[0] - 0.5f64.sqrt()).abs() < 1e-12);
        let projected = v.projected(&r).unwrap();
        assert_eq!(projected.cosines(&r).unwrap(), [0.0]);
        let nothing = steering(&[(3, &[0.0, 0.0])]);
        assert_eq!(v.projected(&nothing).unwrap(), v);
        assert_eq!(v.cosines(&nothing).unwrap(), [0.0]);
    }

    #[test]
    fn vectors_that_can_not_be_are_refused() {
        for vectors in [
            vec![],
            vec![(1, vec![])],
            vec![(1, vec![1.0]), (2, vec![1.0, 2.0])],
            vec![(1, vec![f32::NAN])],
        ] {
            let made = Steering::new(vectors.into_iter().collect());
            assert!(made.is_err(), "{made:?}");
        }
        let v = steering(&[(1, &[1.0, 1.0])]);
        assert!(v.scaled(1e300).is_err());
        assert!(v.projected(&steering(&[(2, &[1.0, 0.0])])).is_err());
        assert!(v.cosines(&steering(&[(1, &[1.0])])).is_err());
        assert!(v.select(&[2]).unwrap_err().to_string().contains("choose from 1"));
    }

    #[test]
    fn the_digest_is_what_is_added() {
        let v = steering(&[(1, &[1.0, 1.0])]);
        assert_eq!(v.digest(), steering(&[(1, &[1.0, 1.0])]).digest());
        for other in [
            steering(&[(2, &[1.0, 1.0])]),
            steering(&[(1, &[1.0, 1.5])]),
            steering(&[(1, &[1.0, 1.0]), (2, &[0.0, 0.0])]),
            v.scaled(-1.0).unwrap(),
        ] {
            assert_ne!(v.digest(), other.digest());
        }
    }

    #[test]
    fn a_difference_of_means_is_per_layer() {
        let (mut positive, mut negative) = (RunningMean::default(), RunningMean::default());
        for value in [1.0, 3.0] {
            positive.add(2, &[value, 1.0]);
        }
        negative.add(2, &[0.5, 1.0]);
        let found = Steering::difference(&positive, &negative).unwrap();
        assert_eq!(found, steering(&[(2, &[1.5, 0.0])]));
    }

    #[test]
    fn every_row_gets_the_vector_of_its_layer() {
        let v = steering(&[(1, &[1.0, -1.0])]);
        let mut rows = vec![0.0, 0.0, 2.0, 2.0];
        v.add(2, &mut rows);
        assert_eq!(rows, [0.0, 0.0, 2.0, 2.0]);
        v.add(1, &mut rows);
        assert_eq!(rows, [1.0, -1.0, 3.0, 1.0]);
    }
}
