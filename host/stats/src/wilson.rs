//! Intervals of rates.

/// The 0.975 quantile of the standard normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// The Wilson score interval (Wilson 1927) of `hits` out of `total` at 95%
/// confidence, low and high, in [0, 1]; nothing if the total is 0.
pub fn wilson_95(hits: usize, total: usize) -> Option<(f64, f64)> {
    if total == 0 {
        return None;
    }
    let n = total as f64;
    let share = hits as f64 / n;
    let centre = share + Z * Z / (2.0 * n);
    let spread = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    Some((((centre - spread) / scale).clamp(0.0, 1.0), ((centre + spread) / scale).clamp(0.0, 1.0)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn assert_interval(hits: usize, total: usize, low: f64, high: f64) {
        let found = wilson_95(hits, total).unwrap();
        assert!((found.0 - low).abs() < 5e-5 && (found.1 - high).abs() < 5e-5, "{found:?}");
    }

    #[test]
    fn golden_intervals() {
        assert_interval(0, 10, 0.0, 0.2775);
        assert_interval(10, 10, 0.7225, 1.0);
        assert_interval(5, 10, 0.2366, 0.7634);
        // Newcombe 1998, Table I, method 3: 81 of 263 and 15 of 148.
        assert_interval(81, 263, 0.2553, 0.3662);
        assert_interval(15, 148, 0.0624, 0.1605);
        assert_eq!(wilson_95(0, 0), None);
    }
}
