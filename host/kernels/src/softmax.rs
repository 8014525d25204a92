//! Row reductions of logits and scores.

use super::exponent::exp;
use super::simd::{LANES, sum_lanes};

#[inline(always)]
fn highest(row: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (heads, tail) = row.as_chunks::<LANES>();
    for chunk in heads {
        for lane in 0..LANES {
            lanes[lane] = if chunk[lane] > lanes[lane] { chunk[lane] } else { lanes[lane] };
        }
    }
    for (lane, x) in lanes.iter_mut().zip(tail) {
        *lane = lane.max(*x);
    }
    lanes.iter().copied().fold(f32::NEG_INFINITY, f32::max)
}

simd! {
/// Replaces the row by exp(scale * x - max) and gives (scaled max, sum).
pub fn exponentiate(row: &mut [f32], scale: f32) -> (f32, f32) {
    let shift = highest(row) * scale;
    let mut lanes = [0f32; LANES];
    let (heads, tail) = row.as_chunks_mut::<LANES>();
    for chunk in heads {
        for lane in 0..LANES {
            let e = exp(chunk[lane] * scale - shift);
            chunk[lane] = e;
            lanes[lane] += e;
        }
    }
    for (lane, x) in lanes.iter_mut().zip(tail) {
        *x = exp(*x * scale - shift);
        *lane += *x;
    }
    (shift, sum_lanes(lanes))
}
}

simd! {
/// Replaces x by cap * tanh(scale * x / cap).
pub fn soft_cap(row: &mut [f32], scale: f32, cap: f32) {
    let inner = -2.0 * scale / cap;
    for x in row {
        // tanh(u) is 2 / (1 + e^-2u) - 1.
        *x = cap * (2.0 / (1.0 + exp(*x * inner)) - 1.0);
    }
}
}

simd! {
/// Turns slopes by capped values into slopes by what was capped: times
/// scale * (1 - (capped / cap)^2).
pub fn soft_cap_back(slopes: &mut [f32], capped: &[f32], scale: f32, cap: f32) {
    for (slope, x) in slopes.iter_mut().zip(capped) {
        let part = x / cap;
        *slope *= scale * (1.0 - part * part);
    }
}
}

simd! {
/// ln sum exp of the row.
pub fn log_sum_exp(row: &[f32]) -> f32 {
    let shift = highest(row);
    let mut lanes = [0f32; LANES];
    let (heads, tail) = row.as_chunks::<LANES>();
    for chunk in heads {
        for lane in 0..LANES {
            lanes[lane] += exp(chunk[lane] - shift);
        }
    }
    for (lane, x) in lanes.iter_mut().zip(tail) {
        *lane += exp(*x - shift);
    }
    shift + sum_lanes(lanes).ln()
}
}

simd! {
/// row = exp(scale * row - shift): probabilities when shift is the row's ln sum exp.
pub fn probabilities(row: &mut [f32], scale: f32, shift: f32) {
    for x in row {
        *x = exp(*x * scale - shift);
    }
}
}

simd! {
/// logits <- weight * softmax(logits), given their ln sum exp.
pub fn slopes(logits: &mut [f32], total: f32, weight: f32) {
    for x in logits {
        *x = weight * exp(*x - total);
    }
}
}

simd! {
/// With p = softmax(reference) and q = softmax(logits), given both ln sum exp:
/// gives KL(p || q) and leaves (task + kl) q - kl p in `logits`.
pub fn divergence(logits: &mut [f32], total: f32, reference: &[f32], reference_total: f32, task: f32, kl: f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let both = task + kl;
    let (rows, tail) = logits.as_chunks_mut::<LANES>();
    let (reference_rows, reference_tail) = reference.as_chunks::<LANES>();
    for (x, r) in rows.iter_mut().zip(reference_rows) {
        for lane in 0..LANES {
            let (lq, lp) = (x[lane] - total, r[lane] - reference_total);
            let p = exp(lp);
            lanes[lane] += p * (lp - lq);
            x[lane] = both * exp(lq) - kl * p;
        }
    }
    for ((lane, x), r) in lanes.iter_mut().zip(tail).zip(reference_tail) {
        let (lq, lp) = (*x - total, *r - reference_total);
        let p = exp(lp);
        *lane += p * (lp - lq);
        *x = both * exp(lq) - kl * p;
    }
    sum_lanes(lanes)
}
}

simd! {
/// row *= factor
pub fn scale(row: &mut [f32], factor: f32) {
    for x in row {
        *x *= factor;
    }
}
}

simd! {
/// a += factor * b
pub fn add_scaled(a: &mut [f32], b: &[f32], factor: f32) {
    for (a, b) in a.iter_mut().zip(b) {
        *a += factor * b;
    }
}
}

simd! {
/// a += b
pub fn add(a: &mut [f32], b: &[f32]) {
    for (a, b) in a.iter_mut().zip(b) {
        *a += b;
    }
}
}
