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
        let mut sums = [[0f32; COLS]; ROWS];
        match level() {
            // SAFETY: the instruction set was detected on this machine.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => unsafe { x86::avx512(left, right, &mut sums) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => unsafe { x86::avx2(left, right, &mut sums) },
            Level::Portable => portable(left, right, &mut sums),
        }
        for (row, sums) in sums.iter().enumerate().take(self.rows) {
            let c = &mut c[row * self.stride..row * self.stride + self.cols];
            let sums = &sums[..self.cols];
            match into {
                Into::Set => c.copy_from_slice(sums),
                Into::Add => c.iter_mut().zip(sums).for_each(|(c, s)| *c += s),
            }
        }
    }
}

fn portable(left: &[f32], right: &[f32], sums: &mut [[f32; COLS]; ROWS]) {
    let (left, _) = left.as_chunks::<ROWS>();
    let (right, _) = right.as_chunks::<COLS>();
    for (a, b) in left.iter().zip(right) {
        for (sums, a) in sums.iter_mut().zip(a) {
            for (sum, b) in sums.iter_mut().zip(b) {
                *sum += a * b;
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{COLS, ROWS};
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx512f")]
    pub fn avx512(left: &[f32], right: &[f32], sums: &mut [[f32; COLS]; ROWS]) {
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
        for (row, acc) in sums.iter_mut().zip(acc) {
            // SAFETY: a row holds COLS = 32 floats, two vectors.
            unsafe {
                _mm512_storeu_ps(row.as_mut_ptr(), acc[0]);
                _mm512_storeu_ps(row.as_mut_ptr().add(16), acc[1]);
            }
        }
    }

    /// Four quarters of half the rows and columns: sixteen registers hold one.
    #[target_feature(enable = "avx2,fma")]
    pub fn avx2(left: &[f32], right: &[f32], sums: &mut [[f32; COLS]; ROWS]) {
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
                for (row, acc) in acc.iter().enumerate() {
                    let target = &mut sums[top + row][side..side + 16];
                    // SAFETY: the target holds 16 floats, two vectors.
                    unsafe {
                        _mm256_storeu_ps(target.as_mut_ptr(), acc[0]);
                        _mm256_storeu_ps(target.as_mut_ptr().add(8), acc[1]);
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
            let mut found = [[[0f32; COLS]; ROWS]; 3];
            // SAFETY: AVX-512 was detected above and implies AVX2 and FMA.
            unsafe {
                avx512(&left, &right, &mut found[0]);
                avx2(&left, &right, &mut found[1]);
            }
            super::super::portable(&left, &right, &mut found[2]);
            assert_eq!(found[0], found[1]);
            for (a, b) in found[0].iter().flatten().zip(found[2].iter().flatten()) {
                assert!((a - b).abs() < 1e-4);
            }
        }
    }
}
