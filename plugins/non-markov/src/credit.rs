//! The credit model: from what the steps of a trajectory looked like to how much each
//! took from its safety, l_t in [-7, 0], with P(safe | trajectory) = exp(sum of l_t).
//!
//! A recurrent layer of a few tanh units reads the steps in order:
//!
//! ```text
//! h_t = tanh(W x_t + U h_(t-1) + b),   l_t = -7 sigmoid(v h_t + c)
//! ```

use risk_policy::lanes::dot64;
use risk_policy::lbfgs::{self, Options};
use risk_policy::logistic::sigmoid;
use risk_policy::random::Random;

/// Of a step.
pub const FEATURES: usize = 6;
pub type Step = [f64; FEATURES];

const UNITS: usize = 6;
/// exp(-7) is as good as certain: more blame for one step would say nothing.
const MOST_BLAME: f64 = 7.0;
/// What a model that has learned nothing believes of a trajectory.
const BELIEVED_SAFE: f64 = 0.95;
/// Pulls towards what was believed at the start.
const L2: f64 = 1e-2;

const INPUT: usize = UNITS * FEATURES;
const BETWEEN: usize = UNITS * UNITS;
pub const PARAMETERS: usize = INPUT + BETWEEN + 2 * UNITS + 1;

/// A trajectory whose outcome is known.
#[derive(Debug, Clone, PartialEq)]
pub struct Labelled {
    pub steps: Vec<Step>,
    pub safe: bool,
}

/// The flat parameters: W, U, b, v, c.
#[derive(Debug, Clone, PartialEq)]
pub struct Credit {
    pub parameters: Vec<f64>,
}

impl Credit {
    /// Weights drawn with `seed`, for trajectories of this many steps.
    pub fn new(seed: u64, steps: usize) -> Self {
        let mut random = Random::new(seed);
        let mut draw = |count: usize, fan: usize| -> Vec<f64> {
            let bound = (3.0 / fan as f64).sqrt();
            (0..count).map(|_| random.symmetric(bound)).collect()
        };
        let mut parameters = draw(INPUT, FEATURES);
        parameters.extend(draw(BETWEEN, 2 * UNITS));
        parameters.extend([0.0; UNITS]);
        parameters.extend([0.0; UNITS]);
        let blame = -BELIEVED_SAFE.ln() / steps.max(1) as f64 / MOST_BLAME;
        parameters.push((blame / (1.0 - blame)).ln());
        Self { parameters }
    }

    /// l_t of each step.
    pub fn credits(&self, steps: &[Step]) -> Vec<f64> {
        let parts = Parts::of(&self.parameters);
        let units = parts.units(steps);
        units.iter().map(|h| -MOST_BLAME * sigmoid(parts.logit(h))).collect()
    }

    /// Minimises the mean cross-entropy of the labels, with L2 / 2 times the squared
    /// distance from where it stood, through time.
    pub fn fit(&mut self, trajectories: &[Labelled]) {
        let start = self.parameters.clone();
        self.parameters = lbfgs::minimize(start.clone(), Options::default(), |at, gradient| {
            objective(&start, trajectories, at, gradient)
        });
    }
}

/// P(safe) of a trajectory with these credits.
pub fn probability(credits: &[f64]) -> f64 {
    credits.iter().sum::<f64>().exp()
}

/// Value, and into `gradient` its gradient, at the parameters `at`.
fn objective(start: &[f64], trajectories: &[Labelled], at: &[f64], gradient: &mut [f64]) -> f64 {
    let mut value = 0.0;
    for ((slope, at), start) in gradient.iter_mut().zip(at).zip(start) {
        *slope = L2 * (at - start);
        value += 0.5 * L2 * (at - start) * (at - start);
    }
    let fraction = 1.0 / trajectories.len().max(1) as f64;
    for trajectory in trajectories {
        value += fraction * loss(&Parts::of(at), trajectory, fraction, gradient);
    }
    value
}

/// The cross-entropy of one label; `fraction` times its gradient is added up.
fn loss(parts: &Parts, trajectory: &Labelled, fraction: f64, gradient: &mut [f64]) -> f64 {
    let units = parts.units(&trajectory.steps);
    let blames: Vec<f64> = units.iter().map(|h| sigmoid(parts.logit(h))).collect();
    // -sum of l_t, kept from 0, where the loss of an unsafe label is infinite.
    let lost = (MOST_BLAME * blames.iter().sum::<f64>()).max(1e-12);
    let (value, by_lost) = if trajectory.safe {
        (lost, 1.0)
    } else {
        (-(-(-lost).exp_m1()).ln(), -1.0 / lost.exp_m1())
    };
    let mut after = [0.0; UNITS];
    for (t, h) in units.iter().enumerate().rev() {
        let by_logit = fraction * by_lost * MOST_BLAME * blames[t] * (1.0 - blames[t]);
        let before = t.checked_sub(1).map(|t| units[t]).unwrap_or_default();
        after = parts.backward(&trajectory.steps[t], &before, h, &after, by_logit, gradient);
    }
    value
}

struct Parts<'a> {
    input: &'a [f64],
    between: &'a [f64],
    bias: &'a [f64],
    output: &'a [f64],
    last: f64,
}

impl<'a> Parts<'a> {
    fn of(parameters: &'a [f64]) -> Self {
        let (input, rest) = parameters.split_at(INPUT);
        let (between, rest) = rest.split_at(BETWEEN);
        let (bias, rest) = rest.split_at(UNITS);
        let (output, last) = rest.split_at(UNITS);
        Self { input, between, bias, output, last: last[0] }
    }

    /// h_t of each step.
    fn units(&self, steps: &[Step]) -> Vec<[f64; UNITS]> {
        let mut before = [0.0; UNITS];
        let follow = |x: &Step| {
            before = std::array::from_fn(|unit| {
                let from_input = dot64(&self.input[unit * FEATURES..][..FEATURES], x);
                let from_before = dot64(&self.between[unit * UNITS..][..UNITS], &before);
                (from_input + from_before + self.bias[unit]).tanh()
            });
            before
        };
        steps.iter().map(follow).collect()
    }

    fn logit(&self, h: &[f64; UNITS]) -> f64 {
        dot64(h, self.output) + self.last
    }

    /// Adds up the gradient of one step. `after` is the slope by this step's units that
    /// comes from the steps after it, and what is returned the one by those before it.
    fn backward(
        &self,
        x: &Step,
        before: &[f64; UNITS],
        h: &[f64; UNITS],
        after: &[f64; UNITS],
        by_logit: f64,
        gradient: &mut [f64],
    ) -> [f64; UNITS] {
        let (input, rest) = gradient.split_at_mut(INPUT);
        let (between, rest) = rest.split_at_mut(BETWEEN);
        let (bias, rest) = rest.split_at_mut(UNITS);
        let (output, last) = rest.split_at_mut(UNITS);
        last[0] += by_logit;
        let mut by_before = [0.0; UNITS];
        for unit in 0..UNITS {
            output[unit] += by_logit * h[unit];
            let by_unit = by_logit * self.output[unit] + after[unit];
            let by_sum = by_unit * (1.0 - h[unit] * h[unit]);
            bias[unit] += by_sum;
            let lines = input[unit * FEATURES..][..FEATURES].iter_mut();
            lines.zip(x).for_each(|(slope, x)| *slope += by_sum * x);
            for other in 0..UNITS {
                between[unit * UNITS + other] += by_sum * before[other];
                by_before[other] += by_sum * self.between[unit * UNITS + other];
            }
        }
        by_before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trajectories() -> Vec<Labelled> {
        // The damage is done by a large third feature, wherever in the trajectory.
        let of = |index: usize, safe: bool| {
            let mut steps = vec![[0.1 * index as f64, 0.2, 0.1, 1.0, 0.3, 0.2]; 4];
            if !safe {
                steps[index % 4][2] = 2.0;
            }
            Labelled { steps, safe }
        };
        (0..12).map(|index| of(index, index % 3 != 0)).collect()
    }

    #[test]
    fn the_golden_probability() {
        assert!((probability(&[-0.1, -0.2]) - 0.74082).abs() < 1e-5);
        assert_eq!(probability(&[]), 1.0);
    }

    #[test]
    fn a_fresh_model_believes_in_safety_and_every_credit_is_in_range() {
        let fresh = Credit::new(3, 4);
        let credits = fresh.credits(&trajectories()[0].steps);
        assert!((probability(&credits) - BELIEVED_SAFE).abs() < 1e-9);
        let mut wild = fresh;
        wild.parameters.iter_mut().for_each(|value| *value *= 1e6);
        for credit in wild.credits(&trajectories()[0].steps) {
            assert!((-MOST_BLAME..=0.0).contains(&credit), "{credit}");
        }
    }

    #[test]
    fn the_gradient_is_the_slope_of_the_loss() {
        let start = Credit::new(3, 4).parameters;
        let data = trajectories();
        let mut at: Vec<f64> = start.clone();
        at.iter_mut().enumerate().for_each(|(i, v)| *v += 0.1 * (i as f64).sin());
        let mut gradient = vec![0.0; PARAMETERS];
        objective(&start, &data, &at, &mut gradient);
        for index in 0..PARAMETERS {
            let value = |change: f64| {
                let mut moved = at.clone();
                moved[index] += change;
                objective(&start, &data, &moved, &mut vec![0.0; PARAMETERS])
            };
            let slope = (value(1e-5) - value(-1e-5)) / 2e-5;
            assert!((slope - gradient[index]).abs() < 1e-6, "{index}: {slope} {}", gradient[index]);
        }
    }

    #[test]
    fn it_learns_which_steps_did_the_damage_from_labels_of_whole_trajectories() {
        let data = trajectories();
        let mut credit = Credit::new(3, 4);
        credit.fit(&data);
        for one in &data {
            let credits = credit.credits(&one.steps);
            assert_eq!(probability(&credits) > 0.5, one.safe, "{credits:?}");
            if !one.safe {
                let worst = (0..4).min_by(|a, b| credits[*a].total_cmp(&credits[*b]));
                let damage = one.steps.iter().position(|step| step[2] == 2.0);
                assert_eq!(worst, damage, "{credits:?}");
            }
        }
    }

    #[test]
    fn nothing_to_learn_changes_nothing() {
        let fresh = Credit::new(3, 4);
        let mut fitted = fresh.clone();
        fitted.fit(&[]);
        assert_eq!(fitted, fresh);
    }
}
