//! Row lengths of adapted weights (DoRA, arXiv 2402.09353).
//!
//! ```text
//! gain = m / n,  n^2 = |W + s B A|^2 = |W|^2 + 2 s B (A W^T) + s^2 B (A A^T) B^T, of every row
//! ```
//!
//! Nothing as large as W is formed: A W^T costs as much as `rank` rows of a batch, once per pass.

use std::sync::OnceLock;

use host_kernels::pool::on_pool;
use host_kernels::{skinny, softmax};
use rayon::prelude::*;

use super::adapter::{Factors, Flat, LayerAdapter, Lengths, LowRank};
use super::projection::Projection;
use crate::config::Target;
use crate::error::Result;
use crate::pass::Gains;
use crate::slices::MatrixValues;
use crate::weights::LayerWeights;

/// Columns in a piece of work.
const STRIPE: usize = 128;

/// The squared length of every row of every projection, computed when an adapter with magnitudes
/// first needs them.
#[derive(Default)]
pub(super) struct SquareLengths(OnceLock<Vec<[Vec<f64>; 7]>>);

impl SquareLengths {
    fn of(&self, layers: &[LayerWeights]) -> Result<&[[Vec<f64>; 7]]> {
        if let Some(known) = self.0.get() {
            return Ok(known);
        }
        let of = |layer: &LayerWeights| -> Result<[Vec<f64>; 7]> {
            let mut row: [Vec<f64>; 7] = Default::default();
            for (target, squares) in Target::ALL.into_iter().zip(&mut row) {
                if let Some(linear) = layer.linear(target) {
                    *squares = linear.weight.square_lengths()?;
                }
            }
            Ok(row)
        };
        let found = layers.par_iter().map(of).collect::<Result<_>>()?;
        Ok(self.0.get_or_init(|| found))
    }
}

/// Adapter values for the layers of one pass.
pub(super) enum Source<'a> {
    /// From the variables: no gradient.
    Factors(Factors<'a>),
    /// From the flat vector of a graph.
    Flat(&'a Flat, &'a [f32]),
}

impl Source<'_> {
    fn layer(&self, layer: usize) -> LayerAdapter<'_> {
        match self {
            Self::Factors(factors) => factors.layer(layer),
            Self::Flat(flat, values) => flat.layer(values, layer),
        }
    }

    /// The values with the gains, where there are magnitudes.
    pub fn with<'a>(&'a self, gains: &'a Gains, layer: usize) -> LayerAdapter<'a> {
        let mut row = self.layer(layer);
        if let Some(gains) = gains.0.get(layer) {
            for (low, gain) in row.iter_mut().zip(gains) {
                let lengths = low.as_mut().and_then(|low| low.lengths.as_mut());
                lengths.into_iter().for_each(|lengths| lengths.gain = gain);
            }
        }
        row
    }

    /// What the rows of the first `count` of a model's layers are brought to their lengths with.
    pub fn gains(
        &self,
        (layers, squares): (&[LayerWeights], &SquareLengths),
        count: usize,
    ) -> Result<Gains> {
        let mut work = Vec::new();
        for (index, weights) in layers.iter().enumerate().take(count) {
            for (target, low) in Target::ALL.into_iter().zip(self.layer(index)) {
                let Some(low) = low else { continue };
                if let (Some(lengths), Some(linear)) = (low.lengths, weights.linear(target)) {
                    work.push((index, target, low, lengths, &linear.weight));
                }
            }
        }
        if work.is_empty() {
            return Ok(Gains::default());
        }
        let squares = squares.of(layers)?;
        let found = on_pool(|| {
            let found = work.into_par_iter().map(|(index, target, low, lengths, weight)| {
                let values = MatrixValues::of(weight)?;
                let of_weight = &squares[index][target as usize];
                let gain = gain(&values, of_weight, &low, lengths.magnitude);
                Ok((index, target, gain))
            });
            found.collect::<Result<Vec<_>>>()
        })?;
        let mut gains: Vec<[Vec<f32>; 7]> = (0..count).map(|_| Default::default()).collect();
        for (index, target, gain) in found {
            gains[index][target as usize] = gain;
        }
        Ok(Gains(gains))
    }
}

/// m / n of every row; 0 for rows that are zero.
fn gain(weight: &MatrixValues, squares: &[f64], low: &LowRank, magnitude: &[f32]) -> Vec<f32> {
    let (rank, out) = (low.rank, magnitude.len());
    let input = low.a.len() / rank;
    let mut cross = vec![0f32; rank * out];
    skinny::matmul(low.a, input, weight.weight(), &mut cross, out);
    let rows: Vec<&[f32]> = low.a.chunks_exact(input).collect();
    let dot = |x: &[f32], y: &[f32]| -> f64 {
        x.iter().zip(y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
    };
    let gram: Vec<f64> = rows.iter().flat_map(|x| rows.iter().map(|y| dot(x, y))).collect();
    let scaling = f64::from(low.scaling);
    let lines = low.b.chunks_exact(rank).zip(squares).zip(magnitude).enumerate();
    lines
        .map(|(row, ((b, square), magnitude))| {
            let (mut along, mut own) = (0.0, 0.0);
            for (i, x) in b.iter().enumerate() {
                let x = f64::from(*x);
                along += x * f64::from(cross[i * out + row]);
                let products = b.iter().zip(&gram[i * rank..]);
                own += x * products.map(|(y, shared)| f64::from(*y) * shared).sum::<f64>();
            }
            let length = (square + scaling * (2.0 * along + scaling * own)).max(0.0).sqrt() as f32;
            if length > 0.0 { magnitude / length } else { 0.0 }
        })
        .collect()
}

impl Projection<'_> {
    fn lengths(&self) -> Option<Lengths<'_>> {
        self.low.and_then(|low| low.lengths)
    }

    /// Brings rows y [rows, out] of W x + scaling B A x to their lengths, and adds the bias.
    pub fn stretch(&self, y: &mut [f32]) {
        let Some(lengths) = self.lengths() else { return };
        y.par_chunks_mut(self.out).for_each(|y| {
            y.iter_mut().zip(lengths.gain).for_each(|(y, gain)| *y *= gain);
            if let Some(bias) = self.bias {
                softmax::add(y, bias);
            }
        });
    }

    /// The gradient of W x + scaling B A x from that of the output, in place.
    pub fn stretch_back(&self, g: &mut [f32]) {
        let Some(lengths) = self.lengths() else { return };
        g.par_chunks_mut(self.out).for_each(|g| {
            g.iter_mut().zip(lengths.gain).for_each(|(g, gain)| *g *= gain);
        });
    }

    /// dm [out] from the output y [rows, out] and what [`Projection::stretch_back`] left in g, as work for the threads.
    pub fn magnitude_gradient(&self, y: &[f32], g: &[f32], into: &mut [f32]) {
        into.par_chunks_mut(STRIPE).enumerate().for_each(|(stripe, into)| {
            let first = stripe * STRIPE;
            into.copy_from_slice(&self.of_columns(y, g, first..first + into.len()));
        });
    }

    /// dm of some columns, from the output y [rows, out] and what [`Projection::stretch_back`] left in g:
    /// y - bias = gain z and g = gain dy, so that the sum of dy z / n is that of g (y - bias) / (gain m).
    fn of_columns(&self, y: &[f32], g: &[f32], columns: std::ops::Range<usize>) -> Vec<f32> {
        let Some(lengths) = self.lengths() else {
            return Vec::new();
        };
        let bias = self.bias.map(|bias| &bias[columns.clone()]);
        let mut sums = vec![0f64; columns.len()];
        for (y, g) in y.chunks_exact(self.out).zip(g.chunks_exact(self.out)) {
            let sides = y[columns.clone()].iter().zip(&g[columns.clone()]);
            for (at, (sum, (y, g))) in sums.iter_mut().zip(sides).enumerate() {
                *sum += f64::from(*g) * f64::from(y - bias.map_or(0.0, |bias| bias[at]));
            }
        }
        let of = |(sum, column): (f64, usize)| {
            match f64::from(lengths.gain[column]) * f64::from(lengths.magnitude[column]) {
                // A row that is zero stays so.
                0.0 => 0.0,
                divisor => (sum / divisor) as f32,
            }
        };
        sums.into_iter().zip(columns).map(of).collect()
    }
}
