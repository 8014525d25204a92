//! The adapter of one block, as tensors on a graph or off it.

use candle_core::{Result, Tensor};

use crate::lora::{Lora, Target};

/// A [rank, in], B [out, rank] and perhaps magnitudes beside one projection.
pub(super) struct Pair {
    pub a: Tensor,
    pub b: Tensor,
    /// [out]
    pub magnitude: Option<Tensor>,
    /// What B A is multiplied by.
    pub scaling: f64,
}

/// By target; empty without an adapter.
#[derive(Default)]
pub(super) struct Factors([Option<Pair>; 7]);

impl Factors {
    /// The variables themselves: what is computed with them is on their graph.
    pub fn of(adapter: Option<&Lora>, layer: usize) -> Self {
        let Some(adapter) = adapter else {
            return Self::default();
        };
        Self(Target::ALL.map(|target| {
            adapter.pair(layer, target).map(|pair| Pair {
                a: pair.a.as_tensor().clone(),
                b: pair.b.as_tensor().clone(),
                magnitude: pair.magnitude.as_ref().map(|m| m.as_tensor().clone()),
                scaling: pair.scaling,
            })
        }))
    }

    pub fn get(&self, target: Target) -> Option<&Pair> {
        self.0[target as usize].as_ref()
    }

    fn map(&self, mut change: impl FnMut(&Tensor) -> Result<Tensor>) -> Result<Self> {
        let mut changed = Self::default();
        for (to, from) in changed.0.iter_mut().zip(&self.0) {
            if let Some(Pair { a, b, magnitude, scaling }) = from {
                let (a, b) = (change(a)?, change(b)?);
                let magnitude = magnitude.as_ref().map(&mut change).transpose()?;
                *to = Some(Pair { a, b, magnitude, scaling: *scaling });
            }
        }
        Ok(changed)
    }

    /// The same values off the graph.
    pub fn detached(&self) -> Result<Self> {
        self.map(|tensor| Ok(tensor.detach()))
    }

    /// All factors as one vector, on their graph; none without an adapter.
    pub fn flat(&self) -> Result<Option<Tensor>> {
        let pairs = self.0.iter().flatten();
        let parts = pairs
            .flat_map(|pair| [&pair.a, &pair.b].into_iter().chain(&pair.magnitude))
            .map(Tensor::flatten_all)
            .collect::<Result<Vec<_>>>()?;
        if parts.is_empty() { Ok(None) } else { Tensor::cat(&parts, 0).map(Some) }
    }

    /// Factors of the same shapes out of such a vector, on its graph.
    pub fn cut(&self, flat: &Tensor) -> Result<Self> {
        let mut start = 0;
        self.map(|like| {
            let length = like.elem_count();
            let part = flat.narrow(0, start, length)?;
            start += length;
            part.reshape(like.shape())
        })
    }
}
