//! Rotary position embedding: its base, and how its frequencies are stretched.

/// Rotary position embedding (Su et al. 2021, arXiv 2104.09864), half-split layout.
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    /// Base of the frequencies.
    pub theta: f64,
    /// How they are stretched.
    pub scaling: RopeScaling,
}

/// How the rotation frequencies are stretched beyond the original context.
#[derive(Debug, Clone, PartialEq)]
pub enum RopeScaling {
    /// Frequencies as they are.
    None,
    /// Every frequency divided by `factor`.
    Linear {
        /// How much longer the context becomes.
        factor: f64,
    },
    /// NTK-aware scaling by the length of the sequence: within the original context
    /// frequencies as they are, beyond it a larger base that grows with the length.
    Dynamic {
        /// How much longer the context becomes.
        factor: f64,
        /// The original context, in tokens.
        original_max_position: usize,
    },
    /// YaRN (Peng et al. 2023, arXiv 2309.00071): slow frequencies divided, fast ones kept,
    /// a ramp between; cos and sin are scaled by `attention_factor`.
    Yarn {
        /// Divisor of slow frequencies.
        factor: f64,
        /// The original context, in tokens.
        original_max_position: usize,
        /// Factor on cos and sin.
        attention_factor: f64,
        /// Turns within the original context above which a frequency is kept.
        beta_fast: f64,
        /// Turns within the original context below which a frequency is divided.
        beta_slow: f64,
        /// The ends of the ramp are rounded to whole dimensions.
        truncate: bool,
    },
    /// Llama 3.1: low frequencies divided, high ones kept, a ramp between.
    Llama3 {
        /// Divisor of low frequencies.
        factor: f64,
        /// Turns within the original context below which a frequency is low.
        low_freq_factor: f64,
        /// Turns within the original context above which a frequency is high.
        high_freq_factor: f64,
        /// The original context, in tokens.
        original_max_position: usize,
    },
    /// Phi-3: one divisor per frequency, chosen by the length of the sequence
    /// (LongRoPE, arXiv 2402.13753); cos and sin are scaled by `attention_factor`.
    LongRope {
        /// Divisors within the original context.
        short_factor: Vec<f64>,
        /// Divisors beyond it.
        long_factor: Vec<f64>,
        /// The original context, in tokens.
        original_max_position: usize,
        /// Factor on cos and sin.
        attention_factor: f64,
    },
    /// One divisor per frequency, already worked out (GGUF's `rope_freqs.weight`).
    Factors {
        /// rotary_dim / 2 of them.
        factors: Vec<f64>,
    },
}

impl RopeScaling {
    /// What is wrong with the numbers, for a head with `half` frequencies.
    pub(crate) fn check(&self, half: usize) -> Result<(), String> {
        let positive = |name: &str, value: f64| {
            if value.is_finite() && value > 0.0 {
                return Ok(());
            }
            Err(format!("has {name} {value}, which isn't positive"))
        };
        let list = |list: &[f64]| {
            if list.len() != half {
                return Err(format!("holds {} factors, {half} positive ones expected", list.len()));
            }
            list.iter().try_for_each(|factor| positive("a factor of", *factor))
        };
        match self {
            RopeScaling::None => Ok(()),
            RopeScaling::Linear { factor } => positive("factor", *factor),
            RopeScaling::Dynamic { factor, original_max_position } => {
                if half < 2 {
                    return Err("is dynamic, which takes more than one frequency".into());
                }
                // Below 1 the base would fall under zero for long sequences.
                if !(factor.is_finite() && *factor >= 1.0) {
                    return Err(format!("has factor {factor}, below 1"));
                }
                positive("an original context of", *original_max_position as f64)
            }
            RopeScaling::Yarn {
                factor,
                original_max_position,
                attention_factor,
                beta_fast,
                beta_slow,
                ..
            } => {
                positive("factor", *factor)?;
                positive("an original context of", *original_max_position as f64)?;
                positive("attention_factor", *attention_factor)?;
                positive("beta_fast", *beta_fast)?;
                positive("beta_slow", *beta_slow)
            }
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, .. } => {
                positive("factor", *factor)?;
                if low_freq_factor < high_freq_factor {
                    return Ok(());
                }
                Err(format!(
                    "has low_freq_factor {low_freq_factor}, not below high_freq_factor {high_freq_factor}"
                ))
            }
            RopeScaling::LongRope { short_factor, long_factor, attention_factor, .. } => {
                list(short_factor)?;
                list(long_factor)?;
                positive("attention_factor", *attention_factor)
            }
            RopeScaling::Factors { factors } => list(factors),
        }
    }
}

/// LongRoPE (arXiv 2402.13753, section 3.3): sqrt(1 + ln s / ln L) for a context
/// stretched s times from L tokens.
pub fn long_rope_attention_factor(stretch: f64, original: usize) -> f64 {
    if stretch <= 1.0 {
        return 1.0;
    }
    (1.0 + stretch.ln() / (original as f64).ln()).sqrt()
}

/// The part of a frequency that Llama 3.1 keeps, by the turns it makes within the original context: 0 for `low` turns
/// or fewer (divided), 1 for `high` or more.
pub fn llama3_kept(frequency: f64, (low, high): (f64, f64), original_max_position: usize) -> f64 {
    let turns = original_max_position as f64 * frequency / std::f64::consts::TAU;
    ((turns - low) / (high - low)).clamp(0.0, 1.0)
}

/// YaRN (arXiv 2309.00071, section 3.4): 1 + 0.1 m ln s for a context stretched s times.
pub fn yarn_attention_factor(stretch: f64, m: f64) -> f64 {
    if stretch <= 1.0 { 1.0 } else { 0.1 * m * stretch.ln() + 1.0 }
}
