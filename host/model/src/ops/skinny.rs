//! y = x W^T for a handful of rows: decoding is bound by streaming W once.

use super::simd::{LANES, sum_lanes};

/// Rows of x handled in one pass over W.
const PASS: usize = 8;

/// Rows of W that stay in cache while every row of x passes over them.
const LINES: usize = 32;

/// x [m, k] times W [n, k] transposed into y [m, n] with rows of `stride` values.
pub(crate) fn matmul(x: &[f32], k: usize, w: &[f32], y: &mut [f32], stride: usize) {
    for (block, w) in w.chunks(LINES * k).enumerate() {
        for (x, y) in x.chunks(PASS * k).zip(y.chunks_mut(PASS * stride)) {
            let y = &mut y[block * LINES..];
            match x.len() / k {
                1 => one(x, k, w, y, stride),
                2 => two(x, k, w, y, stride),
                3 | 4 => four(x, k, w, y, stride),
                _ => eight(x, k, w, y, stride),
            }
        }
    }
}

simd! {
fn one(x: &[f32], k: usize, w: &[f32], y: &mut [f32], stride: usize) {
    pass::<1>(x, k, w, y, stride);
}
}
simd! {
fn two(x: &[f32], k: usize, w: &[f32], y: &mut [f32], stride: usize) {
    pass::<2>(x, k, w, y, stride);
}
}
simd! {
fn four(x: &[f32], k: usize, w: &[f32], y: &mut [f32], stride: usize) {
    pass::<4>(x, k, w, y, stride);
}
}
simd! {
fn eight(x: &[f32], k: usize, w: &[f32], y: &mut [f32], stride: usize) {
    pass::<8>(x, k, w, y, stride);
}
}

/// Each row of W is read once and multiplied with up to M rows of x. Missing
/// rows repeat the last one and are not stored.
#[inline(always)]
fn pass<const M: usize>(x: &[f32], k: usize, w: &[f32], y: &mut [f32], stride: usize) {
    let rows = x.len() / k;
    let xs: [&[f32]; M] = std::array::from_fn(|i| {
        let i = i.min(rows - 1);
        &x[i * k..(i + 1) * k]
    });
    let whole = k - k % LANES;
    for (j, line) in w.chunks_exact(k).enumerate() {
        let mut lanes = [[0f32; LANES]; M];
        for p in (0..whole).step_by(LANES) {
            let w: &[f32; LANES] = line[p..p + LANES].try_into().expect("LANES values");
            for i in 0..M {
                let x: &[f32; LANES] = xs[i][p..p + LANES].try_into().expect("LANES values");
                for lane in 0..LANES {
                    lanes[i][lane] += w[lane] * x[lane];
                }
            }
        }
        for i in 0..M.min(rows) {
            let rest: f32 = (whole..k).map(|p| line[p] * xs[i][p]).sum();
            y[i * stride + j] = sum_lanes(lanes[i]) + rest;
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
            matmul(&x, k, &w, &mut y, n);
            for i in 0..m {
                for j in 0..n {
                    let exact: f32 = (0..k).map(|p| x[i * k + p] * w[j * k + p]).sum();
                    assert!((y[i * n + j] - exact).abs() < 1e-4);
                }
            }
        }
    }
}
