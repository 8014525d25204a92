//! A small multilayer perceptron: one hidden layer of 16 tanh units.

use crate::lanes::dot64;
use crate::lbfgs::{self, Options};
use crate::logistic::{log_loss, sigmoid};
use crate::matrix::Matrix;
use crate::random::Random;

/// Hidden units. As many as there are lanes: the inner loop needs no reduction.
pub const UNITS: usize = 16;

/// Each iteration reads all the data twice; the loss hardly moves after this many.
const ITERATIONS: usize = 80;

/// logit = output . tanh(hidden x + hidden_bias) + bias.
#[derive(Debug, Clone, PartialEq)]
pub struct Mlp {
    /// Per feature, the weights to the [`UNITS`] units: `features * UNITS` values.
    pub hidden: Vec<f64>,
    pub hidden_bias: Vec<f64>,
    pub output: Vec<f64>,
    pub bias: f64,
}

impl Mlp {
    pub fn logit(&self, x: &[f32]) -> f64 {
        let activation = units(x, &self.hidden, &self.hidden_bias);
        dot64(&activation, &self.output) + self.bias
    }
}

fn units(x: &[f32], hidden: &[f64], hidden_bias: &[f64]) -> [f64; UNITS] {
    let mut sums = [0.0; UNITS];
    sums.copy_from_slice(&hidden_bias[..UNITS]);
    let (weights, _) = hidden.as_chunks::<UNITS>();
    for (x, w) in x.iter().zip(weights) {
        let x = f64::from(*x);
        for unit in 0..UNITS {
            sums[unit] += x * w[unit];
        }
    }
    sums.map(f64::tanh)
}

/// Minimises mean log loss + l2 / 2 * (|hidden|^2 + |output|^2) from starting
/// weights drawn with `seed`. Biases are not penalised.
pub fn fit(data: &Matrix, labels: &[bool], l2: f64, seed: u64) -> Mlp {
    let options = Options { max_iterations: ITERATIONS, ..Options::default() };
    let found = lbfgs::minimize(start(data.columns(), seed), options, |parameters, gradient| {
        objective(data, labels, l2, parameters, gradient)
    });
    let parts = Parts::of(&found);
    Mlp {
        hidden: parts.hidden.to_vec(),
        hidden_bias: parts.hidden_bias.to_vec(),
        output: parts.output.to_vec(),
        bias: parts.bias,
    }
}

/// Uniform with the bound of Glorot and Bengio (2010).
fn start(columns: usize, seed: u64) -> Vec<f64> {
    let mut random = Random::new(seed);
    let inputs = (6.0 / (columns + UNITS) as f64).sqrt();
    let outputs = (6.0 / (UNITS + 1) as f64).sqrt();
    let mut parameters: Vec<f64> = (0..columns * UNITS).map(|_| random.symmetric(inputs)).collect();
    parameters.extend([0.0; UNITS]);
    parameters.extend((0..UNITS).map(|_| random.symmetric(outputs)));
    parameters.push(0.0);
    parameters
}

/// The flat parameters: hidden, hidden_bias, output, bias.
struct Parts<'a> {
    hidden: &'a [f64],
    hidden_bias: &'a [f64],
    output: &'a [f64],
    bias: f64,
}

impl<'a> Parts<'a> {
    fn of(parameters: &'a [f64]) -> Self {
        let (hidden, rest) = parameters.split_at(parameters.len() - 2 * UNITS - 1);
        let (hidden_bias, rest) = rest.split_at(UNITS);
        let (output, bias) = rest.split_at(UNITS);
        Self { hidden, hidden_bias, output, bias: bias[0] }
    }
}

fn objective(
    data: &Matrix,
    labels: &[bool],
    l2: f64,
    parameters: &[f64],
    gradient: &mut [f64],
) -> f64 {
    let parts = Parts::of(parameters);
    let n = data.len().max(1) as f64;
    let (g_hidden, g_rest) = gradient.split_at_mut(parts.hidden.len());
    for (g, w) in g_hidden.iter_mut().zip(parts.hidden) {
        *g = l2 * w;
    }
    g_rest.fill(0.0);
    for (g, w) in g_rest[UNITS..2 * UNITS].iter_mut().zip(parts.output) {
        *g = l2 * w;
    }
    let mut loss = 0.0;
    for (row, label) in data.rows().zip(labels) {
        let target = f64::from(u8::from(*label));
        let activation = units(row, parts.hidden, parts.hidden_bias);
        let logit = dot64(&activation, parts.output) + parts.bias;
        loss += log_loss(logit, target) / n;
        let error = (sigmoid(logit) - target) / n;
        let mut back = [0.0; UNITS];
        for unit in 0..UNITS {
            let a = activation[unit];
            back[unit] = error * parts.output[unit] * (1.0 - a * a);
            g_rest[unit] += back[unit];
            g_rest[UNITS + unit] += error * a;
        }
        g_rest[2 * UNITS] += error;
        let (chunks, _) = g_hidden.as_chunks_mut::<UNITS>();
        for (x, g) in row.iter().zip(chunks) {
            let x = f64::from(*x);
            for unit in 0..UNITS {
                g[unit] += x * back[unit];
            }
        }
    }
    let squares = dot64(parts.hidden, parts.hidden) + dot64(parts.output, parts.output);
    loss + 0.5 * l2 * squares
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::metrics::auroc;

    /// Exclusive or: no line separates it.
    fn xor(rows: usize) -> (Matrix, Vec<bool>) {
        let mut random = Random::new(11);
        let mut data = Matrix::new(3);
        let mut labels = Vec::new();
        for _ in 0..rows {
            let row: [f32; 3] = std::array::from_fn(|_| random.normal() as f32);
            labels.push((row[0] > 0.0) != (row[1] > 0.0));
            data.push(&row).unwrap();
        }
        (data, labels)
    }

    #[test]
    fn the_gradient_is_that_of_the_loss() {
        let (data, labels) = xor(15);
        let point = start(3, 2);
        let mut gradient = vec![0.0; point.len()];
        objective(&data, &labels, 0.05, &point, &mut gradient);
        for i in 0..point.len() {
            let at = |delta: f64| {
                let mut moved = point.clone();
                moved[i] += delta;
                objective(&data, &labels, 0.05, &moved, &mut vec![0.0; point.len()])
            };
            let difference = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!((gradient[i] - difference).abs() < 1e-8, "{i}: {} {difference}", gradient[i]);
        }
    }

    #[test]
    fn it_learns_what_a_line_cannot() {
        let (data, labels) = xor(300);
        let fitted = fit(&data, &labels, 1e-4, 1);
        let logits: Vec<f64> = data.rows().map(|row| fitted.logit(row)).collect();
        assert!(auroc(&logits, &labels).unwrap() > 0.98);
        let line = crate::logistic::fit(&data, &labels, 1e-4);
        let logits: Vec<f64> = data.rows().map(|row| line.logit(row)).collect();
        assert!(auroc(&logits, &labels).unwrap() < 0.7);
    }

    #[test]
    fn the_seed_decides() {
        let (data, labels) = xor(40);
        assert_eq!(fit(&data, &labels, 1e-2, 1), fit(&data, &labels, 1e-2, 1));
        assert_ne!(fit(&data, &labels, 1e-2, 1), fit(&data, &labels, 1e-2, 2));
    }
}
