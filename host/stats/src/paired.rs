//! Two models beside each other on the same prompts.

use crate::random::Random;

/// How often prompts and seeds are drawn again.
const RESAMPLES: usize = 2000;

/// The exact McNemar test (McNemar 1947, with the binomial distribution in place of chi-squared):
/// the two-sided p-value of `only_first` pairs in which the first alone has the property and
/// `only_second` in which the second alone has it, if either is as likely as the other.
pub fn mcnemar_exact(only_first: usize, only_second: usize) -> f64 {
    let (n, fewer) = (only_first + only_second, only_first.min(only_second));
    // ln of C(n, k) / 2^n, from k to k + 1.
    let mut ln = -(n as f64) * std::f64::consts::LN_2;
    let mut tail = ln.exp();
    for k in 0..fewer {
        ln += ((n - k) as f64 / (k + 1) as f64).ln();
        tail += ln.exp();
    }
    (2.0 * tail).min(1.0)
}

/// A mean over seeds and prompts, with its 95% interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Resampled {
    /// Over all values.
    pub mean: f64,
    /// Low and high.
    pub interval: (f64, f64),
}

/// The mean of `values`, per seed one value per prompt in the same order, with the percentile
/// interval of a bootstrap that draws seeds and prompts anew, each with replacement (the pigeonhole
/// bootstrap, Owen 2007): prompts of one seed share a model, seeds of one prompt share the prompt.
/// Nothing for no values, or seeds of different lengths.
pub fn resampled_95(values: &[Vec<f64>]) -> Option<Resampled> {
    let (seeds, prompts) = (values.len(), values.first()?.len());
    if prompts == 0 || values.iter().any(|seed| seed.len() != prompts) {
        return None;
    }
    let count = (seeds * prompts) as f64;
    let mean = values.iter().flatten().sum::<f64>() / count;
    let mut random = Random::new(0);
    let mut draw = |below: usize| ((random.uniform() * below as f64) as usize).min(below - 1);
    let mut means: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let drawn: Vec<usize> = (0..prompts).map(|_| draw(prompts)).collect();
            let of_seed = |seed: &Vec<f64>| drawn.iter().map(|at| seed[*at]).sum::<f64>();
            let sums: Vec<f64> = values.iter().map(of_seed).collect();
            (0..seeds).map(|_| sums[draw(seeds)]).sum::<f64>() / count
        })
        .collect();
    means.sort_by(f64::total_cmp);
    let at = |share: f64| means[(share * (means.len() - 1) as f64).round() as usize];
    Some(Resampled { mean, interval: (at(0.025), at(0.975)) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn golden_p_values() {
        // Binomial tails by hand: 2 * (1 + 5) / 32, and 2 / 2^10.
        assert!((mcnemar_exact(1, 4) - 0.375).abs() < 1e-12);
        assert!((mcnemar_exact(10, 0) - 2.0 / 1024.0).abs() < 1e-12);
        assert_eq!(mcnemar_exact(0, 0), 1.0);
        assert_eq!(mcnemar_exact(7, 7), 1.0);
        // Agresti, Categorical Data Analysis: 86 and 150 approve once only; chi-squared 17.4.
        let p = mcnemar_exact(86, 150);
        assert!(p > 1e-5 && p < 1e-4, "{p}");
        assert_eq!(mcnemar_exact(150, 86), p);
        assert!(mcnemar_exact(5000, 5000) == 1.0 && mcnemar_exact(0, 5000) < 1e-300);
    }

    #[test]
    fn one_seed_has_the_interval_of_its_prompts() {
        // 300 of 1000: standard error 0.0145.
        let seed: Vec<f64> = (0..1000).map(|n| f64::from(u8::from(n % 10 < 3))).collect();
        let Resampled { mean, interval: (low, high) } = resampled_95(&[seed]).unwrap();
        assert!((mean - 0.3).abs() < 1e-12);
        assert!((low - 0.2716).abs() < 4e-3 && (high - 0.3284).abs() < 4e-3, "{low} {high}");
    }

    #[test]
    fn seeds_that_differ_widen_the_interval_and_equal_ones_do_not() {
        let seed = |every: usize| -> Vec<f64> {
            (0..400).map(|n| f64::from(u8::from(n % every == 0))).collect()
        };
        let width = |values: &[Vec<f64>]| {
            let (low, high) = resampled_95(values).unwrap().interval;
            high - low
        };
        let one = width(&[seed(4)]);
        let equal = width(&[seed(4), seed(4), seed(4)]);
        assert!((one - equal).abs() < 0.01, "{one} {equal}");
        assert!(width(&[seed(2), seed(4), seed(8)]) > 2.0 * one);
    }

    #[test]
    fn what_is_not_paired_has_no_mean() {
        assert_eq!(resampled_95(&[]), None);
        assert_eq!(resampled_95(&[vec![]]), None);
        assert_eq!(resampled_95(&[vec![1.0], vec![1.0, 0.0]]), None);
    }
}
