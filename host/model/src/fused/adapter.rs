//! The adapter as the kernels see it: slices per layer and target.

use candle_core::Tensor;

use crate::config::Config;
use crate::error::Result;
use crate::lora::{Lora, Target};
use crate::slices::Values;

/// A [rank, in] and B [out, rank] of one projection.
#[derive(Clone, Copy)]
pub(super) struct LowRank<'a> {
    pub a: &'a [f32],
    pub b: &'a [f32],
    pub rank: usize,
    pub scaling: f32,
}

/// The low-rank factors of one layer's projections, in the order of `Target::ALL`.
pub(super) type LayerAdapter<'a> = [Option<LowRank<'a>>; 7];

/// Where every factor lies in one flat vector: by layer, target, A before B.
#[derive(Clone)]
pub(super) struct Flat {
    /// Values of A and of B per target; zero where a target is not adapted.
    sizes: [(usize, usize); 7],
    layers: usize,
    pub rank: usize,
    scaling: f32,
}

impl Flat {
    pub fn new(config: &Config, adapter: &Lora) -> Self {
        let rank = adapter.config.rank;
        let sizes = Target::ALL.map(|target| {
            let (out, input) = config.shape(target);
            match adapter.pair(0, target) {
                Some(_) => (rank * input, out * rank),
                None => (0, 0),
            }
        });
        Self { sizes, layers: config.num_layers, rank, scaling: adapter.scaling() as f32 }
    }

    pub fn layer_size(&self) -> usize {
        self.sizes.iter().map(|(a, b)| a + b).sum()
    }

    pub fn size(&self) -> usize {
        self.layers * self.layer_size()
    }

    /// Every factor in one vector, on the graph of the adapter's variables.
    pub fn tensor(&self, adapter: &Lora) -> Result<Tensor> {
        let mut parts = Vec::new();
        for layer in 0..self.layers {
            for target in Target::ALL {
                if let Some((a, b)) = adapter.pair(layer, target) {
                    parts.push(a.flatten_all()?);
                    parts.push(b.flatten_all()?);
                }
            }
        }
        Ok(Tensor::cat(&parts, 0)?)
    }

    /// One layer's factors in the flat vector.
    pub fn layer<'a>(&self, values: &'a [f32], layer: usize) -> LayerAdapter<'a> {
        let size = self.layer_size();
        let mut rest = &values[layer * size..(layer + 1) * size];
        self.sizes.map(|(a, b)| {
            let (own, others) = rest.split_at(a + b);
            rest = others;
            (a > 0).then(|| LowRank {
                a: &own[..a],
                b: &own[a..],
                rank: self.rank,
                scaling: self.scaling,
            })
        })
    }

    /// One layer's gradients, cut into A and B per target.
    pub fn split_mut<'a>(&self, values: &'a mut [f32]) -> [(&'a mut [f32], &'a mut [f32]); 7] {
        let mut rest = values;
        self.sizes.map(|(a, b)| {
            let (own, others) = std::mem::take(&mut rest).split_at_mut(a + b);
            rest = others;
            own.split_at_mut(a)
        })
    }
}

/// Read access to an adapter's variables, for passes without gradient.
pub(super) struct Factors<'a> {
    layers: Vec<[Option<(Values<'a>, Values<'a>)>; 7]>,
    rank: usize,
    scaling: f32,
}

impl<'a> Factors<'a> {
    pub fn of(adapter: Option<&'a Lora>, layers: usize) -> Result<Self> {
        let mut found = Vec::with_capacity(layers);
        for layer in 0..layers {
            let mut row = [const { None }; 7];
            for target in Target::ALL {
                if let Some((a, b)) = adapter.and_then(|lora| lora.pair(layer, target)) {
                    row[target as usize] = Some((Values::of(a)?, Values::of(b)?));
                }
            }
            found.push(row);
        }
        Ok(Self {
            layers: found,
            rank: adapter.map_or(0, |lora| lora.config.rank),
            scaling: adapter.map_or(0.0, |lora| lora.scaling() as f32),
        })
    }

    pub fn layer(&self, layer: usize) -> LayerAdapter<'_> {
        std::array::from_fn(|target| {
            self.layers[layer][target].as_ref().map(|(a, b)| LowRank {
                a,
                b,
                rank: self.rank,
                scaling: self.scaling,
            })
        })
    }
}
