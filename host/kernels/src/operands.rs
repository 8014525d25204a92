//! Operands of the register tile: packed panels, or values read in place.

use std::marker::PhantomData;

/// Rows of a tile: sixteen 512-bit accumulators with COLS = 32.
pub const ROWS: usize = 8;
pub const COLS: usize = 32;
/// Columns of the narrow tile, for adapters of low rank.
pub const HALF: usize = COLS / 2;

/// Rows of a matrix register, and pairs along the depth that it holds of each.
pub const SIDE: usize = 16;
/// Rows of the tall tile, which is computed in matrix registers.
pub const TALL: usize = 2 * SIDE;

/// The two sides of a product over some depth.
#[derive(Clone, Copy)]
pub enum Operands<'a> {
    F32(Strided<'a>),
    /// Packed pairs of bf16: depth / 2 x ROWS and depth / 2 x COLS.
    Pairs {
        left: &'a [u32],
        right: &'a [u32],
    },
}

/// Row i of the left side at step p is left[i][p * left_step]; the right side at step
/// p is `width` floats from right[p * right_step].
#[derive(Clone, Copy)]
pub struct Strided<'a> {
    pub left: [*const f32; ROWS],
    pub left_step: usize,
    pub right: *const f32,
    pub right_step: usize,
    pub width: usize,
    pub depth: usize,
    borrowed: PhantomData<&'a [f32]>,
}

impl<'a> Operands<'a> {
    /// Both packed: depth x ROWS and depth x COLS.
    pub fn packed(left: &'a [f32], right: &'a [f32]) -> Self {
        let depth = left.len() / ROWS;
        assert!(depth > 0 && left.len() == depth * ROWS && right.len() == depth * COLS);
        Self::F32(Strided {
            left: std::array::from_fn(|i| left[i..].as_ptr()),
            left_step: ROWS,
            right: right.as_ptr(),
            right_step: COLS,
            width: COLS,
            depth,
            borrowed: PhantomData,
        })
    }

    /// `left` holds up to ROWS rows of `stride` values, of which those from `start` on
    /// count; missing rows repeat the last one. `right` is packed, `width` columns.
    pub fn rows(
        left: &'a [f32],
        stride: usize,
        start: usize,
        right: &'a [f32],
        width: usize,
    ) -> Self {
        let (rows, depth) = (left.len() / stride, right.len() / width);
        assert!(rows > 0 && depth > 0 && start + depth <= stride && right.len() == depth * width);
        Self::F32(Strided {
            left: std::array::from_fn(|i| left[i.min(rows - 1) * stride + start..].as_ptr()),
            left_step: 1,
            right: right.as_ptr(),
            right_step: width,
            width,
            depth,
            borrowed: PhantomData,
        })
    }

    /// Columns first..first + rows of the left matrix, transposed, times COLS columns of
    /// the right one from its start on. Both lie row by row, as many rows as deep.
    pub fn transposed(
        (left, left_step): (&'a [f32], usize),
        (first, rows): (usize, usize),
        (right, right_step): (&'a [f32], usize),
    ) -> Self {
        let depth = left.len() / left_step;
        assert!(rows > 0 && depth > 0 && first + rows <= left_step && right_step >= COLS);
        assert!(right.len() >= (depth - 1) * right_step + COLS);
        Self::F32(Strided {
            left: std::array::from_fn(|i| left[first + i.min(rows - 1)..].as_ptr()),
            left_step,
            right: right.as_ptr(),
            right_step,
            width: COLS,
            depth,
            borrowed: PhantomData,
        })
    }

    pub fn pairs(left: &'a [u32], right: &'a [u32]) -> Self {
        assert!(left.len().is_multiple_of(ROWS) && left.len() / ROWS * COLS == right.len());
        Self::Pairs { left, right }
    }

    /// Of a panel on the right.
    pub fn width(&self) -> usize {
        match self {
            Self::F32(strided) => strided.width,
            Self::Pairs { .. } => COLS,
        }
    }

    /// In f32; pairs have a kernel of their own.
    pub fn strided(&self) -> Strided<'a> {
        match self {
            Self::F32(strided) => *strided,
            Self::Pairs { .. } => unreachable!("pairs are multiplied by their own kernel"),
        }
    }
}
