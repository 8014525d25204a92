//! A frozen linear layer with an optional low-rank adapter. The frozen weight
//! never gets a gradient.

use rayon::prelude::*;

use super::adapter::LowRank;
use super::shape::{BLOCK, Dropout};
use host_kernels::low_rank::Narrow;
use host_kernels::packed_lhs::PackedLhs;
use host_kernels::product::{self, Product, Summand};
use host_kernels::right::Weight;
use host_kernels::softmax::{self, scale};
use host_kernels::view::{Accumulate, Mat};

/// y = x W^T + b + scaling (x A^T) B^T on rows of x, with every column but for b brought to a length if
/// there are magnitudes.
#[derive(Clone, Copy)]
pub(super) struct Projection<'a> {
    /// [out, input]
    pub weight: Weight<'a>,
    pub bias: Option<&'a [f32]>,
    pub input: usize,
    pub out: usize,
    pub low: Option<LowRank<'a>>,
}

/// A or B of an adapter, packed for the rows of a batch.
pub(super) struct Factor {
    narrow: Narrow,
    scaling: f32,
}

impl Factor {
    /// scaling * x times the factor.
    pub fn multiply(factor: &Option<Self>, x: &[f32], low: &mut [f32]) {
        if let Some(Self { narrow, scaling }) = factor {
            narrow.multiply(x, low);
            scale(low, *scaling);
        }
    }
}

impl<'a> Projection<'a> {
    /// For low [rows, rank] = scaling * x A^T.
    pub fn factor_a(&self) -> Option<Factor> {
        self.low.map(|adapter| Factor {
            narrow: Narrow::pack(Mat::rows(adapter.a, self.input).t(), self.input, adapter.rank),
            scaling: adapter.scaling,
        })
    }

    /// For dlow [rows, rank] = scaling * dy B.
    pub fn factor_b(&self) -> Option<Factor> {
        self.low.map(|adapter| Factor {
            narrow: Narrow::pack(Mat::rows(adapter.b, adapter.rank), self.out, adapter.rank),
            scaling: adapter.scaling,
        })
    }

    /// Sets or adds y [rows, out] from the packed rows of x and `low`; [`Projection::stretch`] comes behind it.
    pub fn forward<'p>(
        &self,
        into: Accumulate,
        x: &'p PackedLhs,
        low: &'p [f32],
        y: &'p mut [f32],
    ) -> Product<'p>
    where
        'a: 'p,
    {
        let mut summands = vec![Summand::Packed(x, self.weight.transposed(self.input))];
        summands.extend(self.low.map(|adapter| {
            let b = Mat::rows(adapter.b, adapter.rank).t();
            Summand::Rows(low, adapter.rank, b)
        }));
        // Rows that are brought to a length get the bias behind that.
        let bias = self.bias.filter(|_| self.low.is_none_or(|low| low.lengths.is_none()));
        Product { into, c: y, cols: self.out, bias, summands }
    }
}

/// Sets dx [rows, input] of projections that share their input, each with the packed rows
/// of its dy and its dlow: the sum of dy W + dlow A, the second part under the input's dropout.
pub(super) fn backward(
    sides: &[(&Projection, &PackedLhs, &[f32])],
    dropout: Option<Dropout>,
    dx: &mut [f32],
) {
    let cols = sides[0].0.input;
    let frozen = sides
        .iter()
        .map(|(projection, g, _)| Summand::Packed(g, projection.weight.right(projection.input, 0)));
    let adapters = sides.iter().filter_map(|(projection, _, dlow)| {
        let adapter = projection.low?;
        let a = Mat::rows(adapter.a, projection.input);
        Some(Summand::Rows(dlow, adapter.rank, a))
    });
    let set = |c: &mut [f32], summands: Vec<Summand>| {
        product::run(&mut [Product { into: Accumulate::Set, c, cols, bias: None, summands }]);
    };
    let Some(dropout) = dropout else {
        return set(dx, frozen.chain(adapters).collect());
    };
    set(dx, frozen.collect());
    let adapters: Vec<_> = adapters.collect();
    if !adapters.is_empty() {
        let mut through = vec![0f32; dx.len()];
        set(&mut through, adapters);
        dropout.rows(cols, &mut through);
        dx.par_chunks_mut(BLOCK * cols)
            .zip(through.par_chunks(BLOCK * cols))
            .for_each(|(dx, through)| softmax::add(dx, through));
    }
}
