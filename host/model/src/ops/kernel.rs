//! The register tile of the matrix product: ROWS x COLS of C.

use super::matmul::Into;
use super::simd::{Level, level};

/// Rows of a tile: sixteen 512-bit accumulators with COLS = 32.
pub(crate) const ROWS: usize = 8;
pub(crate) const COLS: usize = 32;

/// Which part of a full tile C has room for.
pub(crate) struct Tile {
    pub rows: usize,
    pub cols: usize,
    pub stride: usize,
}

impl Tile {
    /// left: depth x ROWS packed, right: depth x COLS packed.
    pub fn run(&self, into: Into, left: &[f32], right: &[f32], c: &mut [f32]) {
        if self.rows == ROWS && self.cols == COLS {
            compute(into, left, right, c, self.stride);
            return;
        }
        let mut sums = [0f32; ROWS * COLS];
        compute(Into::Set, left, right, &mut sums, COLS);
        let rows = sums.chunks_exact(COLS).zip(c.chunks_mut(self.stride));
        for (sums, c) in rows.take(self.rows) {
            let (sums, c) = (&sums[..self.cols], &mut c[..self.cols]);
            match into {
                Into::Set => c.copy_from_slice(sums),
                Into::Add => c.iter_mut().zip(sums).for_each(|(c, s)| *c += s),
            }
        }
    }
}

/// A full tile of c, rows of `stride` values.
fn compute(into: Into, left: &[f32], right: &[f32], c: &mut [f32], stride: usize) {
    assert!(c.len() >= (ROWS - 1) * stride + COLS && stride >= COLS);
    match level() {
        // SAFETY: the instruction set was detected, and c has room for the tile.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { x86::avx512(into, left, right, c.as_mut_ptr(), stride) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { x86::avx2(into, left, right, c.as_mut_ptr(), stride) },
        Level::Portable => portable(into, left, right, c, stride),
    }
}

fn portable(into: Into, left: &[f32], right: &[f32], c: &mut [f32], stride: usize) {
    let mut sums = [[0f32; COLS]; ROWS];
    let (left, _) = left.as_chunks::<ROWS>();
    let (right, _) = right.as_chunks::<COLS>();
    for (a, b) in left.iter().zip(right) {
        for (sums, a) in sums.iter_mut().zip(a) {
            for (sum, b) in sums.iter_mut().zip(b) {
                *sum += a * b;
            }
        }
    }
    for (sums, c) in sums.iter().zip(c.chunks_mut(stride)) {
        for (sum, c) in sums.iter().zip(c) {
            *c = match into {
                Into::Set => *sum,
                Into::Add => *c + sum,
            };
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{COLS, Into, ROWS};
    use std::arch::x86_64::*;

    /// # Safety
    /// c points at ROWS rows of COLS floats, `stride` apart.
    #[target_feature(enable = "avx512f")]
    pub unsafe fn avx512(into: Into, left: &[f32], right: &[f32], c: *mut f32, stride: usize) {
        let (left, _) = left.as_chunks::<ROWS>();
        let (right, _) = right.as_chunks::<COLS>();
        let mut acc = [[_mm512_setzero_ps(); 2]; ROWS];
        for (a, b) in left.iter().zip(right) {
            // SAFETY: b holds COLS = 32 floats, two vectors.
            let (low, high) = unsafe {
                (
                    _mm512_loadu_ps(b.as_ptr()),
                    _mm512_loadu_ps(b.as_ptr().add(16)),
                )
            };
            for row in 0..ROWS {
                let a = _mm512_set1_ps(a[row]);
                acc[row][0] = _mm512_fmadd_ps(a, low, acc[row][0]);
                acc[row][1] = _mm512_fmadd_ps(a, high, acc[row][1]);
            }
        }
        for (row, acc) in acc.into_iter().enumerate() {
            for (side, sum) in acc.into_iter().enumerate() {
                // SAFETY: inside the tile, as the caller promises.
                unsafe {
                    let c = c.add(row * stride + side * 16);
                    let sum = match into {
                        Into::Set => sum,
                        Into::Add => _mm512_add_ps(_mm512_loadu_ps(c), sum),
                    };
                    _mm512_storeu_ps(c, sum);
                }
            }
        }
    }

    /// Four quarters of half the rows and columns: sixteen registers hold one.
    ///
    /// # Safety
    /// c points at ROWS rows of COLS floats, `stride` apart.
    #[target_feature(enable = "avx2,fma")]
    pub unsafe fn avx2(into: Into, left: &[f32], right: &[f32], c: *mut f32, stride: usize) {
        let (left, _) = left.as_chunks::<ROWS>();
        let (right, _) = right.as_chunks::<COLS>();
        for top in [0, ROWS / 2] {
            for side in [0, COLS / 2] {
                let mut acc = [[_mm256_setzero_ps(); 2]; ROWS / 2];
                for (a, b) in left.iter().zip(right) {
                    let b = &b[side..side + 16];
                    // SAFETY: b holds 16 floats, two vectors.
                    let (low, high) = unsafe {
                        (
                            _mm256_loadu_ps(b.as_ptr()),
                            _mm256_loadu_ps(b.as_ptr().add(8)),
                        )
                    };
                    for row in 0..ROWS / 2 {
                        let a = _mm256_set1_ps(a[top + row]);
                        acc[row][0] = _mm256_fmadd_ps(a, low, acc[row][0]);
                        acc[row][1] = _mm256_fmadd_ps(a, high, acc[row][1]);
                    }
                }
                for (row, acc) in acc.into_iter().enumerate() {
                    for (half, sum) in acc.into_iter().enumerate() {
                        // SAFETY: inside the tile, as the caller promises.
                        unsafe {
                            let c = c.add((top + row) * stride + side + half * 8);
                            let sum = match into {
                                Into::Set => sum,
                                Into::Add => _mm256_add_ps(_mm256_loadu_ps(c), sum),
                            };
                            _mm256_storeu_ps(c, sum);
                        }
                    }
                }
            }
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        /// Both vector kernels give the same bits, and the sums of the portable one.
        #[test]
        fn kernels_agree() {
            if !is_x86_feature_detected!("avx512f") {
                return;
            }
            let left: Vec<f32> = (0..70 * ROWS).map(|i| (i as f32 * 0.37).sin()).collect();
            let right: Vec<f32> = (0..70 * COLS).map(|i| (i as f32 * 0.11).cos()).collect();
            for into in [Into::Set, Into::Add] {
                let mut found = [[1f32; ROWS * COLS]; 3];
                // SAFETY: AVX-512 was detected above and implies AVX2 and FMA;
                // the arrays hold a tile.
                unsafe {
                    avx512(into, &left, &right, found[0].as_mut_ptr(), COLS);
                    avx2(into, &left, &right, found[1].as_mut_ptr(), COLS);
                }
                super::super::portable(into, &left, &right, &mut found[2], COLS);
                assert_eq!(found[0], found[1]);
                let gaps = found[0].iter().zip(found[2]).map(|(a, b)| (a - b).abs());
                assert!(gaps.fold(0.0, f32::max) < 1e-4);
            }
        }
    }
}
