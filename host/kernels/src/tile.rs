//! The register tile of the matrix product: ROWS x COLS of C, from one or several
//! pairs of operands, in one chain of sums per element.

use super::operands::{COLS, HALF, Operands, ROWS};
use super::simd::{Level, level};
use super::view::Accumulate;
#[cfg(target_arch = "x86_64")]
use super::x86;

/// Which part of a full tile C has room for.
pub struct Tile {
    pub rows: usize,
    pub cols: usize,
    pub stride: usize,
}

impl Tile {
    /// Sets or adds the sum of all products, which have the same width.
    ///
    /// # Safety
    /// c points at `rows` rows of `cols` floats, `stride` apart, that nothing else uses.
    pub unsafe fn run(&self, into: Accumulate, operands: &[Operands], c: *mut f32) {
        let width = operands[0].width();
        assert!(self.rows <= ROWS && self.cols <= width);
        assert!(operands.iter().all(|one| one.width() == width));
        if self.rows == ROWS && self.cols == width {
            // SAFETY: the tile is full.
            unsafe { compute(into, operands, width, c, self.stride) };
            return;
        }
        let mut sums = [0f32; ROWS * COLS];
        // SAFETY: the sums are a full tile.
        unsafe { compute(Accumulate::Set, operands, width, sums.as_mut_ptr(), width) };
        for (row, sums) in sums.chunks_exact(width).take(self.rows).enumerate() {
            // SAFETY: inside the tile, as the caller promises.
            let c = unsafe { std::slice::from_raw_parts_mut(c.add(row * self.stride), self.cols) };
            match into {
                Accumulate::Set => c.copy_from_slice(&sums[..self.cols]),
                Accumulate::Add => c.iter_mut().zip(sums).for_each(|(c, s)| *c += s),
            }
        }
    }
}

/// A full tile of c, `width` = COLS or HALF, rows of `stride` values.
///
/// # Safety
/// c points at ROWS rows of `width` floats, `stride` apart, that nothing else uses.
unsafe fn compute(
    into: Accumulate,
    operands: &[Operands],
    width: usize,
    c: *mut f32,
    stride: usize,
) {
    match (level(), width) {
        #[cfg(target_arch = "x86_64")]
        (Level::Avx512, COLS) if matches!(operands[0], Operands::Pairs { .. }) => {
            // SAFETY: pairs are packed only where they can be multiplied, and c has
            // room for the tile.
            unsafe { x86::pairs(into, operands, c, stride) }
        }
        // SAFETY: the instruction set was detected, and c has room for the tile.
        #[cfg(target_arch = "x86_64")]
        (Level::Avx512, COLS) => unsafe { x86::avx512::<2>(into, operands, c, stride) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        (Level::Avx512, _) => unsafe { x86::avx512::<1>(into, operands, c, stride) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        (Level::Avx2, _) => unsafe { x86::avx2(into, operands, width, c, stride) },
        // SAFETY: c has room for the tile.
        (Level::Portable, COLS) => unsafe { portable::<COLS>(into, operands, c, stride) },
        // SAFETY: as above.
        (Level::Portable, _) => unsafe { portable::<HALF>(into, operands, c, stride) },
    }
}

/// # Safety
/// As `compute`, with `width` = W.
unsafe fn portable<const W: usize>(
    into: Accumulate,
    operands: &[Operands],
    c: *mut f32,
    stride: usize,
) {
    let mut sums = [[0f32; W]; ROWS];
    for strided in operands.iter().map(Operands::strided) {
        for p in 0..strided.depth {
            // SAFETY: inside the operands, as their constructors checked.
            let b = unsafe { &*strided.right.add(p * strided.right_step).cast::<[f32; W]>() };
            for (sums, left) in sums.iter_mut().zip(strided.left) {
                // SAFETY: as above.
                let a = unsafe { *left.add(p * strided.left_step) };
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
            Accumulate::Set => c.copy_from_slice(sums),
            Accumulate::Add => c.iter_mut().zip(sums).for_each(|(c, s)| *c += s),
        }
    }
}

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
        let operands = [
            Operands::packed(&left, &right),
            Operands::rows(&wide[..90 * 5], 90, 3, &right, COLS),
            Operands::transposed((&left, ROWS), (0, ROWS), (&wide[58..], 90)),
        ];
        let narrow = [Operands::rows(&wide[..90 * 8], 90, 3, &right[..70 * HALF], HALF)];
        for into in [Accumulate::Set, Accumulate::Add] {
            let mut found = [[1f32; ROWS * COLS]; 6];
            // SAFETY: AVX-512 was detected above and implies AVX2 and FMA;
            // the arrays hold a tile.
            unsafe {
                x86::avx512::<2>(into, &operands, found[0].as_mut_ptr(), COLS);
                x86::avx2(into, &operands, COLS, found[1].as_mut_ptr(), COLS);
                portable::<COLS>(into, &operands, found[2].as_mut_ptr(), COLS);
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
