//! C = sum of A B, or C += it, over all rows of a batch, its columns split over the
//! threads.
//!
//! The left sides come packed, once for all columns. A thread packs a few panels of the
//! right sides and walks all rows with them, so a frozen weight is packed once per
//! product. Every element of C is one chain of sums over the depth, in blocks that
//! depend on the depth alone, so no split can change a bit of it.

use std::cell::RefCell;
use std::ops::Range;

use rayon::prelude::*;

use super::depth_block::{DEPTH, DepthBlock};
pub use super::depth_block::{PackedRows, Summand};
use super::operands::{COLS, ROWS, TALL};
use super::tall::Session;
use super::tile::Tile;
use super::view::Accumulate;

/// Panels of a piece of work.
const GROUP: usize = 3;
/// The same where the left sides are larger than the caches (in values): they come from memory
/// once for each piece.
const LARGE: usize = 2 << 20;
const LARGE_GROUP: usize = 9;
/// Rows of a piece of work, at least, where columns alone are too few for the threads.
const FEW: usize = 64;

/// Sets or adds to c [rows, cols] a sum of products and a bias [cols].
pub struct Product<'a> {
    /// Whether the sum replaces C or is added to it.
    pub into: Accumulate,
    /// C, row by row.
    pub c: &'a mut [f32],
    /// Columns of C.
    pub cols: usize,
    /// Added to every row of C.
    pub bias: Option<&'a [f32]>,
    /// Packed ones before others.
    pub summands: Vec<Summand<'a>>,
}

/// C, of which every thread writes other elements.
#[derive(Clone, Copy)]
struct Shared(*mut f32);

// SAFETY: the pieces of work are disjoint parts of C.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Product<'_> {
    fn rows(&self) -> usize {
        self.c.len() / self.cols
    }

    /// Rows of a tile.
    fn height(&self) -> usize {
        if self.summands.iter().any(Summand::is_tall) { TALL } else { ROWS }
    }

    /// Columns of a piece of work: as many pieces for every thread, of a few panels each.
    fn width(&self, threads: usize) -> usize {
        let depth: usize = self.summands.iter().map(Summand::depth).sum();
        let group = if depth * self.rows() > LARGE { LARGE_GROUP } else { GROUP };
        let panels = self.cols.div_ceil(COLS);
        let pieces = panels.div_ceil(group * threads) * threads;
        panels.div_ceil(pieces) * COLS
    }

    fn check(&self, rows: usize) {
        assert!(rows * self.cols == self.c.len() && !self.summands.is_empty());
        for summand in &self.summands {
            assert!(summand.depth() > 0);
            match summand {
                Summand::Packed(left, right) => {
                    assert!(left.rows == rows);
                    right.check(left.depth, self.cols);
                }
                Summand::Panels(left, part, right) => {
                    assert!(part.count == rows && part.panel * ROWS + rows <= left.rows);
                    right.check(left.depth, self.cols);
                }
                Summand::Rows(left, depth, right) => {
                    assert!(left.len() == rows * depth);
                    right.check(*depth, self.cols);
                }
            }
        }
    }
}

/// Computes products together; each has its own number of rows.
pub fn run(products: &mut [Product]) {
    let threads = rayon::current_num_threads();
    let mut groups = Vec::new();
    for product in products {
        let rows = product.rows();
        if rows == 0 {
            continue;
        }
        product.check(rows);
        let c = Shared(product.c.as_mut_ptr());
        let product = &*product;
        let width = product.width(threads);
        for side in (0..product.cols).step_by(width) {
            groups.push((c, product, side..product.cols.min(side + width), rows));
        }
    }
    if groups.is_empty() {
        return;
    }
    let parts = (2 * threads).div_ceil(groups.len());
    let mut work = Vec::new();
    for (c, product, cols, rows) in groups {
        let height = rows.div_ceil(parts.min(rows.div_ceil(FEW)));
        let height = height.next_multiple_of(product.height());
        for top in (0..rows).step_by(height) {
            work.push((c, product, cols.clone(), top..rows.min(top + height)));
        }
    }
    work.into_par_iter().for_each(|(c, product, cols, rows)| {
        // SAFETY: no other piece of work has these rows and columns, and the
        // product's own borrow of C is not used meanwhile.
        unsafe { group(product, c.0, cols, rows) };
    });
}

/// Values that a thread keeps for packing.
pub const fn panel_values() -> usize {
    // Those of one panel as floats, before they are halved.
    (LARGE_GROUP + 1) * DEPTH * COLS
}

thread_local! {
    static DEPTH_BLOCK: RefCell<DepthBlock> = RefCell::default();
}

/// Some rows of some panels of columns.
///
/// # Safety
/// Nothing else uses these elements of c.
unsafe fn group(product: &Product, c: *mut f32, cols: Range<usize>, rows: Range<usize>) {
    let height = product.height();
    let _session = (height == TALL).then(Session::begin);
    DEPTH_BLOCK.with_borrow_mut(|block| {
        let summands = &product.summands[..];
        let (mut into, mut at) = (product.into, (0, 0));
        while at.0 < summands.len() {
            at = block.pack(summands, at, &cols);
            // The rows of a tile stay in the first-level cache for all panels.
            for top in rows.clone().step_by(height) {
                for (index, side) in cols.clone().step_by(COLS).enumerate() {
                    let tile = Tile {
                        rows: height.min(rows.end - top),
                        cols: COLS.min(cols.end - side),
                        stride: product.cols,
                    };
                    // SAFETY: inside C, as `run` checked; the caller gave the elements.
                    unsafe {
                        let c = c.add(top * product.cols + side);
                        if height == TALL {
                            block.run_tall(summands, into, &tile, (top, index), c);
                        } else {
                            block.run(summands, into, &tile, (top, index), c);
                        }
                    }
                }
            }
            into = Accumulate::Add;
        }
        if let Some(bias) = product.bias {
            for row in rows {
                // SAFETY: as above.
                let c = unsafe {
                    let first = c.add(row * product.cols + cols.start);
                    std::slice::from_raw_parts_mut(first, cols.len())
                };
                c.iter_mut().zip(&bias[cols.start..]).for_each(|(c, b)| *c += b);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use half::bf16;

    use super::*;
    use crate::bfloat::{Multiplied, multiplied};
    use crate::packed_lhs::PackedLhs;
    use crate::right::Right;
    use crate::view::Mat;

    fn values(count: usize, step: f32) -> Vec<f32> {
        (0..count).map(|i| (i as f32 * step).sin()).collect()
    }

    /// f32 as it is and in halves, and every way to multiply bf16 that runs here.
    fn ways() -> impl Iterator<Item = Option<Multiplied>> {
        let bf16 = [Multiplied::Floats, Multiplied::Tall, multiplied()].map(Some);
        FLOATS.into_iter().chain(bf16)
    }

    const FLOATS: [Option<Multiplied>; 2] = [None, Some(Multiplied::Halves)];

    fn left(way: Option<Multiplied>, x: &[f32], rows: usize) -> PackedLhs {
        let depth = x.len() / rows;
        let mut left = PackedLhs::default();
        // What was there before is nothing that a sum may meet.
        for old in [f32::NAN, 0.0] {
            let rows = if old.is_nan() { rows + 40 } else { rows };
            let old = vec![old; 16 * depth];
            let mut blocks = left.shape_to(way, rows, depth).blocks(16);
            for top in (0..rows).step_by(16) {
                let rows = 16.min(rows - top);
                let x = if old[0].is_nan() { &old } else { &x[top * depth..] };
                blocks.next_block().pack(x, rows, depth);
            }
        }
        left
    }

    /// A sum of a product in blocks, a transposed one and a low-rank one, with a bias,
    /// against sums in f64; in bf16 against sums of what was rounded to it.
    #[test]
    fn sums_of_products_match_sums_in_double_precision() {
        for (rows, cols, deep, other) in [(1, 1, 1, 1), (37, 70, 2311, 9), (8, 32, 64, 16)] {
            let rank = 5;
            let (x, w) = (values(rows * deep, 0.37), values(cols * deep, 0.11));
            let (y, v) = (values(rows * other, 0.23), values(other * cols, 0.71));
            let (low, b) = (values(rows * rank, 0.5), values(cols * rank, 0.3));
            let bias = values(cols, 0.9);
            for format in ways() {
                let narrow = |values: &[f32]| -> Vec<bf16> {
                    values.iter().map(|x| bf16::from_f32(*x)).collect()
                };
                let (w16, v16) = (narrow(&w), narrow(&v));
                let is_f32 = FLOATS.contains(&format);
                let (transposed, straight) = if is_f32 {
                    (Right::F32(Mat::rows(&w, deep).t()), Right::F32(Mat::rows(&v, cols)))
                } else {
                    (Right::Bf16(Mat::rows(&w16, deep).t()), Right::Bf16(Mat::rows(&v16, cols)))
                };
                let (packed_x, packed_y) = (left(format, &x, rows), left(format, &y, rows));
                let mut c = vec![1f32; rows * cols];
                run(&mut [Product {
                    into: Accumulate::Add,
                    c: &mut c,
                    cols,
                    bias: Some(&bias),
                    summands: vec![
                        Summand::Packed(&packed_x, transposed),
                        Summand::Packed(&packed_y, straight),
                        Summand::Rows(&low, rank, Mat::rows(&b, rank).t()),
                    ],
                }]);
                let held = |x: f32| if is_f32 { x } else { bf16::from_f32(x).to_f32() };
                let held = |x: f32| f64::from(held(x));
                // Of the sum of the terms' sizes; halves leave out the product of the lower ones.
                let bound = if format == Some(Multiplied::Halves) { 3e-6 } else { 2e-7 };
                for i in 0..rows {
                    for j in 0..cols {
                        let long = (0..deep).map(|p| held(x[i * deep + p]) * held(w[j * deep + p]));
                        let short =
                            (0..other).map(|p| held(y[i * other + p]) * held(v[p * cols + j]));
                        let narrow = (0..rank)
                            .map(|p| f64::from(low[i * rank + p]) * f64::from(b[j * rank + p]));
                        let terms = long.chain(short).chain(narrow);
                        let terms = terms.chain([1.0, f64::from(bias[j])]);
                        let (exact, size) =
                            terms.fold((0.0, 0.0), |(sum, size), x| (sum + x, size + x.abs()));
                        let gap = (f64::from(c[i * cols + j]) - exact).abs() / size;
                        assert!(gap < bound, "{format:?} {rows} {cols} {i} {j}: {gap}");
                    }
                }
            }
        }
    }

    /// Some panels of packed rows, products of different heights together: the bits of each alone.
    #[test]
    fn parts_of_packed_rows_are_multiplied_as_they_are_alone() {
        let (rows, cols, deep) = (37, 70, 130);
        let (x, w) = (values(rows * deep, 0.37), values(2 * cols * deep, 0.11));
        let narrow: Vec<bf16> = w.iter().map(|x| bf16::from_f32(*x)).collect();
        for way in ways() {
            let packed = left(way, &x, rows);
            let right = |first: usize| {
                let first = first * cols * deep;
                if FLOATS.contains(&way) {
                    Right::F32(Mat::rows(&w[first..], deep).t())
                } else {
                    Right::Bf16(Mat::rows(&narrow[first..], deep).t())
                }
            };
            let spans = [(0, 1, 5), (1, 0, 16), (3, 1, 13)];
            let mut found: Vec<Vec<f32>> =
                spans.iter().map(|(_, _, count)| vec![0f32; count * cols]).collect();
            let mut products: Vec<Product> = found
                .iter_mut()
                .zip(spans)
                .map(|(c, (panel, weight, count))| Product {
                    into: Accumulate::Set,
                    c,
                    cols,
                    bias: None,
                    summands: vec![Summand::Panels(
                        &packed,
                        PackedRows { panel, count },
                        right(weight),
                    )],
                })
                .collect();
            run(&mut products);
            for ((panel, weight, count), found) in spans.into_iter().zip(found) {
                let first = panel * ROWS * deep;
                let alone = left(way, &x[first..first + count * deep], count);
                let mut c = vec![0f32; count * cols];
                run(&mut [Product {
                    into: Accumulate::Set,
                    c: &mut c,
                    cols,
                    bias: None,
                    summands: vec![Summand::Packed(&alone, right(weight))],
                }]);
                assert_eq!(found, c);
            }
        }
        run(&mut []);
    }

    /// Rows alone, rows among others, one thread and several: the same bits.
    #[test]
    fn no_split_changes_a_bit() {
        let (rows, cols, deep) = (203, 70, 500);
        let (mut x, w) = (values(rows * deep, 0.37), values(cols * deep, 0.11));
        // A row that is broken breaks no other one.
        x[101 * deep..102 * deep].fill(f32::NAN);
        let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        let narrow: Vec<bf16> = w.iter().map(|x| bf16::from_f32(*x)).collect();
        for format in ways() {
            let right = if FLOATS.contains(&format) {
                Right::F32(Mat::rows(&w, deep).t())
            } else {
                Right::Bf16(Mat::rows(&narrow, deep).t())
            };
            let product = |x: &[f32], threads: usize| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
                pool.build().expect("threads").install(|| {
                    let rows = x.len() / deep;
                    let mut c = vec![0f32; rows * cols];
                    let packed = left(format, x, rows);
                    run(&mut [Product {
                        into: Accumulate::Set,
                        c: &mut c,
                        cols,
                        bias: None,
                        summands: vec![Summand::Packed(&packed, right)],
                    }]);
                    bits(&c)
                })
            };
            let all = product(&x, 1);
            assert_eq!(all, product(&x, 3));
            assert_eq!(all, product(&x, 16));
            for i in [0, 7, 100, 202] {
                let alone = product(&x[i * deep..(i + 1) * deep], 2);
                assert_eq!(alone, all[i * cols..(i + 1) * cols]);
            }
        }
    }
}
