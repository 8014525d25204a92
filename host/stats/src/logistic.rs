//! Logistic regression with an L2 penalty.

use crate::lanes::{add_scaled, dot, dot64};
use crate::lbfgs::{self, Options};
use crate::matrix::Matrix;

/// A hyperplane: logit = weights . x + bias.
#[derive(Debug, Clone, PartialEq)]
pub struct Linear {
    /// One per feature.
    pub weights: Vec<f64>,
    /// Added to every score.
    pub bias: f64,
}

impl Linear {
    /// Score of one row: weights . x + bias.
    pub fn logit(&self, x: &[f32]) -> f64 {
        dot(x, &self.weights) + self.bias
    }
}

/// 1 / (1 + e^-x), without overflow.
pub fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 {
        1.0 / (1.0 + (-x).exp())
    } else {
        let e = x.exp();
        e / (1.0 + e)
    }
}

/// The log loss of a logit for a target in [0, 1]: -t ln p - (1 - t) ln(1 - p).
pub fn log_loss(logit: f64, target: f64) -> f64 {
    // ln(1 + e^x) = max(x, 0) + ln(1 + e^-|x|)
    logit.max(0.0) + (-logit.abs()).exp().ln_1p() - logit * target
}

/// Mean log loss of logits.
pub fn mean_log_loss(logits: &[f64], labels: &[bool]) -> f64 {
    let sum: f64 =
        logits.iter().zip(labels).map(|(x, y)| log_loss(*x, f64::from(u8::from(*y)))).sum();
    sum / logits.len().max(1) as f64
}

/// Minimises mean log loss + l2 / 2 * |weights|^2. The bias is not penalised.
///
/// `labels` has one element per row of `data`: true for the class whose
/// probability is sought.
pub fn fit(data: &Matrix, labels: &[bool], l2: f64) -> Linear {
    let columns = data.columns();
    let mut found =
        lbfgs::minimize(vec![0.0; columns + 1], Options::default(), |parameters, gradient| {
            objective(data, labels, l2, parameters, gradient)
        });
    let bias = found.pop().unwrap_or_default();
    Linear { weights: found, bias }
}

/// `parameters` and `gradient`: the weights, then the bias.
fn objective(
    data: &Matrix,
    labels: &[bool],
    l2: f64,
    parameters: &[f64],
    gradient: &mut [f64],
) -> f64 {
    let columns = data.columns();
    let (weights, bias) = (&parameters[..columns], parameters[columns]);
    let n = data.len().max(1) as f64;
    for (g, w) in gradient.iter_mut().zip(weights) {
        *g = l2 * w;
    }
    gradient[columns] = 0.0;
    let mut loss = 0.0;
    for (row, label) in data.rows().zip(labels) {
        let target = f64::from(u8::from(*label));
        let logit = dot(row, weights) + bias;
        loss += log_loss(logit, target) / n;
        let error = (sigmoid(logit) - target) / n;
        add_scaled(&mut gradient[..columns], error, row);
        gradient[columns] += error;
    }
    loss + 0.5 * l2 * dot64(weights, weights)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::random::Random;

    fn problem(seed: u64, rows: usize, columns: usize) -> (Matrix, Vec<bool>) {
        let mut random = Random::new(seed);
        let mut data = Matrix::new(columns);
        let mut labels = Vec::new();
        for i in 0..rows {
            let row: Vec<f32> = (0..columns).map(|_| random.normal() as f32).collect();
            labels.push(row[0] + 0.5 * random.normal() as f32 > 0.0 || i == 0);
            data.push(&row).unwrap();
        }
        (data, labels)
    }

    #[test]
    fn the_gradient_is_that_of_the_loss() {
        let (data, labels) = problem(3, 20, 5);
        let point: Vec<f64> = (0..6).map(|i| 0.3 * f64::from(i) - 0.7).collect();
        let mut gradient = vec![0.0; 6];
        objective(&data, &labels, 0.1, &point, &mut gradient);
        for i in 0..6 {
            let at = |delta: f64| {
                let mut moved = point.clone();
                moved[i] += delta;
                objective(&data, &labels, 0.1, &moved, &mut [0.0; 6])
            };
            let difference = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!((gradient[i] - difference).abs() < 1e-8, "{i}: {} {difference}", gradient[i]);
        }
    }

    #[test]
    fn one_feature_has_the_solution_worked_out_by_hand() {
        // x = 1 is positive 3 times of 4, x = -1 once of 4: without a penalty the
        // weight is the log odds ln 3 and the bias 0.
        let mut data = Matrix::new(1);
        let mut labels = Vec::new();
        for (x, positives) in [(1.0f32, 3), (-1.0, 1)] {
            for i in 0..4 {
                data.push(&[x]).unwrap();
                labels.push(i < positives);
            }
        }
        let fitted = fit(&data, &labels, 0.0);
        assert!((fitted.weights[0] - 3f64.ln()).abs() < 1e-5, "{fitted:?}");
        assert!(fitted.bias.abs() < 1e-5);
        let shrunk = fit(&data, &labels, 1.0);
        assert!(shrunk.weights[0] > 0.0 && shrunk.weights[0] < fitted.weights[0]);
    }

    #[test]
    fn separable_data_with_a_penalty_stays_finite() {
        let mut data = Matrix::new(2);
        for row in [[1.0, 0.0], [2.0, 1.0], [-1.0, 0.0], [-2.0, 1.0]] {
            data.push(&row).unwrap();
        }
        let fitted = fit(&data, &[true, true, false, false], 0.01);
        assert!(fitted.logit(&[1.0, 0.0]) > 2.0 && fitted.logit(&[-1.0, 0.0]) < -2.0);
        assert!(fitted.weights.iter().all(|w| w.abs() < 100.0));
    }

    #[test]
    fn sigmoid_and_log_loss_survive_extreme_logits() {
        assert_eq!((sigmoid(1e4), sigmoid(-1e4), sigmoid(0.0)), (1.0, 0.0, 0.5));
        assert_eq!((log_loss(1e4, 1.0), log_loss(-1e4, 1.0)), (0.0, 1e4));
        assert!((log_loss(0.0, 0.3) - 2f64.ln()).abs() < 1e-15);
        assert!((mean_log_loss(&[0.0, 0.0], &[true, false]) - 2f64.ln()).abs() < 1e-15);
    }
}
