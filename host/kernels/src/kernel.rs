//! The register tile of the matrix product: ROWS x COLS of C, from one or several
//! pairs of operands, in one chain of sums per element.

use std::marker::PhantomData;

use super::matmul::Into;
use super::simd::{Level, level};

/// Rows of a tile: sixteen 512-bit accumulators with COLS = 32.
pub const ROWS: usize = 8;
pub const COLS: usize = 32;
/// Columns of the narrow tile, for adapters of low rank.
pub const HALF: usize = COLS / 2;

/// What a tile multiplies over some depth.
#[derive(Clone, Copy)]
pub enum Piece<'a> {
    F32(Operands<'a>),
    /// Packed pairs of bf16: depth / 2 x ROWS and depth / 2 x COLS.
    Pairs {
        left: &'a [u32],
        right: &'a [u32],
    },
}

/// Row i of the left side at step p is left[i][p * left_step]; the right side at step
/// p is `width` floats from right[p * right_step].
#[derive(Clone, Copy)]
pub struct Operands<'a> {
    left: [*const f32; ROWS],
    left_step: usize,
    right: *const f32,
    right_step: usize,
    width: usize,
    depth: usize,
    borrowed: PhantomData<&'a [f32]>,
}

impl<'a> Piece<'a> {
    /// Both packed: depth x ROWS and depth x COLS.
    pub fn packed(left: &'a [f32], right: &'a [f32]) -> Self {
        let depth = left.len() / ROWS;
        assert!(depth > 0 && left.len() == depth * ROWS && right.len() == depth * COLS);
        Self::F32(Operands {
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
        Self::F32(Operands {
            left: std::array::from_fn(|i| left[i.min(rows - 1) * stride + start..].as_ptr()),
            left_step: 1,
            right: right.as_ptr(),
            right_step: width,
            width,
            depth,
            borrowed: PhantomData,
        })
    }

    /// Columns first..first + rows of the left matrix, turned, times COLS columns of
    /// the right one from its start on. Both lie row by row, as many rows as deep.
    pub fn turned(
        (left, left_step): (&'a [f32], usize),
        (first, rows): (usize, usize),
        (right, right_step): (&'a [f32], usize),
    ) -> Self {
        let depth = left.len() / left_step;
        assert!(rows > 0 && depth > 0 && first + rows <= left_step && right_step >= COLS);
        assert!(right.len() >= (depth - 1) * right_step + COLS);
        Self::F32(Operands {
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

    fn width(&self) -> usize {
        match self {
            Self::F32(operands) => operands.width,
            Self::Pairs { .. } => COLS,
        }
    }
}

/// Which part of a full tile C has room for.
pub struct Tile {
    pub rows: usize,
    pub cols: usize,
    pub stride: usize,
}

impl Tile {
    /// Sets or adds the sum of all pieces, which have the same width.
    ///
    /// # Safety
    /// c points at `rows` rows of `cols` floats, `stride` apart, that nothing else uses.
    pub unsafe fn run(&self, into: Into, pieces: &[Piece], c: *mut f32) {
        let width = pieces[0].width();
        assert!(self.rows <= ROWS && self.cols <= width);
        assert!(pieces.iter().all(|piece| piece.width() == width));
        if self.rows == ROWS && self.cols == width {
            // SAFETY: the tile is full.
            unsafe { compute(into, pieces, width, c, self.stride) };
            return;
        }
        let mut sums = [0f32; ROWS * COLS];
        // SAFETY: the sums are a full tile.
        unsafe { compute(Into::Set, pieces, width, sums.as_mut_ptr(), width) };
        for (row, sums) in sums.chunks_exact(width).take(self.rows).enumerate() {
            // SAFETY: inside the tile, as the caller promises.
            let c = unsafe { std::slice::from_raw_parts_mut(c.add(row * self.stride), self.cols) };
            match into {
                Into::Set => c.copy_from_slice(&sums[..self.cols]),
                Into::Add => c.iter_mut().zip(sums).for_each(|(c, s)| *c += s),
            }
        }
    }
}

/// A full tile of c, `width` = COLS or HALF, rows of `stride` values.
///
/// # Safety
/// c points at ROWS rows of `width` floats, `stride` apart, that nothing else uses.
unsafe fn compute(into: Into, pieces: &[Piece], width: usize, c: *mut f32, stride: usize) {
    match (level(), width) {
        #[cfg(target_arch = "x86_64")]
        (Level::Avx512, COLS) if matches!(pieces[0], Piece::Pairs { .. }) => {
            // SAFETY: pairs are packed only where they can be multiplied, and c has
            // room for the tile.
            unsafe { x86::pairs(into, pieces, c, stride) }
        }
        // SAFETY: the instruction set was detected, and c has room for the tile.
        #[cfg(target_arch = "x86_64")]
        (Level::Avx512, COLS) => unsafe { x86::avx512::<2>(into, pieces, c, stride) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        (Level::Avx512, _) => unsafe { x86::avx512::<1>(into, pieces, c, stride) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        (Level::Avx2, _) => unsafe { x86::avx2(into, pieces, width, c, stride) },
        // SAFETY: c has room for the tile.
        (Level::Portable, COLS) => unsafe { portable::<COLS>(into, pieces, c, stride) },
        // SAFETY: as above.
        (Level::Portable, _) => unsafe { portable::<HALF>(into, pieces, c, stride) },
    }
}

/// The operands of a piece that is not for bf16 instructions.
fn floats<'a>(piece: &Piece<'a>) -> Operands<'a> {
    match piece {
        Piece::F32(operands) => *operands,
        Piece::Pairs { .. } => unreachable!("pairs come first"),
    }
}

/// # Safety
/// As `compute`, with `width` = W.
unsafe fn portable<const W: usize>(into: Into, pieces: &[Piece], c: *mut f32, stride: usize) {
    let mut sums = [[0f32; W]; ROWS];
    for operands in pieces.iter().map(floats) {
        for p in 0..operands.depth {
            // SAFETY: inside the operands, as their constructors checked.
            let b = unsafe { &*operands.right.add(p * operands.right_step).cast::<[f32; W]>() };
            for (sums, left) in sums.iter_mut().zip(operands.left) {
                // SAFETY: as above.
                let a = unsafe { *left.add(p * operands.left_step) };
                for (sum, b) in sums.iter_mut().zip(b) {
                    *sum += a * b;
                }
            }
        }
    }
    for (row, sums) in sums.iter().enumerate() {
        // SAFETY: inside the tile, as the caller promises.
        let c = unsafe { std::slice::from_raw_parts_mut(c.add(row * stride), W) };
        match into {
            Into::Set => c.copy_from_slice(sums),
            Into::Add => c.iter_mut().zip(sums).for_each(|(c, s)| *c += s),
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(test)]
mod tests {
    use super::*;

    /// Both vector kernels give the same bits, and the sums of the portable one, for
    /// packed operands and for operands as they lie.
    #[test]
    #[cfg(target_arch = "x86_64")]
    fn kernels_agree() {
        if !is_x86_feature_detected!("avx512f") {
            return;
        }
        let wave = |count: usize, step: f32| -> Vec<f32> {
            (0..count).map(|i| (i as f32 * step).sin()).collect()
        };
        let (left, right, wide) =
            (wave(70 * ROWS, 0.37), wave(70 * COLS, 0.11), wave(70 * 90, 0.23));
        let pieces = [
            Piece::packed(&left, &right),
            Piece::rows(&wide[..90 * 5], 90, 3, &right, COLS),
            Piece::turned((&left, ROWS), (0, ROWS), (&wide[58..], 90)),
        ];
        let narrow = [Piece::rows(&wide[..90 * 8], 90, 3, &right[..70 * HALF], HALF)];
        for into in [Into::Set, Into::Add] {
            let mut found = [[1f32; ROWS * COLS]; 6];
            // SAFETY: AVX-512 was detected above and implies AVX2 and FMA;
            // the arrays hold a tile.
            unsafe {
                x86::avx512::<2>(into, &pieces, found[0].as_mut_ptr(), COLS);
                x86::avx2(into, &pieces, COLS, found[1].as_mut_ptr(), COLS);
                portable::<COLS>(into, &pieces, found[2].as_mut_ptr(), COLS);
                x86::avx512::<1>(into, &narrow, found[3].as_mut_ptr(), COLS);
                x86::avx2(into, &narrow, HALF, found[4].as_mut_ptr(), COLS);
                portable::<HALF>(into, &narrow, found[5].as_mut_ptr(), COLS);
            }
            for found in found.as_chunks::<3>().0 {
                assert_eq!(found[0], found[1]);
                let gaps = found[0].iter().zip(found[2]).map(|(a, b)| (a - b).abs());
                assert!(gaps.fold(0.0, f32::max) < 1e-4);
            }
        }
    }
}
