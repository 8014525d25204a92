//! RMS norm, rows of `weight.len()` values.

use super::simd::{LANES, sum_lanes, sum_pairs};

simd! {
/// y = x / rms(x) * weight
pub fn forward(x: &[f32], weight: &[f32], eps: f32, y: &mut [f32]) {
    let d = weight.len();
    for (x, y) in x.chunks_exact(d).zip(y.chunks_exact_mut(d)) {
        let scale = inverse_rms(x, eps);
        for ((y, x), w) in y.iter_mut().zip(x).zip(weight) {
            *y = x * scale * w;
        }
    }
}
}

simd! {
/// dx += d(norm)/dx applied to g, with s = 1 / rms(x):
/// s w g - x s^3 mean(x w g)
pub fn backward_add(x: &[f32], weight: &[f32], eps: f32, g: &[f32], dx: &mut [f32]) {
    let d = weight.len();
    let rows = x.chunks_exact(d).zip(g.chunks_exact(d));
    for ((x, g), dx) in rows.zip(dx.chunks_exact_mut(d)) {
        let scale = inverse_rms(x, eps);
        let mean = sum_products(x, g, weight) / d as f32;
        let pull = scale * scale * scale * mean;
        for (((dx, x), g), w) in dx.iter_mut().zip(x).zip(g).zip(weight) {
            *dx += g * w * scale - x * pull;
        }
    }
}
}

#[inline(always)]
fn inverse_rms(x: &[f32], eps: f32) -> f32 {
    let squares = sum_pairs(x, x, |a, b| a * b);
    1.0 / (squares / x.len() as f32 + eps).sqrt()
}

/// sum of x g w, in lanes.
#[inline(always)]
fn sum_products(x: &[f32], g: &[f32], w: &[f32]) -> f32 {
    let mut lanes = [0f32; LANES];
    let (xs, x_tail) = x.as_chunks::<LANES>();
    let (gs, g_tail) = g.as_chunks::<LANES>();
    let (ws, w_tail) = w.as_chunks::<LANES>();
    for ((x, g), w) in xs.iter().zip(gs).zip(ws) {
        for lane in 0..LANES {
            lanes[lane] += x[lane] * (g[lane] * w[lane]);
        }
    }
    for (lane, ((x, g), w)) in x_tail.iter().zip(g_tail).zip(w_tail).enumerate() {
        lanes[lane] += x * (g * w);
    }
    sum_lanes(lanes)
}
