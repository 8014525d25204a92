//! C = A B or C += A B on strided f32 matrices, single-threaded: the small products
//! of attention.
//!
//! The classic scheme (Goto and van de Geijn 2008): both operands are packed
//! into panels that stay in cache, and a register tile walks over them. Every
//! element of C is one chain of fused products over k in blocks of `DEPTH`,
//! whatever the shape around it.

use std::cell::RefCell;

use super::operands::{COLS, Operands, ROWS};
use super::pack::{gather, pack_left};
use super::tile::Tile;
use super::view::{Accumulate, Mat};

/// Depth of a packed block.
const DEPTH: usize = 640;
/// Rows of A packed at a time: ROW_BLOCK * DEPTH floats stay in the second-level cache.
const ROW_BLOCK: usize = 192;

struct Panels {
    left: Vec<f32>,
    right: Vec<f32>,
}

thread_local! {
    static PANELS: RefCell<Panels> = const {
        RefCell::new(Panels { left: Vec::new(), right: Vec::new() })
    };
}

/// Values that a thread keeps for packing.
pub const fn panel_values() -> usize {
    (ROW_BLOCK + COLS) * DEPTH
}

/// c [m, n] with rows of `stride` values; a [m, k]; b [k, n].
pub fn matmul(
    into: Accumulate,
    c: &mut [f32],
    stride: usize,
    (m, n, k): (usize, usize, usize),
    a: Mat,
    b: Mat,
) {
    if m == 0 || n == 0 || k == 0 {
        assert!(k > 0 || m == 0 || n == 0, "a product over nothing");
        return;
    }
    a.check(m, k);
    b.check(k, n);
    assert!(n <= stride && (m - 1) * stride + n <= c.len());
    PANELS.with_borrow_mut(|panels| {
        panels.left.resize(ROW_BLOCK * DEPTH, 0.0);
        panels.right.resize(COLS * DEPTH, 0.0);
        for top in (0..m).step_by(ROW_BLOCK) {
            let rows = ROW_BLOCK.min(m - top);
            for start in (0..k).step_by(DEPTH) {
                let depth = DEPTH.min(k - start);
                pack_left(a.from(top, start), rows, depth, &mut panels.left);
                let into = if start == 0 { into } else { Accumulate::Add };
                for side in (0..n).step_by(COLS) {
                    let cols = COLS.min(n - side);
                    gather::<f32, COLS>(b.from(start, side), depth, cols, &mut panels.right);
                    column(
                        into,
                        &mut c[top * stride + side..],
                        stride,
                        (rows, cols, depth),
                        panels,
                    );
                }
            }
        }
    });
}

/// One packed column panel against all packed row panels.
fn column(
    into: Accumulate,
    c: &mut [f32],
    stride: usize,
    (rows, cols, depth): (usize, usize, usize),
    panels: &Panels,
) {
    let right = &panels.right[..depth * COLS];
    for (index, left) in panels.left.chunks_exact(depth * ROWS).enumerate() {
        let top = index * ROWS;
        if top >= rows {
            break;
        }
        let tile = Tile { rows: ROWS.min(rows - top), cols, stride };
        let c = &mut c[top * stride..];
        assert!(c.len() >= (tile.rows - 1) * stride + cols);
        // SAFETY: c has room for the tile.
        unsafe { tile.run(into, &[Operands::packed(left, right)], c.as_mut_ptr()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(count: usize, seed: u32) -> Vec<f32> {
        let mut state = seed;
        (0..count)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 8) as f32 / (1 << 23) as f32 - 1.0
            })
            .collect()
    }

    /// All four transpositions, odd sizes, both modes, against sums in f64.
    #[test]
    fn products_match_sums_in_double_precision() {
        for (m, n, k) in [(1, 1, 1), (7, 33, 5), (200, 70, 800), (8, 32, 384), (13, 16, 385)] {
            let (a, b) = (values(m * k, 1), values(k * n, 2));
            for (ta, tb) in [(false, false), (true, false), (false, true), (true, true)] {
                let left = if ta { Mat::rows(&a, m).t() } else { Mat::rows(&a, k) };
                let right = if tb { Mat::rows(&b, k).t() } else { Mat::rows(&b, n) };
                let stride = n + 3;
                let mut c = vec![1f32; m * stride];
                matmul(Accumulate::Set, &mut c, stride, (m, n, k), left, right);
                matmul(Accumulate::Add, &mut c, stride, (m, n, k), left, right);
                for i in 0..m {
                    for j in 0..n {
                        let exact: f64 = (0..k)
                            .map(|p| {
                                f64::from(left.data[i * left.row + p * left.col])
                                    * f64::from(right.data[p * right.row + j * right.col])
                            })
                            .sum();
                        let found = f64::from(c[i * stride + j]);
                        assert!((found - 2.0 * exact).abs() < 1e-4, "{m} {n} {k} {i} {j}");
                    }
                    assert!(c[i * stride + n..(i + 1) * stride].iter().all(|x| *x == 1.0));
                }
            }
        }
    }

    /// A row's result has the same bits alone and among others.
    #[test]
    fn a_row_does_not_depend_on_its_neighbours() {
        let (m, n, k) = (37, 50, 500);
        let (a, b) = (values(m * k, 3), values(k * n, 4));
        let right = Mat::rows(&b, k).t();
        let mut all = vec![0f32; m * n];
        matmul(Accumulate::Set, &mut all, n, (m, n, k), Mat::rows(&a, k), right);
        for i in 0..m {
            let mut one = vec![0f32; n];
            let row = Mat::rows(&a[i * k..(i + 1) * k], k);
            matmul(Accumulate::Set, &mut one, n, (1, n, k), row, right);
            assert_eq!(one, all[i * n..(i + 1) * n]);
        }
    }
}
