//! The products of the adapter, which is narrow: its own values on the right, or a
//! sum over all rows of the batch.

use super::operands::{COLS, HALF, Operands, ROWS};
use super::pack::gather;
use super::tile::Tile;
use super::view::{Accumulate, Mat};

/// Rows of the batch that are summed at a time: a strip of them stays in cache.
const STRIP: usize = 256;

/// A narrow matrix [depth, cols] packed for many rows on its left.
pub struct Narrow {
    panels: Vec<f32>,
    depth: usize,
    cols: usize,
    /// Columns of a panel.
    width: usize,
}

impl Narrow {
    /// Packs b [depth, cols].
    ///
    /// # Panics
    /// If the view is outside its data.
    pub fn pack(b: Mat, depth: usize, cols: usize) -> Self {
        b.check(depth, cols);
        let width = if cols <= HALF { HALF } else { COLS };
        let mut panels = vec![0f32; cols.div_ceil(width) * depth * width];
        for (index, panel) in panels.chunks_exact_mut(depth * width).enumerate() {
            let (side, left) = (index * width, cols - index * width);
            match width {
                HALF => gather::<f32, HALF>(b.from(0, side), depth, left.min(HALF), panel),
                _ => gather::<f32, COLS>(b.from(0, side), depth, left.min(COLS), panel),
            }
        }
        Self { panels, depth, cols, width }
    }

    /// y [rows, cols] = x [rows, depth] times the matrix.
    pub fn multiply(&self, x: &[f32], y: &mut [f32]) {
        let (depth, cols, width) = (self.depth, self.cols, self.width);
        assert!(x.len() / depth == y.len() / cols && y.len().is_multiple_of(cols));
        let tiles = x.chunks(ROWS * depth).zip(y.chunks_mut(ROWS * cols));
        for (x, y) in tiles {
            for (index, panel) in self.panels.chunks_exact(depth * width).enumerate() {
                let side = index * width;
                let tile =
                    Tile { rows: x.len() / depth, cols: width.min(cols - side), stride: cols };
                let operands = Operands::rows(x, depth, 0, panel, width);
                // SAFETY: y holds the tile's rows of `cols` values.
                unsafe { tile.run(Accumulate::Set, &[operands], y[side..].as_mut_ptr()) };
            }
        }
    }
}

/// low^T x over the rows of both, for some columns of x:
/// low [rows, rank], x [rows, width], result [rank, columns].
pub fn sum_rows(
    (low, rank): (&[f32], usize),
    (x, width): (&[f32], usize),
    columns: std::ops::Range<usize>,
) -> Vec<f32> {
    let cols = columns.len();
    let mut sums = vec![0f32; rank * cols];
    let mut edge = Vec::new();
    let strips = low.chunks(STRIP * rank).zip(x.chunks(STRIP * width));
    for (low, x) in strips {
        for side in (0..cols).step_by(COLS) {
            let (first, count) = (columns.start + side, COLS.min(cols - side));
            let right = if count == COLS {
                (&x[first..], width)
            } else {
                // The last columns of every row, with room for a whole panel.
                edge.clear();
                for row in x.chunks_exact(width) {
                    edge.extend_from_slice(&row[first..first + count]);
                    edge.extend(std::iter::repeat_n(0.0, COLS - count));
                }
                (&edge[..], COLS)
            };
            for top in (0..rank).step_by(ROWS) {
                let tile = Tile { rows: ROWS.min(rank - top), cols: count, stride: cols };
                let operands = Operands::transposed((low, rank), (top, tile.rows), right);
                // SAFETY: the sums hold the tile's rows of `cols` values.
                unsafe {
                    tile.run(Accumulate::Add, &[operands], sums[top * cols + side..].as_mut_ptr());
                };
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(count: usize, step: f32) -> Vec<f32> {
        (0..count).map(|i| (i as f32 * step).sin()).collect()
    }

    #[test]
    fn narrow_products_match_sums_in_double_precision() {
        for (rows, depth, cols) in [(1, 1, 1), (19, 70, 5), (40, 33, 16), (9, 20, 50)] {
            let (x, b) = (values(rows * depth, 0.3), values(cols * depth, 0.7));
            let mut y = vec![0f32; rows * cols];
            Narrow::pack(Mat::rows(&b, depth).t(), depth, cols).multiply(&x, &mut y);
            for i in 0..rows {
                for j in 0..cols {
                    let terms = (0..depth)
                        .map(|p| f64::from(x[i * depth + p]) * f64::from(b[j * depth + p]));
                    assert!((f64::from(y[i * cols + j]) - terms.sum::<f64>()).abs() < 1e-4);
                }
            }
        }
    }

    #[test]
    fn sums_over_rows_match_sums_in_double_precision() {
        for (rows, rank, width) in [(1, 1, 1), (600, 4, 70), (300, 16, 96), (70, 20, 45)] {
            let (low, x) = (values(rows * rank, 0.3), values(rows * width, 0.7));
            let columns = width / 3..width;
            let found = sum_rows((&low, rank), (&x, width), columns.clone());
            for i in 0..rank {
                for (j, column) in columns.clone().enumerate() {
                    let terms = (0..rows)
                        .map(|p| f64::from(low[p * rank + i]) * f64::from(x[p * width + column]));
                    let gap = f64::from(found[i * columns.len() + j]) - terms.sum::<f64>();
                    assert!(gap.abs() < 1e-4, "{rows} {rank} {width}: {gap}");
                }
            }
        }
    }
}
