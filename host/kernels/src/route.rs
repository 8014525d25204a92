//! The router of a mixture of experts (Shazeer et al. 2017, arXiv 1701.06538): the softmax over
//! all experts, the likeliest of them, and what their outputs are weighted with.

use super::simd::sum_pairs;
use super::softmax;

/// Replaces the logits of one row by probabilities, and gives its experts, the likeliest first
/// (of equal ones the first), with their weights: their probabilities, or with `normalize` the
/// softmax over the chosen ones alone.
pub fn choose(row: &mut [f32], normalize: bool, chosen: &mut [u32], weights: &mut [f32]) {
    let (_, sum) = softmax::exponentiate(row, 1.0);
    softmax::scale(row, 1.0 / sum);
    for (rank, weight) in weights.iter_mut().enumerate().take(chosen.len()) {
        let (before, rest) = chosen.split_at_mut(rank);
        let free = (0..row.len()).filter(|expert| !before.contains(&(*expert as u32)));
        // What is no number is never larger: then the first ones are taken.
        let best = free.reduce(|best, other| if row[other] > row[best] { other } else { best });
        let best = best.unwrap_or(0);
        rest[0] = best as u32;
        *weight = row[best];
    }
    if normalize {
        let sum: f32 = weights.iter().sum();
        softmax::scale(weights, 1.0 / sum);
    }
}

/// What [`choose`] gave for one row.
#[derive(Clone, Copy)]
pub struct Choice<'a> {
    /// Of all experts.
    pub probabilities: &'a [f32],
    /// Experts.
    pub chosen: &'a [u32],
    /// Of the chosen ones.
    pub weights: &'a [f32],
}

/// The gradient of one row's logits from that of its weights; the choice itself is a constant.
pub fn slopes(choice: Choice, normalize: bool, dweights: &[f32], dlogits: &mut [f32]) {
    let mean: f32 = choice.weights.iter().zip(dweights).map(|(w, g)| w * g).sum();
    if normalize {
        dlogits.fill(0.0);
    } else {
        dlogits.iter_mut().zip(choice.probabilities).for_each(|(d, p)| *d = -p * mean);
    }
    let chosen = choice.chosen.iter().zip(choice.weights).zip(dweights);
    for ((expert, w), g) in chosen {
        let own = if normalize { w * (g - mean) } else { w * g };
        dlogits[*expert as usize] += own;
    }
}

simd! {
/// y += factor * x
pub fn add_scaled(y: &mut [f32], x: &[f32], factor: f32) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += factor * x;
    }
}
}

simd! {
/// The scalar product of two rows.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    sum_pairs(a, b, |a, b| a * b)
}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(logits: &[f32], normalize: bool, chosen: &[u32]) -> Vec<f64> {
        let exps: Vec<f64> = logits.iter().map(|x| f64::from(*x).exp()).collect();
        let of = |expert: &u32| exps[*expert as usize];
        let sum: f64 = if normalize { chosen.iter().map(of).sum() } else { exps.iter().sum() };
        chosen.iter().map(|expert| of(expert) / sum).collect()
    }

    #[test]
    fn the_likeliest_experts_are_chosen_in_order() {
        let logits = [0.5f32, 2.0, -1.0, 2.0, 1.5];
        for normalize in [false, true] {
            let (mut row, mut chosen, mut found) = (logits, [0; 3], [0f32; 3]);
            choose(&mut row, normalize, &mut chosen, &mut found);
            assert_eq!(chosen, [1, 3, 4]);
            for (found, exact) in found.iter().zip(weights(&logits, normalize, &chosen)) {
                assert!((f64::from(*found) - exact).abs() < 1e-6);
            }
        }
        let (mut row, mut chosen, mut found) = ([f32::NAN; 3], [0; 2], [0f32; 2]);
        choose(&mut row, true, &mut chosen, &mut found);
        assert_eq!(chosen, [0, 1]);
    }

    #[test]
    fn slopes_of_the_router_match_central_differences() {
        let logits = [0.5f32, 2.0, -1.0, 0.7, 1.5];
        let g = [0.3f32, -0.8];
        for normalize in [false, true] {
            let (mut row, mut chosen, mut found) = (logits, [0; 2], [0f32; 2]);
            choose(&mut row, normalize, &mut chosen, &mut found);
            let choice = Choice { probabilities: &row, chosen: &chosen, weights: &found };
            let mut slopes = [0f32; 5];
            super::slopes(choice, normalize, &g, &mut slopes);
            for (at, slope) in slopes.iter().enumerate() {
                let value = |step: f32| -> f64 {
                    let mut moved = logits;
                    moved[at] += step;
                    let found = weights(&moved, normalize, &chosen);
                    found.iter().zip(g).map(|(w, g)| w * f64::from(g)).sum()
                };
                let step = 1.0 / 128.0;
                let exact = (value(step) - value(-step)) / (2.0 * f64::from(step));
                assert!(
                    (f64::from(*slope) - exact).abs() < 1e-5,
                    "{normalize} {at}: {slope} {exact}"
                );
            }
        }
    }
}
