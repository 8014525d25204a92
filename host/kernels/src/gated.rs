//! The gated activation of the MLP: f(gate) * up (Shazeer 2020, arXiv 2002.05202).

use super::exponent::exp;

/// The function of the gate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Activation {
    /// x sigmoid(x): SwiGLU.
    #[default]
    Silu,
    /// GELU by a tanh (Hendrycks and Gimpel 2016, arXiv 1606.08415): GeGLU.
    GeluTanh,
}

/// y = f(gate) * up
pub fn forward(activation: Activation, gate: &[f32], up: &[f32], y: &mut [f32]) {
    match activation {
        Activation::Silu => silu_forward(gate, up, y),
        Activation::GeluTanh => gelu_forward(gate, up, y),
    }
}

/// dgate and dup from g = dy.
pub fn backward(
    activation: Activation,
    gate: &[f32],
    up: &[f32],
    g: &[f32],
    dgate: &mut [f32],
    dup: &mut [f32],
) {
    match activation {
        Activation::Silu => silu_backward(gate, up, g, dgate, dup),
        Activation::GeluTanh => gelu_backward(gate, up, g, dgate, dup),
    }
}

simd! {
fn silu_forward(gate: &[f32], up: &[f32], y: &mut [f32]) {
    for ((y, a), b) in y.iter_mut().zip(gate).zip(up) {
        *y = a * sigmoid(*a) * b;
    }
}
}

simd! {
fn silu_backward(gate: &[f32], up: &[f32], g: &[f32], dgate: &mut [f32], dup: &mut [f32]) {
    let inputs = gate.iter().zip(up).zip(g);
    for (((a, b), g), (da, db)) in inputs.zip(dgate.iter_mut().zip(dup)) {
        let s = sigmoid(*a);
        *da = g * b * s * (1.0 + a * (1.0 - s));
        *db = g * a * s;
    }
}
}

/// (1 + tanh(u)) / 2 is sigmoid(2u): 2 sqrt(2 / pi).
const TWICE: f32 = 1.595_769;
const CUBE: f32 = 0.044_715;

simd! {
fn gelu_forward(gate: &[f32], up: &[f32], y: &mut [f32]) {
    for ((y, a), b) in y.iter_mut().zip(gate).zip(up) {
        *y = a * sigmoid(TWICE * (a + CUBE * a * a * a)) * b;
    }
}
}

simd! {
fn gelu_backward(gate: &[f32], up: &[f32], g: &[f32], dgate: &mut [f32], dup: &mut [f32]) {
    let inputs = gate.iter().zip(up).zip(g);
    for (((a, b), g), (da, db)) in inputs.zip(dgate.iter_mut().zip(dup)) {
        let s = sigmoid(TWICE * (a + CUBE * a * a * a));
        let slope = TWICE * (1.0 + 3.0 * CUBE * a * a);
        *da = g * b * s * (1.0 + a * (1.0 - s) * slope);
        *db = g * a * s;
    }
}
}

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact(activation: Activation, x: f64) -> f64 {
        match activation {
            Activation::Silu => x / (1.0 + (-x).exp()),
            Activation::GeluTanh => {
                let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
                0.5 * x * (1.0 + inner.tanh())
            }
        }
    }

    #[test]
    fn values_and_slopes_are_those_of_the_formula() {
        let gate: Vec<f32> = (-200..200).map(|i| i as f32 * 0.05).chain([-1e4, 1e4]).collect();
        let up: Vec<f32> = gate.iter().map(|x| 1.0 + (x * 0.7).sin()).collect();
        let ones = vec![1f32; gate.len()];
        for activation in [Activation::Silu, Activation::GeluTanh] {
            let [mut y, mut dgate, mut dup] = [(); 3].map(|()| vec![0f32; gate.len()]);
            forward(activation, &gate, &up, &mut y);
            backward(activation, &gate, &up, &ones, &mut dgate, &mut dup);
            for (i, (a, b)) in gate.iter().zip(&up).enumerate() {
                let (a, b) = (f64::from(*a), f64::from(*b));
                let near = |found: f32, expected: f64, bound: f64| {
                    let gap = (f64::from(found) - expected).abs();
                    assert!(
                        gap < bound * (1.0 + expected.abs()),
                        "{activation:?} {a}: {found} {expected}"
                    );
                };
                near(y[i], exact(activation, a) * b, 1e-6);
                near(dup[i], exact(activation, a), 1e-6);
                let slope = (exact(activation, a + 1e-4) - exact(activation, a - 1e-4)) / 2e-4;
                near(dgate[i], slope * b, 1e-5);
            }
        }
    }
}
