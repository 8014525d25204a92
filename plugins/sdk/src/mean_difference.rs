//! Difference of means: the direction from one class to the other.

use crate::lanes::{add_scaled, dot64};
use crate::logistic::Linear;
use crate::matrix::Matrix;

/// Weights along mean(positive) - mean(negative), of length 1, with the bias that
/// puts 0 midway between the two means.
///
/// If a class is empty or the means agree, all weights are 0.
pub fn fit(data: &Matrix, labels: &[bool]) -> Linear {
    let columns = data.columns();
    let (positive, negative) = (mean(data, labels, true), mean(data, labels, false));
    let mut weights: Vec<f64> = positive.iter().zip(&negative).map(|(p, n)| p - n).collect();
    let length = dot64(&weights, &weights).sqrt();
    if length <= 1e-12 {
        return Linear { weights: vec![0.0; columns], bias: 0.0 };
    }
    weights.iter_mut().for_each(|w| *w /= length);
    let middle: Vec<f64> = positive.iter().zip(&negative).map(|(p, n)| 0.5 * (p + n)).collect();
    let bias = -dot64(&weights, &middle);
    Linear { weights, bias }
}

fn mean(data: &Matrix, labels: &[bool], class: bool) -> Vec<f64> {
    let count = labels.iter().filter(|label| **label == class).count().max(1) as f64;
    let mut mean = vec![0.0; data.columns()];
    for (row, _) in data.rows().zip(labels).filter(|(_, label)| **label == class) {
        add_scaled(&mut mean, 1.0 / count, row);
    }
    mean
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn matrix(rows: &[[f32; 2]]) -> Matrix {
        let mut data = Matrix::new(2);
        for row in rows {
            data.push(row).unwrap();
        }
        data
    }

    #[test]
    fn the_direction_joins_the_means_and_its_middle_is_zero() {
        let data = matrix(&[[3.0, 4.0], [5.0, 4.0], [1.0, 1.0], [1.0, 1.0]]);
        let fitted = fit(&data, &[true, true, false, false]);
        // Means (4, 4) and (1, 1): direction (1, 1) / sqrt 2, middle (2.5, 2.5).
        assert!((fitted.weights[0] - 0.5f64.sqrt()).abs() < 1e-12);
        assert!((fitted.weights[1] - 0.5f64.sqrt()).abs() < 1e-12);
        assert!(fitted.logit(&[2.5, 2.5]).abs() < 1e-12);
        assert!(fitted.logit(&[4.0, 4.0]) > 0.0);
    }

    #[test]
    fn equal_means_and_absent_classes_give_no_direction() {
        let data = matrix(&[[1.0, 1.0], [1.0, 1.0]]);
        assert_eq!(fit(&data, &[true, false]).weights, [0.0, 0.0]);
    }
}
