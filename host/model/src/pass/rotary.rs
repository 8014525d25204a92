//! Rotation angles of the positions of a batch.

use crate::config::{Config, Rope, RopeScaling, llama3_kept};

/// cos and sin per row: [rows, rotary_dim / 2], scaled by the attention factor.
pub(crate) struct Angles {
    pub cos: Vec<f32>,
    pub sin: Vec<f32>,
    pub half: usize,
}

impl Angles {
    /// `rows` gives the position of every row and the length of its sequence, which LongRoPE chooses its factors by and
    /// dynamic scaling its base.
    fn new(rope: &Rope, dim: usize, rows: impl Iterator<Item = (usize, usize)>) -> Self {
        let half = dim / 2;
        let scale = attention_factor(&rope.scaling) as f32;
        // Rows of a sequence lie together.
        let mut table = (0, frequencies(rope, dim, 0));
        let (mut cos, mut sin) = (Vec::new(), Vec::new());
        for (position, length) in rows {
            let stretch = stretch(&rope.scaling, length);
            if stretch != table.0 {
                table = (stretch, frequencies(rope, dim, stretch));
            }
            for frequency in &table.1 {
                // Models are trained with angles in single precision.
                let angle = position as f32 * frequency;
                cos.push(angle.cos() * scale);
                sin.push(angle.sin() * scale);
            }
        }
        Self { cos, sin, half }
    }

    /// Half of the rotated dimensions, cos and sin.
    pub fn tables(&self) -> (usize, &[f32], &[f32]) {
        (self.half, &self.cos, &self.sin)
    }
}

/// Tables of every rope of a model.
pub(crate) struct Rotations<T = Angles> {
    global: T,
    /// Of the layers with a window, if theirs are others.
    local: Option<T>,
}

impl Rotations {
    /// `rows` as for [`Angles`].
    pub fn new(config: &Config, rows: impl Iterator<Item = (usize, usize)> + Clone) -> Self {
        let of = |rope: &Rope| Angles::new(rope, config.rotary_dim(), rows.clone());
        Self { global: of(&config.rope), local: config.local_rope.as_ref().map(of) }
    }

    /// Whether a position is rotated alike in all sequences.
    pub fn alike(config: &Config, sequences: impl Iterator<Item = std::ops::Range<usize>>) -> bool {
        let mut ropes = std::iter::once(&config.rope).chain(&config.local_rope);
        let lengths: Vec<usize> = sequences.map(|rows| rows.len()).collect();
        let of = |rope: &Rope| {
            let mut stretches = lengths.iter().map(|length| stretch(&rope.scaling, *length));
            let first = stretches.next();
            stretches.all(|other| Some(other) == first)
        };
        ropes.all(of)
    }

    /// The same in another form.
    pub fn try_map<T, E>(self, change: impl Fn(Angles) -> Result<T, E>) -> Result<Rotations<T>, E> {
        Ok(Rotations { global: change(self.global)?, local: self.local.map(change).transpose()? })
    }
}

impl<T> Rotations<T> {
    /// The table of a layer; none if it doesn't rotate.
    pub fn of(&self, config: &Config, layer: usize) -> Option<&T> {
        let rope = config.layer_rope(layer)?;
        let is_local = config.local_rope.as_ref() == Some(rope);
        Some(self.local.as_ref().filter(|_| is_local).unwrap_or(&self.global))
    }
}

/// What a sequence's length means for its frequencies: the same number, the same frequencies. 0 within the original
/// context; beyond it 1 where there is one more table, else the length.
fn stretch(scaling: &RopeScaling, length: usize) -> usize {
    match scaling {
        RopeScaling::LongRope { original_max_position, .. } => {
            usize::from(length > *original_max_position)
        }
        RopeScaling::Dynamic { original_max_position, .. } if length > *original_max_position => {
            length
        }
        _ => 0,
    }
}

/// Factor on cos and sin.
fn attention_factor(scaling: &RopeScaling) -> f64 {
    match scaling {
        RopeScaling::LongRope { attention_factor, .. }
        | RopeScaling::Yarn { attention_factor, .. } => *attention_factor,
        _ => 1.0,
    }
}

/// Frequencies per pair of dimensions, for sequences of that [`stretch`].
fn frequencies(rope: &Rope, dim: usize, stretch: usize) -> Vec<f32> {
    let theta = rope.theta;
    let powers =
        |theta: f64| (0..dim / 2).map(move |pair| 1.0 / theta.powf(2.0 * pair as f64 / dim as f64));
    let base = powers(theta);
    let divided = |factors: &[f64]| {
        base.clone().zip(factors).map(|(frequency, factor)| (frequency / factor) as f32).collect()
    };
    match &rope.scaling {
        RopeScaling::None => base.map(|f| f as f32).collect(),
        RopeScaling::Linear { factor } => base.map(|f| (f / factor) as f32).collect(),
        RopeScaling::Factors { factors } => divided(factors),
        RopeScaling::LongRope { short_factor, long_factor, .. } => {
            divided(if stretch > 0 { long_factor } else { short_factor })
        }
        RopeScaling::Dynamic { factor, original_max_position } => {
            let length = stretch.max(*original_max_position) as f64;
            let grown = factor * length / *original_max_position as f64 - (factor - 1.0);
            let exponent = dim as f64 / (dim as f64 - 2.0);
            powers(theta * grown.powf(exponent)).map(|f| f as f32).collect()
        }
        RopeScaling::Yarn {
            factor, original_max_position, beta_fast, beta_slow, truncate, ..
        } => {
            // The pair that turns this often within the original context.
            let pair = |turns: f64| {
                let wavelength = *original_max_position as f64 / (turns * std::f64::consts::TAU);
                dim as f64 * wavelength.ln() / (2.0 * theta.ln())
            };
            let (mut low, mut high) = (pair(*beta_fast), pair(*beta_slow));
            if *truncate {
                (low, high) = (low.floor(), high.ceil());
            }
            let (low, mut high) = (low.max(0.0), high.min(dim as f64 - 1.0));
            if low == high {
                high += 0.001;
            }
            let ramp = |(pair, frequency): (usize, f64)| {
                let divided = ((pair as f64 - low) / (high - low)).clamp(0.0, 1.0);
                (frequency / factor * divided + frequency * (1.0 - divided)) as f32
            };
            base.enumerate().map(ramp).collect()
        }
        RopeScaling::Llama3 {
            factor,
            low_freq_factor,
            high_freq_factor,
            original_max_position,
        } => {
            let bounds = (*low_freq_factor, *high_freq_factor);
            let ramp = |frequency: f64| {
                let kept = llama3_kept(frequency, bounds, *original_max_position);
                (kept * frequency + (1.0 - kept) * frequency / factor) as f32
            };
            base.map(ramp).collect()
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
        let plain = frequencies(&config.rope, config.rotary_dim(), 0);
        config.rope.scaling = RopeScaling::Llama3 {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position: 8192,
        };
        let scaled = frequencies(&config.rope, config.rotary_dim(), 0);
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
        let short = Angles::new(&config.rope, config.rotary_dim(), [(4, 16)].into_iter());
        let long = Angles::new(&config.rope, config.rotary_dim(), [(4, 17)].into_iter());
        let slow = Angles::new(&config.rope, config.rotary_dim(), [(1, 16)].into_iter());
        assert_ne!(short.cos, long.cos);
        assert_eq!(long.cos, slow.cos);
        assert_eq!(short.cos[0], 4f32.cos() * 1.25);
    }

    /// Frequencies and the factor on cos and sin, as the `ROPE_INIT_FUNCTIONS` of transformers 5.24 give them for a head
    /// of 16 values (to nine decimals).
    #[test]
    fn scaled_frequencies_are_those_of_transformers() {
        let yarn = RopeScaling::Yarn {
            factor: 4.0,
            original_max_position: 64,
            attention_factor: crate::config::yarn_attention_factor(4.0, 1.0),
            beta_fast: 32.0,
            beta_slow: 1.0,
            truncate: true,
        };
        let untruncated = RopeScaling::Yarn {
            factor: 8.0,
            original_max_position: 4096,
            // mscale 0.7, mscale_all_dim 0.4
            attention_factor: crate::config::yarn_attention_factor(8.0, 0.7)
                / crate::config::yarn_attention_factor(8.0, 0.4),
            beta_fast: 16.0,
            beta_slow: 2.0,
            truncate: false,
        };
        let dynamic = RopeScaling::Dynamic { factor: 2.0, original_max_position: 64 };
        let plain =
            [1.0, 0.316227764, 0.100000001, 0.031622779, 0.01, 0.003162278, 0.001, 0.000316228];
        let cases: [(&RopeScaling, f64, usize, [f64; 8], f64); 5] = [
            (
                &yarn,
                1e4,
                256,
                [
                    1.0,
                    0.237170815,
                    0.049999997,
                    0.007905695,
                    0.0025,
                    0.000790569,
                    0.00025,
                    7.9057e-05,
                ],
                1.138629436111989,
            ),
            (
                &untruncated,
                1e6,
                256,
                [
                    1.0,
                    0.177827939,
                    0.031622779,
                    0.002136701,
                    0.000125,
                    2.2228e-05,
                    3.953e-06,
                    7.03e-07,
                ],
                1.0575928109100559,
            ),
            (&dynamic, 1e4, 64, plain, 1.0),
            (
                &dynamic,
                1e4,
                65,
                [
                    1.0,
                    0.314840704,
                    0.099124663,
                    0.031208478,
                    0.009825699,
                    0.00309353,
                    0.000973969,
                    0.000306645,
                ],
                1.0,
            ),
            (
                &dynamic,
                1e4,
                256,
                [
                    1.0,
                    0.239481375,
                    0.057351321,
                    0.013734572,
                    0.003289174,
                    0.000787696,
                    0.000188638,
                    4.5175e-05,
                ],
                1.0,
            ),
        ];
        let mut config = tiny();
        config.head_dim = 16;
        for (scaling, theta, length, expected, factor) in cases {
            config.rope = crate::config::Rope { theta, scaling: scaling.clone() };
            let found = frequencies(&config.rope, config.rotary_dim(), stretch(scaling, length));
            for (found, expected) in found.iter().zip(expected) {
                let gap = (f64::from(*found) - expected).abs();
                assert!(gap < 1e-7 * expected + 1e-9, "{scaling:?} {length}: {found} {expected}");
            }
            assert!((attention_factor(scaling) - factor).abs() < 1e-12);
            // Both reach the angles, per sequence.
            let angles = Angles::new(&config.rope, config.rotary_dim(), [(3, length)].into_iter());
            let cos = (3.0 * f64::from(found[1])).cos() * factor;
            assert!((f64::from(angles.cos[1]) - cos).abs() < 1e-6);
        }
    }
}
