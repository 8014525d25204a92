//! Standardised features.
//!
//! A few units of the residual stream of a language model reach several hundred
//! while most stay near 1, so nothing can be fitted on raw activations.

use crate::matrix::Matrix;

/// x -> (x - mean) * scale, per feature.
#[derive(Debug, Clone, PartialEq)]
pub struct Standardizer {
    pub mean: Vec<f32>,
    /// 1 / standard deviation; 0 for a feature that never changed, which is
    /// thereby ignored.
    pub scale: Vec<f32>,
}

impl Standardizer {
    /// Mean and standard deviation (over n, not n - 1) of each column.
    pub fn fit(data: &Matrix) -> Self {
        let n = data.len().max(1) as f64;
        let mut mean = vec![0.0f64; data.columns()];
        for row in data.rows() {
            crate::lanes::add_scaled(&mut mean, 1.0 / n, row);
        }
        let mut variance = vec![0.0f64; data.columns()];
        for row in data.rows() {
            for ((v, x), m) in variance.iter_mut().zip(row).zip(&mean) {
                let d = f64::from(*x) - m;
                *v += d * d / n;
            }
        }
        let scale = variance.iter().zip(&mean).map(|(v, m)| inverse_deviation(*v, *m)).collect();
        Self { mean: mean.iter().map(|m| *m as f32).collect(), scale }
    }

    /// Standardises one row in place.
    pub fn apply(&self, row: &mut [f32]) {
        for ((x, m), s) in row.iter_mut().zip(&self.mean).zip(&self.scale) {
            *x = (*x - m) * s;
        }
    }

    /// Standardises all rows.
    pub fn apply_all(&self, data: &mut Matrix) {
        for row in data.rows_mut() {
            self.apply(row);
        }
    }
}

/// A deviation that is but rounding error of the mean counts as none.
fn inverse_deviation(variance: f64, mean: f64) -> f32 {
    let deviation = variance.sqrt();
    if deviation <= 1e-6 * mean.abs() || deviation < 1e-12 {
        return 0.0;
    }
    (1.0 / deviation) as f32
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn columns_get_mean_zero_and_deviation_one() {
        let mut data = Matrix::new(3);
        for row in [[1.0, 720.0, 5.0], [3.0, 722.0, 5.0], [5.0, 724.0, 5.0]] {
            data.push(&row).unwrap();
        }
        let standardizer = Standardizer::fit(&data);
        assert_eq!(standardizer.mean, [3.0, 722.0, 5.0]);
        standardizer.apply_all(&mut data);
        let first = data.rows().next().unwrap();
        let expected = -(1.5f32.sqrt());
        assert!((first[0] - expected).abs() < 1e-6 && (first[1] - expected).abs() < 1e-6);
        assert_eq!(first[2], 0.0);
    }

    #[test]
    fn a_constant_feature_stays_ignored_when_it_changes_later() {
        let mut data = Matrix::new(1);
        data.push(&[2.0]).unwrap();
        data.push(&[2.0]).unwrap();
        let standardizer = Standardizer::fit(&data);
        let mut row = [1e30];
        standardizer.apply(&mut row);
        assert_eq!(row, [0.0]);
    }
}
