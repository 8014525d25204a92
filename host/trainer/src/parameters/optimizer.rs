//! AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101) with visible state.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::PART;

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AdamWConfig {
    pub beta1: f64,
    pub beta2: f64,
    pub epsilon: f64,
    pub weight_decay: f64,
}

/// First and second moments over the flat parameter vector, and how many updates
/// they have seen. Everything a checkpoint needs.
#[derive(Debug, Clone, PartialEq)]
pub struct AdamW {
    config: AdamWConfig,
    pub first: Vec<f32>,
    pub second: Vec<f32>,
    pub updates: u64,
}

impl AdamW {
    /// Values it keeps for each parameter.
    pub const MOMENTS: usize = 2;

    pub fn new(config: AdamWConfig, parameters: usize) -> Self {
        Self { config, first: vec![0.0; parameters], second: vec![0.0; parameters], updates: 0 }
    }

    /// An optimizer of the same settings, with moments that have seen `updates` updates.
    pub fn resumed(&self, first: Vec<f32>, second: Vec<f32>, updates: u64) -> Self {
        Self { config: self.config, first, second, updates }
    }

    /// One update of `parameters` in place. All three slices have the same length.
    pub fn step(&mut self, parameters: &mut [f32], gradient: &[f32], learning_rate: f64) {
        let AdamWConfig { beta1, beta2, epsilon, weight_decay } = self.config;
        self.updates += 1;
        let count = self.updates.min(i32::MAX as u64) as i32;
        let correction1 = 1.0 - beta1.powi(count);
        let correction2 = 1.0 - beta2.powi(count);
        let step = (learning_rate / correction1) as f32;
        let root = (1.0 / correction2.sqrt()) as f32;
        let keep = (1.0 - learning_rate * weight_decay) as f32;
        let (b1, b2, eps) = (beta1 as f32, beta2 as f32, epsilon as f32);
        let moments = self.first.par_chunks_mut(PART).zip(self.second.par_chunks_mut(PART));
        let values = parameters.par_chunks_mut(PART).zip(gradient.par_chunks(PART));
        values.zip(moments).for_each(|((values, gradient), (first, second))| {
            let moments = first.iter_mut().zip(second);
            for ((value, gradient), (first, second)) in values.iter_mut().zip(gradient).zip(moments)
            {
                *first = b1 * *first + (1.0 - b1) * gradient;
                *second = b2 * *second + (1.0 - b2) * gradient * gradient;
                *value = keep * *value - step * *first / (second.sqrt() * root + eps);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: AdamWConfig =
        AdamWConfig { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0 };

    #[test]
    fn the_first_update_moves_by_the_learning_rate() {
        let mut adam = AdamW::new(CONFIG, 2);
        let mut values = [1.0, -2.0];
        adam.step(&mut values, &[0.5, -3.0], 0.1);
        assert!((values[0] - 0.9).abs() < 1e-6, "{values:?}");
        assert!((values[1] + 1.9).abs() < 1e-6, "{values:?}");
    }

    #[test]
    fn weight_decay_is_decoupled_from_the_gradient() {
        let mut adam = AdamW::new(AdamWConfig { weight_decay: 0.1, ..CONFIG }, 1);
        let mut values = [2.0];
        adam.step(&mut values, &[0.0], 0.5);
        assert!((values[0] - 1.9).abs() < 1e-6, "{values:?}");
    }

    #[test]
    fn follows_the_reference_recursion_for_several_steps() {
        let (mut adam, mut values) = (AdamW::new(CONFIG, 1), [1.0f32]);
        let (mut m, mut v, mut x) = (0.0f64, 0.0f64, 1.0f64);
        for t in 1..=20 {
            let g = (t as f64 * 0.7).sin();
            m = 0.9 * m + 0.1 * g;
            v = 0.999 * v + 0.001 * g * g;
            x -= 0.01 * (m / (1.0 - 0.9f64.powi(t)))
                / ((v / (1.0 - 0.999f64.powi(t))).sqrt() + 1e-8);
            adam.step(&mut values, &[g as f32], 0.01);
        }
        assert!((f64::from(values[0]) - x).abs() < 1e-5, "{} {x}", values[0]);
    }
}
