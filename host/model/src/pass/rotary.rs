//! Rotation angles of the positions of a batch.

use crate::config::{Config, RopeScaling};

/// cos and sin per row: [rows, rotary_dim / 2], scaled by the attention factor.
pub(crate) struct Angles {
    pub cos: Vec<f32>,
    pub sin: Vec<f32>,
    pub half: usize,
}

impl Angles {
    /// `rows` gives the position of every row and the length of its sequence,
    /// which LongRoPE chooses its factors by.
    pub fn new(config: &Config, rows: impl Iterator<Item = (usize, usize)>) -> Self {
        let half = config.rotary_dim() / 2;
        let (short, scale) = frequencies(config, false);
        let (long, _) = frequencies(config, true);
        let original = match &config.rope.scaling {
            RopeScaling::LongRope { original_max_position, .. } => *original_max_position,
            _ => usize::MAX,
        };
        let (mut cos, mut sin) = (Vec::new(), Vec::new());
        for (position, length) in rows {
            let table = if length > original { &long } else { &short };
            for frequency in table {
                // Models are trained with angles in single precision.
                let angle = position as f32 * frequency;
                cos.push(angle.cos() * scale);
                sin.push(angle.sin() * scale);
            }
        }
        Self { cos, sin, half }
    }
}

/// Frequencies per pair of dimensions, and the factor on cos and sin.
fn frequencies(config: &Config, long: bool) -> (Vec<f32>, f32) {
    let dim = config.rotary_dim();
    let base = (0..dim / 2).map(|pair| {
        let exponent = 2.0 * pair as f64 / dim as f64;
        1.0 / config.rope.theta.powf(exponent)
    });
    let divided = |factors: &[f64]| {
        base.clone().zip(factors).map(|(frequency, factor)| (frequency / factor) as f32).collect()
    };
    match &config.rope.scaling {
        RopeScaling::None => (base.map(|f| f as f32).collect(), 1.0),
        RopeScaling::Linear { factor } => (base.map(|f| (f / factor) as f32).collect(), 1.0),
        RopeScaling::Factors { factors } => (divided(factors), 1.0),
        RopeScaling::LongRope { short_factor, long_factor, attention_factor, .. } => {
            let factors = if long { long_factor } else { short_factor };
            (divided(factors), *attention_factor as f32)
        }
        RopeScaling::Llama3 {
            factor,
            low_freq_factor,
            high_freq_factor,
            original_max_position,
        } => {
            let ramp = |frequency: f64| {
                let turns = *original_max_position as f64 * frequency / std::f64::consts::TAU;
                // 0 below the low factor (stretched), 1 above the high (kept).
                let kept = (turns - low_freq_factor) / (high_freq_factor - low_freq_factor);
                let kept = kept.clamp(0.0, 1.0);
                (kept * frequency + (1.0 - kept) * frequency / factor) as f32
            };
            (base.map(ramp).collect(), 1.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::families::tests::tiny;

    /// A llama3 ramp keeps fast frequencies, divides slow ones by the factor.
    #[test]
    fn llama3_keeps_fast_and_divides_slow_frequencies() {
        let mut config = tiny();
        config.head_dim = 64;
        config.rope.theta = 500_000.0;
        let plain = frequencies(&config, false).0;
        config.rope.scaling = RopeScaling::Llama3 {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position: 8192,
        };
        let scaled = frequencies(&config, false).0;
        assert_eq!(plain[0], scaled[0]);
        assert_eq!(plain[31] / 8.0, scaled[31]);
        assert!(scaled.windows(2).all(|pair| pair[0] > pair[1]));
        assert!(scaled.iter().zip(&plain).all(|(s, p)| s <= p));
    }

    /// A sequence within the original context takes the short factors, a
    /// longer one the long factors; both carry the attention factor.
    #[test]
    fn longrope_chooses_factors_by_sequence_length() {
        let mut config = tiny();
        let half = config.rotary_dim() / 2;
        config.rope.scaling = RopeScaling::LongRope {
            short_factor: vec![1.0; half],
            long_factor: vec![4.0; half],
            original_max_position: 16,
            attention_factor: 1.25,
        };
        let short = Angles::new(&config, [(4, 16)].into_iter());
        let long = Angles::new(&config, [(4, 17)].into_iter());
        let slow = Angles::new(&config, [(1, 16)].into_iter());
        assert_ne!(short.cos, long.cos);
        assert_eq!(long.cos, slow.cos);
        assert_eq!(short.cos[0], 4f32.cos() * 1.25);
    }
}
