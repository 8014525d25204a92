//! Logistic regression with an L2 penalty, by Newton's method: few features, so the whole
//! curvature fits in memory and a handful of steps find the optimum.

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

use host_data::failure::Result;

/// logit = weights . x + bias.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Linear {
    pub weights: Vec<f64>,
    pub bias: f64,
}

/// More than it takes unless the numbers are not finite.
const MOST_STEPS: usize = 50;
/// A step that changes no parameter by more is the last.
const ENOUGH: f64 = 1e-8;

impl Linear {
    /// P of the class that was `true`.
    pub fn probability(&self, x: &[f32]) -> f64 {
        let terms = x.iter().zip(&self.weights);
        let logit: f64 = terms.map(|(x, weight)| f64::from(*x) * weight).sum();
        sigmoid(logit + self.bias)
    }

    /// Minimises mean log loss + l2 / 2 * |weights|^2; the bias is not penalised.
    /// `rows` are of equal length, and there is one label per row.
    pub fn fit(rows: &[Vec<f32>], labels: &[bool], l2: f64) -> Result<Self> {
        let width = rows.first().map_or(0, Vec::len) + 1;
        let values = rows.iter().flat_map(|row| {
            let row = row.iter().map(|x| f64::from(*x));
            row.chain([1.0])
        });
        let data = Tensor::from_iter(values, &Device::Cpu)?.reshape((rows.len(), width))?;
        let mut found = vec![0.0; width];
        for _ in 0..MOST_STEPS {
            let (gradient, mut curvature) = derivatives(&data, labels, l2, &found)?;
            let step = solve(&mut curvature, gradient);
            // Far from the optimum a whole step may lead away from it.
            let largest = step.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
            let scale = (10.0 / largest).min(1.0);
            for (parameter, step) in found.iter_mut().zip(&step) {
                *parameter -= scale * step;
            }
            if largest <= ENOUGH || !largest.is_finite() {
                break;
            }
        }
        let bias = found.pop().unwrap_or_default();
        Ok(Self { weights: found, bias })
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// Gradient and curvature of the loss, the latter row by row.
fn derivatives(
    data: &Tensor,
    labels: &[bool],
    l2: f64,
    parameters: &[f64],
) -> Result<(Vec<f64>, Vec<Vec<f64>>)> {
    let (rows, width) = data.dims2()?;
    let logits = data.matmul(&Tensor::new(parameters, &Device::Cpu)?.unsqueeze(1)?)?;
    let logits = logits.flatten_all()?.to_vec1::<f64>()?;
    let found: Vec<f64> = logits.into_iter().map(sigmoid).collect();
    let column = |value: &dyn Fn((&f64, &bool)) -> f64| {
        let values = found.iter().zip(labels).map(value);
        Tensor::from_iter(values, &Device::Cpu)?.unsqueeze(1)
    };
    let scale = 1.0 / rows as f64;
    let wrong = column(&|(p, label)| (p - f64::from(u8::from(*label))) * scale)?;
    let slope = column(&|(p, _)| p * (1.0 - p) * scale)?;
    let transposed = data.t()?;
    let mut gradient = transposed.matmul(&wrong)?.flatten_all()?.to_vec1::<f64>()?;
    let curvature = transposed.matmul(&data.broadcast_mul(&slope)?)?;
    let mut curvature = curvature.to_vec2::<f64>()?;
    for (index, row) in curvature.iter_mut().enumerate() {
        // So that it can be inverted even where all is decided.
        let penalty = if index + 1 < width { l2 } else { 1e-12 };
        gradient[index] += penalty * parameters[index];
        row[index] += penalty;
    }
    Ok((gradient, curvature))
}

/// x of A x = b, for a symmetric positive A, by Cholesky's factors in A's place.
fn solve(a: &mut [Vec<f64>], mut b: Vec<f64>) -> Vec<f64> {
    let n = b.len();
    for j in 0..n {
        let Some((row, below)) = a[j..].split_first_mut() else {
            break;
        };
        let square: f64 = row[..j].iter().map(|x| x * x).sum();
        row[j] = (row[j] - square).sqrt();
        for other in below {
            let dot: f64 = row[..j].iter().zip(&other[..j]).map(|(x, y)| x * y).sum();
            other[j] = (other[j] - dot) / row[j];
        }
    }
    for (i, row) in a.iter().enumerate() {
        let known: f64 = row[..i].iter().zip(&b).map(|(x, y)| x * y).sum();
        b[i] = (b[i] - known) / row[i];
    }
    for i in (0..n).rev() {
        let known: f64 = (i + 1..n).map(|k| a[k][i] * b[k]).sum();
        b[i] = (b[i] - known) / a[i][i];
    }
    b
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equations_are_solved() {
        let mut a = vec![vec![4.0, 2.0, 0.6], vec![2.0, 5.0, 1.0], vec![0.6, 1.0, 3.0]];
        let x = solve(&mut a, vec![9.8, 15.0, 11.6]);
        for (found, want) in x.iter().zip([1.0, 2.0, 3.0]) {
            assert!((found - want).abs() < 1e-12, "{x:?}");
        }
    }

    /// 3 of 4 positive where x = 1, 1 of 4 where x = 0: without a penalty the fit gives
    /// these shares.
    #[test]
    fn without_a_penalty_the_shares_are_found() {
        let rows: Vec<Vec<f32>> = [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0].map(|x| vec![x]).into();
        let labels = [true, false, false, false, true, true, true, false];
        let fitted = Linear::fit(&rows, &labels, 0.0).expect("fitted");
        assert!((fitted.probability(&[0.0]) - 0.25).abs() < 1e-6);
        assert!((fitted.probability(&[1.0]) - 0.75).abs() < 1e-6);
        let held = Linear::fit(&rows, &labels, 1.0).expect("fitted");
        assert!(held.weights[0].abs() < fitted.weights[0].abs() / 2.0);
    }

    #[test]
    fn what_can_be_divided_is_and_stays_finite() {
        let rows: Vec<Vec<f32>> = (0..20).map(|x| vec![x as f32 / 10.0 - 1.0, 1.0]).collect();
        let labels: Vec<bool> = (0..20).map(|x| x >= 10).collect();
        for l2 in [1e-6, 1e-3, 1.0] {
            let fitted = Linear::fit(&rows, &labels, l2).expect("fitted");
            assert!(fitted.weights.iter().all(|weight| weight.is_finite()));
            let right = rows.iter().zip(&labels);
            let right = right.filter(|(row, label)| (fitted.probability(row) > 0.5) == **label);
            assert!(right.count() >= 19, "{l2}");
        }
    }
}
