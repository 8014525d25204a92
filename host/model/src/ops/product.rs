//! C = sum of A B, or C += it, over all rows of a batch, its columns split over the
//! threads.
//!
//! The left sides come packed, once for all columns. A thread packs a panel of the
//! right sides and walks all rows with it, so a frozen weight is packed once per
//! product. Every element of C is one chain of sums over the depth, in rounds that
//! depend on the depth alone, so no split can change a bit of it.

use std::cell::RefCell;

use rayon::prelude::*;

use super::kernel::{COLS, Piece, ROWS, Tile};
use super::left::{Left, Panel};
use super::matmul::{Into, Mat};
use super::pack::Word;
use super::right::Right;

/// Depth of a round: this much of a panel stays in the second-level cache.
const DEPTH: usize = 2048;
/// Pieces of a round at most.
const PIECES: usize = 8;
/// Rows of a piece of work, at least, where columns alone are too few for the threads.
const FEW: usize = 64;

/// One product of a sum.
#[derive(Clone, Copy)]
pub(crate) enum Term<'a> {
    Packed(&'a Left, Right<'a>),
    /// Rows of `depth` values as they lie, times a matrix in f32.
    Rows(&'a [f32], usize, Mat<'a>),
}

impl Term<'_> {
    fn depth(&self) -> usize {
        match self {
            Self::Packed(left, _) => left.depth,
            Self::Rows(_, depth, _) => *depth,
        }
    }
}

/// Sets or adds to c [rows, cols] a sum of products and a bias [cols].
pub(crate) struct Product<'a> {
    pub into: Into,
    pub c: &'a mut [f32],
    pub cols: usize,
    pub bias: Option<&'a [f32]>,
    /// Packed ones before others.
    pub terms: Vec<Term<'a>>,
}

/// C, of which every thread writes other elements.
#[derive(Clone, Copy)]
struct Shared(*mut f32);

// SAFETY: the pieces of work are disjoint parts of C.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

/// Computes products over the same rows together.
pub(crate) fn run(products: &mut [Product]) {
    let mut sides = 0;
    let mut rows = 0;
    for product in products.iter() {
        rows = product.c.len() / product.cols;
        assert!(rows * product.cols == product.c.len() && !product.terms.is_empty());
        for term in &product.terms {
            assert!(term.depth() > 0);
            match term {
                Term::Packed(left, right) => {
                    assert!(left.rows == rows);
                    right.check(left.depth, product.cols);
                }
                Term::Rows(left, depth, right) => {
                    assert!(left.len() == rows * depth);
                    right.check(*depth, product.cols);
                }
            }
        }
        sides += product.cols.div_ceil(COLS);
    }
    if rows == 0 || sides == 0 {
        return;
    }
    let threads = rayon::current_num_threads();
    let parts = (4 * threads).div_ceil(sides).min(rows.div_ceil(FEW));
    let height = rows.div_ceil(parts).next_multiple_of(ROWS);
    let mut work = Vec::with_capacity(sides * parts);
    for product in products {
        let c = Shared(product.c.as_mut_ptr());
        let product = &*product;
        for side in (0..product.cols).step_by(COLS) {
            for top in (0..rows).step_by(height) {
                work.push((c, product, side, top..rows.min(top + height)));
            }
        }
    }
    work.into_par_iter().for_each(|(c, product, side, rows)| {
        let cols = COLS.min(product.cols - side);
        // SAFETY: no other piece of work has these rows and columns, and the
        // product's own borrow of C is not used meanwhile.
        unsafe { panel(product, c.0, (side, cols), rows) };
    });
}

/// Where the packed right sides of a round lie, and what they are multiplied with.
#[derive(Clone, Copy)]
struct Part {
    term: usize,
    start: usize,
    depth: usize,
    /// In the floats, or in the words for pairs.
    at: usize,
}

#[derive(Default)]
struct Buffers {
    floats: Packed<f32>,
    words: Packed<u32>,
    parts: Vec<Part>,
}

/// Values that stay when a round is over, so that no round clears what it will write.
#[derive(Default)]
struct Packed<T> {
    values: Vec<T>,
    used: usize,
}

impl<T: Word> Packed<T> {
    /// The next `count` values, whatever they hold, and where they begin.
    fn take(&mut self, count: usize) -> (usize, &mut [T]) {
        let at = self.used;
        self.used += count;
        if self.values.len() < self.used {
            self.values.resize(self.used, T::default());
        }
        (at, &mut self.values[at..self.used])
    }
}

/// Values that a thread keeps for packing.
pub(crate) const fn panel_values() -> usize {
    DEPTH * COLS
}

thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::default();
}

/// Some rows of a panel of columns.
///
/// # Safety
/// Nothing else uses these elements of c.
unsafe fn panel(
    product: &Product,
    c: *mut f32,
    (side, cols): (usize, usize),
    rows: std::ops::Range<usize>,
) {
    BUFFERS.with_borrow_mut(|buffers| {
        let mut into = product.into;
        let (mut term, mut start) = (0, 0);
        while term < product.terms.len() {
            buffers.start();
            let mut room = DEPTH;
            while room > 0 && term < product.terms.len() && buffers.parts.len() < PIECES {
                let rest = product.terms[term].depth() - start;
                // A cut is at an even place, between pairs.
                let depth = if rest <= room { rest } else { room & !1 };
                if depth == 0 {
                    break;
                }
                buffers.pack(product, term, (start, depth), (side, cols));
                room -= depth;
                start += depth;
                if start == product.terms[term].depth() {
                    (term, start) = (term + 1, 0);
                }
            }
            for top in rows.clone().step_by(ROWS) {
                let tile = Tile {
                    rows: ROWS.min(rows.end - top),
                    cols,
                    stride: product.cols,
                };
                let mut pieces = [Piece::Pairs {
                    left: &[],
                    right: &[],
                }; PIECES];
                for (piece, part) in pieces.iter_mut().zip(&buffers.parts) {
                    *piece = buffers.piece(product, part, top, tile.rows);
                }
                // SAFETY: inside C, as `run` checked; the caller gave the elements.
                unsafe {
                    let c = c.add(top * product.cols + side);
                    tile.run(into, &pieces[..buffers.parts.len()], c);
                }
            }
            into = Into::Add;
        }
        if let Some(bias) = product.bias {
            for row in rows {
                // SAFETY: as above.
                let c = unsafe {
                    std::slice::from_raw_parts_mut(c.add(row * product.cols + side), cols)
                };
                c.iter_mut().zip(&bias[side..]).for_each(|(c, b)| *c += b);
            }
        }
    });
}

impl Buffers {
    fn start(&mut self) {
        self.floats.used = 0;
        self.words.used = 0;
        self.parts.clear();
    }

    /// Packs one part of a round.
    fn pack(
        &mut self,
        product: &Product,
        term: usize,
        (start, depth): (usize, usize),
        (side, cols): (usize, usize),
    ) {
        let (right, pairs) = match product.terms[term] {
            Term::Packed(left, right) => (right, left.is_pairs()),
            Term::Rows(_, _, right) => (Right::F32(right), false),
        };
        let at = if pairs {
            let (at, panel) = self.words.take(depth.div_ceil(2) * COLS);
            right.pairs((start, depth), (side, cols), panel);
            at
        } else {
            let (at, panel) = self.floats.take(depth * COLS);
            right.floats((start, depth), (side, cols), panel);
            at
        };
        self.parts.push(Part {
            term,
            start,
            depth,
            at,
        });
    }

    fn piece<'a>(
        &'a self,
        product: &'a Product,
        part: &Part,
        top: usize,
        rows: usize,
    ) -> Piece<'a> {
        let Part {
            start, depth, at, ..
        } = *part;
        match product.terms[part.term] {
            Term::Packed(left, _) => match left.panel(top / ROWS) {
                Panel::F32(panel) => Piece::packed(
                    &panel[start * ROWS..(start + depth) * ROWS],
                    &self.floats.values[at..at + depth * COLS],
                ),
                Panel::Pairs(panel) => {
                    let (start, depth) = (start / 2, depth.div_ceil(2));
                    Piece::pairs(
                        &panel[start * ROWS..(start + depth) * ROWS],
                        &self.words.values[at..at + depth * COLS],
                    )
                }
            },
            Term::Rows(left, stride, _) => {
                let left = &left[top * stride..(top + rows) * stride];
                let right = &self.floats.values[at..at + depth * COLS];
                Piece::rows(left, stride, start, right, COLS)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use half::bf16;

    use super::super::left::Format;
    use super::*;

    fn values(count: usize, step: f32) -> Vec<f32> {
        (0..count).map(|i| (i as f32 * step).sin()).collect()
    }

    fn left(format: Format, x: &[f32], rows: usize) -> Left {
        let depth = x.len() / rows;
        let mut left = Left::default();
        let mut blocks = left.shape(format, rows, depth).blocks(16);
        for x in x.chunks(16 * depth) {
            blocks.next().pack(x, x.len() / depth, depth);
        }
        left
    }

    /// A sum of a product in rounds, a turned one and a low-rank one, with a bias,
    /// against sums in f64; in bf16 against sums of what was rounded to it.
    #[test]
    fn sums_of_products_match_sums_in_double_precision() {
        for (rows, cols, deep, other) in [(1, 1, 1, 1), (37, 70, 2311, 9), (8, 32, 64, 16)] {
            let rank = 5;
            let (x, w) = (values(rows * deep, 0.37), values(cols * deep, 0.11));
            let (y, v) = (values(rows * other, 0.23), values(other * cols, 0.71));
            let (low, b) = (values(rows * rank, 0.5), values(cols * rank, 0.3));
            let bias = values(cols, 0.9);
            for format in [Format::F32, Format::Bf16] {
                let narrow = |values: &[f32]| -> Vec<bf16> {
                    values.iter().map(|x| bf16::from_f32(*x)).collect()
                };
                let (w16, v16) = (narrow(&w), narrow(&v));
                let (turned, straight) = match format {
                    Format::F32 => (
                        Right::F32(Mat::rows(&w, deep).t()),
                        Right::F32(Mat::rows(&v, cols)),
                    ),
                    Format::Bf16 => (
                        Right::Bf16(Mat::rows(&w16, deep).t()),
                        Right::Bf16(Mat::rows(&v16, cols)),
                    ),
                };
                let (packed_x, packed_y) = (left(format, &x, rows), left(format, &y, rows));
                let mut c = vec![1f32; rows * cols];
                run(&mut [Product {
                    into: Into::Add,
                    c: &mut c,
                    cols,
                    bias: Some(&bias),
                    terms: vec![
                        Term::Packed(&packed_x, turned),
                        Term::Packed(&packed_y, straight),
                        Term::Rows(&low, rank, Mat::rows(&b, rank).t()),
                    ],
                }]);
                let held = |x: f32| match format {
                    Format::F32 => f64::from(x),
                    Format::Bf16 => bf16::from_f32(x).to_f64(),
                };
                for i in 0..rows {
                    for j in 0..cols {
                        let mut exact = 1.0 + f64::from(bias[j]);
                        for p in 0..deep {
                            exact += held(x[i * deep + p]) * held(w[j * deep + p]);
                        }
                        for p in 0..other {
                            exact += held(y[i * other + p]) * held(v[p * cols + j]);
                        }
                        for p in 0..rank {
                            exact += f64::from(low[i * rank + p]) * f64::from(b[j * rank + p]);
                        }
                        let gap = (f64::from(c[i * cols + j]) - exact).abs();
                        assert!(gap < 1e-3, "{format:?} {rows} {cols} {i} {j}: {gap}");
                    }
                }
            }
        }
    }

    /// Rows alone, rows among others, one thread and several: the same bits.
    #[test]
    fn no_split_changes_a_bit() {
        let (rows, cols, deep) = (203, 70, 500);
        let (x, w) = (values(rows * deep, 0.37), values(cols * deep, 0.11));
        let narrow: Vec<bf16> = w.iter().map(|x| bf16::from_f32(*x)).collect();
        for format in [Format::F32, Format::Bf16] {
            let right = match format {
                Format::F32 => Right::F32(Mat::rows(&w, deep).t()),
                Format::Bf16 => Right::Bf16(Mat::rows(&narrow, deep).t()),
            };
            let product = |x: &[f32], threads: usize| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
                pool.build().expect("threads").install(|| {
                    let rows = x.len() / deep;
                    let mut c = vec![0f32; rows * cols];
                    let packed = left(format, x, rows);
                    run(&mut [Product {
                        into: Into::Set,
                        c: &mut c,
                        cols,
                        bias: None,
                        terms: vec![Term::Packed(&packed, right)],
                    }]);
                    c
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
