//! Minimising a smooth function: limited-memory BFGS.
//!
//! Nocedal and Wright, Numerical Optimization (2006), algorithms 7.4 and 7.5, with
//! a backtracking line search. Full batches and no random number: the same input
//! gives the same minimum.

use crate::lanes::{add_scaled64, dot64};

/// When to stop.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Iterations after which it gives up.
    pub max_iterations: usize,
    /// Largest absolute component of the gradient at which it is done.
    pub tolerance: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self { max_iterations: 200, tolerance: 1e-6 }
    }
}

/// Pairs of steps and gradient changes that are remembered.
const MEMORY: usize = 10;
/// Armijo's constant: a step must gain this share of what the slope promises.
const SUFFICIENT: f64 = 1e-4;

/// Minimises `function` from `start` and returns the point reached.
///
/// `function` writes the gradient at its first argument into its second and
/// returns the value.
pub fn minimize(
    start: Vec<f64>,
    options: Options,
    mut function: impl FnMut(&[f64], &mut [f64]) -> f64,
) -> Vec<f64> {
    let mut point = start;
    let mut gradient = vec![0.0; point.len()];
    let mut value = function(&point, &mut gradient);
    let mut history = History::default();
    for _ in 0..options.max_iterations {
        if gradient.iter().all(|g| g.abs() <= options.tolerance) {
            break;
        }
        let mut direction = history.direction(&gradient);
        let mut slope = dot64(&direction, &gradient);
        if slope >= 0.0 {
            history = History::default();
            direction = gradient.iter().map(|g| -g).collect();
            slope = -dot64(&gradient, &gradient);
        }
        let first = if history.is_empty() { first_step(&gradient) } else { 1.0 };
        let search = Search { point: &point, direction: &direction, value, slope };
        let Some(reached) = search.run(first, &mut function) else {
            break;
        };
        let gain = value - reached.value;
        history.push(&point, &gradient, &reached);
        (point, gradient, value) = (reached.point, reached.gradient, reached.value);
        if gain <= 1e-12 * value.abs().max(1e-12) {
            break;
        }
    }
    point
}

fn first_step(gradient: &[f64]) -> f64 {
    1.0 / dot64(gradient, gradient).sqrt().max(1.0)
}

struct Reached {
    point: Vec<f64>,
    gradient: Vec<f64>,
    value: f64,
}

struct Search<'a> {
    point: &'a [f64],
    direction: &'a [f64],
    value: f64,
    slope: f64,
}

impl Search<'_> {
    fn run(
        &self,
        first: f64,
        function: &mut impl FnMut(&[f64], &mut [f64]) -> f64,
    ) -> Option<Reached> {
        let mut step = first;
        let mut gradient = vec![0.0; self.point.len()];
        for _ in 0..40 {
            let mut point = self.point.to_vec();
            add_scaled64(&mut point, step, self.direction);
            let value = function(&point, &mut gradient);
            if value <= self.value + SUFFICIENT * step * self.slope {
                return Some(Reached { point, gradient, value });
            }
            step *= 0.5;
        }
        None
    }
}

/// The last steps s, gradient changes y and 1 / (y . s), oldest first.
#[derive(Default)]
struct History {
    pairs: Vec<(Vec<f64>, Vec<f64>, f64)>,
}

impl History {
    fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    fn push(&mut self, point: &[f64], gradient: &[f64], reached: &Reached) {
        let s = difference(&reached.point, point);
        let y = difference(&reached.gradient, gradient);
        let curvature = dot64(&y, &s);
        // Without positive curvature the pair would turn the direction uphill.
        if curvature <= 1e-10 * dot64(&y, &y) {
            return;
        }
        if self.pairs.len() == MEMORY {
            self.pairs.remove(0);
        }
        self.pairs.push((s, y, 1.0 / curvature));
    }

    /// The two-loop recursion.
    fn direction(&self, gradient: &[f64]) -> Vec<f64> {
        let mut q: Vec<f64> = gradient.iter().map(|g| -g).collect();
        let mut alphas = Vec::with_capacity(self.pairs.len());
        for (s, y, rho) in self.pairs.iter().rev() {
            let alpha = rho * dot64(s, &q);
            add_scaled64(&mut q, -alpha, y);
            alphas.push(alpha);
        }
        if let Some((_, y, rho)) = self.pairs.last() {
            let scale = 1.0 / (rho * dot64(y, y));
            q.iter_mut().for_each(|v| *v *= scale);
        }
        for ((s, y, rho), alpha) in self.pairs.iter().zip(alphas.iter().rev()) {
            let beta = rho * dot64(y, &q);
            add_scaled64(&mut q, alpha - beta, s);
        }
        q
    }
}

fn difference(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_badly_scaled_quadratic_is_solved() {
        let scales = [1.0, 10.0, 100.0, 1000.0];
        let found = minimize(vec![5.0; 4], Options::default(), |x, g| {
            let mut value = 0.0;
            for i in 0..4 {
                let d = x[i] - i as f64;
                g[i] = scales[i] * d;
                value += 0.5 * scales[i] * d * d;
            }
            value
        });
        for (i, x) in found.iter().enumerate() {
            assert!((x - i as f64).abs() < 1e-5, "{found:?}");
        }
    }

    #[test]
    fn rosenbrocks_valley_is_followed_to_its_end() {
        let found = minimize(vec![-1.2, 1.0], Options::default(), |x, g| {
            let (a, b) = (1.0 - x[0], x[1] - x[0] * x[0]);
            g[0] = -2.0 * a - 400.0 * x[0] * b;
            g[1] = 200.0 * b;
            a * a + 100.0 * b * b
        });
        assert!((found[0] - 1.0).abs() < 1e-4 && (found[1] - 1.0).abs() < 1e-4, "{found:?}");
    }

    #[test]
    fn a_function_that_is_nowhere_finite_ends_the_search() {
        let found = minimize(vec![1.0], Options::default(), |_, g| {
            g[0] = 1.0;
            f64::NAN
        });
        assert_eq!(found, [1.0]);
    }
}
