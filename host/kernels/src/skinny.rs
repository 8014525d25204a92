//! y = x W^T for a handful of rows: decoding is bound by streaming W once.

use super::right::Weight;
use super::simd::{LANES, Level, level, sum_lanes};

/// Rows of x in a tile, at most.
const ROWS: usize = 4;
/// Rows of W in a tile.
const LINES: usize = 4;
/// Rows of W that stay in cache while every row of x passes over them.
const BLOCK: usize = 8 * LINES;

/// x [m, k] times W [n, k] transposed into y [m, n] with rows of `stride` values.
/// W in bf16 is widened block by block; x is not rounded.
pub fn matmul(x: &[f32], k: usize, w: Weight, y: &mut [f32], stride: usize) {
    let mut wide = Vec::new();
    let lines = w.len() / k;
    for (block, first) in (0..lines).step_by(BLOCK).enumerate() {
        let w = w.lines(first..lines.min(first + BLOCK), k).floats(&mut wide);
        for (x, y) in x.chunks(ROWS * k).zip(y.chunks_mut(ROWS * stride)) {
            let y = &mut y[block * BLOCK..];
            for (tile, w) in w.chunks(LINES * k).enumerate() {
                products(x, k, w, &mut y[tile * LINES..], stride);
            }
        }
    }
}

/// y[i * stride + j] = x_i . w_j for up to ROWS rows of x and LINES rows of W.
fn products(x: &[f32], k: usize, w: &[f32], y: &mut [f32], stride: usize) {
    let (rows, lines) = (x.len() / k, w.len() / k);
    let whole = k - k % LANES;
    let mut sums = [[[0f32; LANES]; LINES]; ROWS];
    match (level(), lines, rows) {
        // SAFETY: the instruction set was detected, and x and w hold `rows`
        // and LINES rows of k values.
        #[cfg(target_arch = "x86_64")]
        (Level::Avx512, LINES, 1) => unsafe { x86::avx512::<1>(x, w, k, &mut sums) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        (Level::Avx512, LINES, 2) => unsafe { x86::avx512::<2>(x, w, k, &mut sums) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        (Level::Avx512, LINES, 3) => unsafe { x86::avx512::<3>(x, w, k, &mut sums) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        (Level::Avx512, LINES, ROWS) => unsafe { x86::avx512::<ROWS>(x, w, k, &mut sums) },
        #[cfg(target_arch = "x86_64")]
        (Level::Avx512 | Level::Avx2, ..) => each(x, w, k, &mut sums, |x, w, sum| {
            // SAFETY: the instruction set was detected; every pair is cut to k values.
            unsafe { x86::avx2(x, w, sum) }
        }),
        (Level::Portable, ..) => each(x, w, k, &mut sums, portable),
    }
    for (i, (x, sums)) in x.chunks_exact(k).zip(&sums).enumerate() {
        for (j, (w, sums)) in w.chunks_exact(k).zip(sums).enumerate() {
            let rest: f32 = x[whole..].iter().zip(&w[whole..]).map(|(x, w)| x * w).sum();
            y[i * stride + j] = sum_lanes(*sums) + rest;
        }
    }
}

/// One pair of rows at a time.
fn each(
    x: &[f32],
    w: &[f32],
    k: usize,
    sums: &mut [[[f32; LANES]; LINES]; ROWS],
    product: impl Fn(&[f32], &[f32], &mut [f32; LANES]),
) {
    for (x, sums) in x.chunks_exact(k).zip(sums) {
        for (w, sum) in w.chunks_exact(k).zip(sums) {
            product(x, w, sum);
        }
    }
}

fn portable(x: &[f32], w: &[f32], sum: &mut [f32; LANES]) {
    for (x, w) in x.chunks_exact(LANES).zip(w.chunks_exact(LANES)) {
        for lane in 0..LANES {
            sum[lane] += x[lane] * w[lane];
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{LANES, LINES, ROWS};
    use std::arch::x86_64::*;

    /// # Safety
    /// x holds M rows and w LINES rows of k values.
    #[target_feature(enable = "avx512f")]
    pub unsafe fn avx512<const M: usize>(
        x: &[f32],
        w: &[f32],
        k: usize,
        sums: &mut [[[f32; LANES]; LINES]; ROWS],
    ) {
        let mut acc = [[_mm512_setzero_ps(); LINES]; M];
        let (x, w) = (x.as_ptr(), w.as_ptr());
        for p in (0..k - k % LANES).step_by(LANES) {
            let mut lines = [_mm512_setzero_ps(); LINES];
            for (j, line) in lines.iter_mut().enumerate() {
                // SAFETY: p + LANES <= k, inside row j.
                *line = unsafe { _mm512_loadu_ps(w.add(j * k + p)) };
            }
            for (i, acc) in acc.iter_mut().enumerate() {
                // SAFETY: p + LANES <= k, inside row i.
                let x = unsafe { _mm512_loadu_ps(x.add(i * k + p)) };
                for (acc, line) in acc.iter_mut().zip(lines) {
                    *acc = _mm512_fmadd_ps(x, line, *acc);
                }
            }
        }
        for (sums, acc) in sums.iter_mut().zip(acc) {
            for (sum, acc) in sums.iter_mut().zip(acc) {
                // SAFETY: a sum holds LANES floats, one vector.
                unsafe { _mm512_storeu_ps(sum.as_mut_ptr(), acc) };
            }
        }
    }

    /// The same lanes as `avx512`, so the same bits.
    #[target_feature(enable = "avx2,fma")]
    pub fn avx2(x: &[f32], w: &[f32], sum: &mut [f32; LANES]) {
        let mut acc = [_mm256_setzero_ps(); 2];
        for (x, w) in x.chunks_exact(LANES).zip(w.chunks_exact(LANES)) {
            for (half, acc) in acc.iter_mut().enumerate() {
                // SAFETY: both hold LANES floats, two vectors.
                let (x, w) = unsafe {
                    (
                        _mm256_loadu_ps(x.as_ptr().add(half * 8)),
                        _mm256_loadu_ps(w.as_ptr().add(half * 8)),
                    )
                };
                *acc = _mm256_fmadd_ps(x, w, *acc);
            }
        }
        for (half, acc) in acc.into_iter().enumerate() {
            // SAFETY: a sum holds LANES floats, two vectors.
            unsafe { _mm256_storeu_ps(sum.as_mut_ptr().add(half * 8), acc) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_count_matches_plain_sums() {
        let (n, k) = (5, 37);
        let w: Vec<f32> = (0..n * k).map(|i| (i as f32 * 0.3).sin()).collect();
        for m in 1..=11 {
            let x: Vec<f32> = (0..m * k).map(|i| (i as f32 * 0.7).cos()).collect();
            let mut y = vec![0f32; m * n];
            matmul(&x, k, Weight::F32(&w), &mut y, n);
            for i in 0..m {
                for j in 0..n {
                    let exact: f32 = (0..k).map(|p| x[i * k + p] * w[j * k + p]).sum();
                    assert!((y[i * n + j] - exact).abs() < 1e-4);
                }
            }
        }
    }
}
