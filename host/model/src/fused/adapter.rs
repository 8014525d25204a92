//! The adapter as the kernels see it: slices per layer and target.

use std::ops::Range;

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
    pub lengths: Option<Lengths<'a>>,
}

/// Of every row of an adapted weight [out]: what it is brought to, and the factor that does it.
#[derive(Clone, Copy)]
pub(super) struct Lengths<'a> {
    pub magnitude: &'a [f32],
    /// magnitude / |W + scaling B A|; empty before it is known.
    pub gain: &'a [f32],
}

/// The low-rank factors of one layer's projections, in the order of `Target::ALL`.
pub(super) type LayerAdapter<'a> = [Option<LowRank<'a>>; 7];

/// Of A, B and magnitudes per target; empty where there are none.
pub(super) type FactorGradients<'a> = [[&'a mut [f32]; 3]; 7];

/// What the adapter of one layer makes room for.
#[derive(Clone, Copy, Default)]
pub(super) struct Extent {
    /// Per target, 0 where there is no adapter.
    pub ranks: [usize; 7],
    /// Whether the outputs of projections are kept, for the gradients of magnitudes.
    pub outputs: bool,
}

impl Extent {
    pub fn of(factors: &LayerAdapter) -> Self {
        Self {
            ranks: factors.map(|low| low.map_or(0, |low| low.rank)),
            outputs: factors.iter().flatten().any(|low| low.lengths.is_some()),
        }
    }

    /// 1 where attention and MLP don't add to the stream by themselves, else 0.
    pub fn finishes(self, config: &Config) -> usize {
        usize::from(config.finishes_branches() || self.outputs)
    }
}

/// Where the factors of one projection lie.
#[derive(Clone, Copy)]
struct Sizes {
    /// Values of A, of B and of magnitudes.
    a: usize,
    b: usize,
    m: usize,
    rank: usize,
    scaling: f32,
}

/// Where every factor lies in one flat vector: by layer, target, A before B before magnitudes.
#[derive(Clone)]
pub(super) struct Flat {
    layers: Vec<[Option<Sizes>; 7]>,
    /// Where each layer's begin, and where the last ends.
    starts: Vec<usize>,
}

impl Flat {
    pub fn new(adapter: &Lora) -> Self {
        let (mut layers, mut starts) = (Vec::new(), vec![0]);
        for layer in 0..adapter.num_layers() {
            let row = Target::ALL.map(|target| {
                adapter.pair(layer, target).map(|pair| Sizes {
                    a: pair.a.elem_count(),
                    b: pair.b.elem_count(),
                    m: pair.magnitude.as_ref().map_or(0, |m| m.elem_count()),
                    rank: pair.rank,
                    scaling: pair.scaling as f32,
                })
            });
            let size: usize = row.iter().flatten().map(|sizes| sizes.a + sizes.b + sizes.m).sum();
            starts.push(starts[layer] + size);
            layers.push(row);
        }
        Self { layers, starts }
    }

    /// One layer's values in the flat vector.
    pub fn range(&self, layer: usize) -> Range<usize> {
        self.starts[layer]..self.starts[layer + 1]
    }

    pub fn size(&self) -> usize {
        self.starts[self.layers.len()]
    }

    /// The lowest layer that is adapted: below it nothing wants a gradient.
    pub fn lowest(&self) -> usize {
        let adapted = |row: &[Option<Sizes>; 7]| row.iter().any(Option::is_some);
        self.layers.iter().position(adapted).unwrap_or(0)
    }

    pub fn extent(&self, layer: usize) -> Extent {
        let row = &self.layers[layer];
        Extent {
            ranks: row.map(|sizes| sizes.map_or(0, |sizes| sizes.rank)),
            outputs: row.iter().flatten().any(|sizes| sizes.m > 0),
        }
    }

    /// Every factor in one vector, on the graph of the adapter's variables.
    pub fn tensor(adapter: &Lora) -> Result<Tensor> {
        let mut parts = Vec::new();
        for (_, _, pair) in adapter.pairs() {
            parts.push(pair.a.flatten_all()?);
            parts.push(pair.b.flatten_all()?);
            parts.extend(pair.magnitude.as_ref().map(|m| m.as_tensor().clone()));
        }
        Ok(Tensor::cat(&parts, 0)?)
    }

    /// One layer's factors in the flat vector.
    pub fn layer<'a>(&self, values: &'a [f32], layer: usize) -> LayerAdapter<'a> {
        let mut rest = &values[self.range(layer)];
        self.layers[layer].map(|sizes| {
            let Sizes { a, b, m, rank, scaling } = sizes?;
            let (own, others) = rest.split_at(a + b + m);
            rest = others;
            let (factors, magnitude) = own.split_at(a + b);
            let lengths = (m > 0).then_some(Lengths { magnitude, gain: &[] });
            Some(LowRank { a: &factors[..a], b: &factors[a..], rank, scaling, lengths })
        })
    }

    /// One layer's gradients, cut into A, B and magnitudes per target.
    pub fn split_mut<'a>(&self, values: &'a mut [f32], layer: usize) -> FactorGradients<'a> {
        let mut rest = values;
        self.layers[layer].map(|sizes| {
            let sizes = sizes.map_or([0; 3], |sizes| [sizes.a, sizes.b, sizes.m]);
            sizes.map(|size| {
                let (own, others) = std::mem::take(&mut rest).split_at_mut(size);
                rest = others;
                own
            })
        })
    }
}

/// The tensors of one projection, read from the variables.
struct Read<'a> {
    a: Values<'a>,
    b: Values<'a>,
    magnitude: Option<Values<'a>>,
    rank: usize,
    scaling: f32,
}

/// Read access to an adapter's variables, for passes without gradient.
pub(super) struct Factors<'a>(Vec<[Option<Read<'a>>; 7]>);

impl<'a> Factors<'a> {
    pub fn of(adapter: Option<&'a Lora>, layers: usize) -> Result<Self> {
        let mut found = Vec::with_capacity(layers);
        found.resize_with(layers, || [const { None }; 7]);
        for (layer, target, pair) in adapter.into_iter().flat_map(Lora::pairs) {
            let (a, b) = (Values::of(&pair.a)?, Values::of(&pair.b)?);
            let (rank, scaling) = (pair.rank, pair.scaling as f32);
            let magnitude = pair.magnitude.as_ref().map(|m| Values::of(m)).transpose()?;
            found[layer][target as usize] = Some(Read { a, b, magnitude, rank, scaling });
        }
        Ok(Self(found))
    }

    pub fn layer(&self, layer: usize) -> LayerAdapter<'_> {
        let row = self.0[layer].each_ref();
        row.map(|read| {
            let Read { a, b, magnitude, rank, scaling } = read.as_ref()?;
            let lengths = magnitude.as_ref().map(|magnitude| Lengths { magnitude, gain: &[] });
            Some(LowRank { a, b, rank: *rank, scaling: *scaling, lengths })
        })
    }
}
