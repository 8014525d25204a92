//! The gated activation of the MLP: silu(gate) * up (Shazeer 2020, arXiv 2002.05202).

use super::exponent::exp;

simd! {
/// y = silu(gate) * up
pub fn forward(gate: &[f32], up: &[f32], y: &mut [f32]) {
    for ((y, a), b) in y.iter_mut().zip(gate).zip(up) {
        *y = a * sigmoid(*a) * b;
    }
}
}

simd! {
/// dgate and dup from g = dy.
pub fn backward(gate: &[f32], up: &[f32], g: &[f32], dgate: &mut [f32], dup: &mut [f32]) {
    let inputs = gate.iter().zip(up).zip(g);
    for (((a, b), g), (da, db)) in inputs.zip(dgate.iter_mut().zip(dup)) {
        let s = sigmoid(*a);
        *da = g * b * s * (1.0 + a * (1.0 - s));
        *db = g * a * s;
    }
}
}

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}
