//! Noise of a training pass: dropout before adapters (Srivastava et al. 2014, as LoRA has it,
//! arXiv 2106.09685) and noise on embeddings (NEFTune, arXiv 2310.05914).
//!
//! Every draw is a function of the sequence's key, the position, the layer, the input and the
//! column alone: the same for any number of threads, any company in the batch and when a block is
//! computed again.

use super::Packed;
use crate::error::{Error, Result};

/// How much noise a training pass has; none by default.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct NoiseLevels {
    /// Chance that a value which an adapter takes becomes 0, in [0, 1); the others are scaled by
    /// 1 / (1 - chance). Rounded to 1/65536.
    pub dropout: f64,
    /// alpha of NEFTune: embeddings of a sequence of L tokens get noise that is uniform in
    /// +- alpha / sqrt(L * hidden).
    pub embedding: f64,
}

impl NoiseLevels {
    /// Whether there is none.
    pub fn are_zero(&self) -> bool {
        self.dropout == 0.0 && self.embedding == 0.0
    }
}

/// Noise of one pass.
#[derive(Debug, Clone, PartialEq)]
pub struct Noise {
    /// How much.
    pub levels: NoiseLevels,
    /// One per sequence; another key gives other noise.
    pub keys: Vec<u64>,
}

impl Noise {
    /// A key from what tells a sequence of a step from others.
    pub fn key(parts: &[u64]) -> u64 {
        parts.iter().fold(0, |key, part| mix(key ^ mix(*part)))
    }

    pub(crate) fn validate(&self, batch: &Packed) -> Result<()> {
        let NoiseLevels { dropout, embedding } = self.levels;
        let makes_sense =
            (0.0..1.0).contains(&dropout) && embedding >= 0.0 && embedding.is_finite();
        if !makes_sense {
            return Err(Error::batch(
                format!("dropout is {dropout}, noise on embeddings {embedding}"),
                "give a chance in [0, 1), and noise of 0 or more",
            ));
        }
        if self.keys.len() != batch.num_sequences() {
            return Err(Error::batch(
                format!(
                    "{} keys of noise for {} sequences",
                    self.keys.len(),
                    batch.num_sequences()
                ),
                "give one key per sequence",
            ));
        }
        Ok(())
    }
}

/// Where adapters take their input: those that share one share its dropout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    /// Of q, k and v.
    Attention,
    /// Of o.
    Mixed,
    /// Of gate and up.
    Mlp,
    /// Of down.
    Inner,
}

/// The noise of a batch, row by row.
pub(crate) struct RowNoise {
    /// Draws of 16 bits below it are dropped.
    below: u32,
    embedding: f64,
    /// Key and sequence length of every row.
    rows: Vec<(u64, usize)>,
}

/// Draws that one hash gives.
const DRAWS: usize = 4;
/// Values of a draw.
const RANGE: u32 = 1 << 16;

impl RowNoise {
    pub fn new(noise: &Noise, batch: &Packed) -> Self {
        let rows = batch.sequences().zip(&noise.keys).flat_map(|(rows, key)| {
            (0..rows.len()).map(move |position| (Noise::key(&[*key, position as u64]), rows.len()))
        });
        let below = (noise.levels.dropout * f64::from(RANGE)).round() as u32;
        Self {
            below: below.min(RANGE - 1),
            embedding: noise.levels.embedding,
            rows: rows.collect(),
        }
    }

    pub fn drops(&self) -> bool {
        self.below > 0
    }

    /// Dropout on rows [n, width] from `first` on, which are an input of a layer's adapters.
    pub fn drop(&self, layer: usize, input: Input, first: usize, width: usize, x: &mut [f32]) {
        let kept = RANGE as f32 / (RANGE - self.below) as f32;
        let place = mix(layer as u64 * 4 + input as u64 + 1);
        for (row, (key, _)) in x.chunks_exact_mut(width).zip(&self.rows[first..]) {
            draws(key ^ place, row, |x, draw| if draw < self.below { 0.0 } else { x * kept });
        }
    }

    /// Noise on the embeddings [rows, hidden] of the batch.
    pub fn embed(&self, hidden: usize, stream: &mut [f32]) {
        if self.embedding == 0.0 {
            return;
        }
        for (row, (key, length)) in stream.chunks_exact_mut(hidden).zip(&self.rows) {
            let bound = (self.embedding / ((length * hidden) as f64).sqrt()) as f32;
            draws(*key, row, |x, draw| {
                // The middle of one of 65,536 parts of [-1, 1].
                x + bound * ((2 * draw + 1) as f32 / RANGE as f32 - 1.0)
            });
        }
    }
}

/// Changes every value by a draw of its own.
fn draws(key: u64, row: &mut [f32], change: impl Fn(f32, u32) -> f32) {
    for (index, values) in row.chunks_mut(DRAWS).enumerate() {
        let mut bits = mix(key.wrapping_add(index as u64));
        for value in values {
            *value = change(*value, bits as u32 % RANGE);
            bits >>= 16;
        }
    }
}

/// One step of SplitMix64 (Steele et al. 2014): every bit of the argument moves every bit of the result.
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(dropout: f64, embedding: f64) -> (Packed, RowNoise) {
        let batch = Packed::from_sequences(&[vec![1; 30], vec![2; 70]]);
        let levels = NoiseLevels { dropout, embedding };
        let noise = Noise { levels, keys: vec![5, 6] };
        let rows = RowNoise::new(&noise, &batch);
        (batch, rows)
    }

    #[test]
    fn the_mean_stays_and_the_share_of_zeros_is_the_chance() {
        let (_, noise) = noise(0.1, 0.0);
        let mut x = vec![1f32; 100 * 577];
        noise.drop(3, Input::Mixed, 0, 577, &mut x);
        let zeros = x.iter().filter(|x| **x == 0.0).count() as f64 / x.len() as f64;
        assert!((zeros - 0.1).abs() < 0.005, "{zeros}");
        let mean = x.iter().map(|x| f64::from(*x)).sum::<f64>() / x.len() as f64;
        assert!((mean - 1.0).abs() < 0.005, "{mean}");
    }

    #[test]
    fn blocks_of_rows_draw_what_the_whole_draws_and_places_draw_otherwise() {
        let (_, noise) = noise(0.5, 0.0);
        let draw = |layer, input, first: usize, rows: usize| {
            let mut x = vec![1f32; rows * 33];
            noise.drop(layer, input, first, 33, &mut x);
            x
        };
        let whole = draw(1, Input::Mlp, 0, 100);
        assert_eq!(whole[40 * 33..50 * 33], draw(1, Input::Mlp, 40, 10));
        assert_ne!(whole, draw(2, Input::Mlp, 0, 100));
        assert_ne!(whole, draw(1, Input::Inner, 0, 100));
        // Sequences, and rows of one.
        assert_ne!(whole[..33], whole[30 * 33..31 * 33]);
        assert_ne!(whole[..33], whole[33..66]);
    }

    #[test]
    fn noise_on_embeddings_is_uniform_within_its_bound_for_each_length() {
        let (batch, noise) = noise(0.0, 5.0);
        let hidden = 64;
        let mut x = vec![0f32; 100 * hidden];
        noise.embed(hidden, &mut x);
        for rows in batch.sequences() {
            let bound = 5.0 / ((rows.len() * hidden) as f32).sqrt();
            let values = &x[rows.start * hidden..rows.end * hidden];
            let most = values.iter().fold(0f32, |most, x| most.max(x.abs()));
            assert!(most <= bound && most > 0.98 * bound, "{most} of {bound}");
            let square =
                values.iter().map(|x| (x / bound).powi(2)).sum::<f32>() / values.len() as f32;
            assert!((square - 1.0 / 3.0).abs() < 0.03, "{square}");
        }
    }

    #[test]
    fn levels_and_keys_that_make_no_sense_are_refused() {
        let batch = Packed::from_sequences(&[vec![1; 3]]);
        let check = |dropout, embedding, keys| {
            Noise { levels: NoiseLevels { dropout, embedding }, keys }.validate(&batch)
        };
        check(0.5, 5.0, vec![1]).expect("fits");
        for (dropout, embedding, keys) in [
            (1.0, 0.0, vec![1]),
            (-0.1, 0.0, vec![1]),
            (f64::NAN, 0.0, vec![1]),
            (0.0, -1.0, vec![1]),
            (0.0, f64::INFINITY, vec![1]),
            (0.1, 0.0, vec![1, 2]),
        ] {
            check(dropout, embedding, keys).expect_err("makes no sense");
        }
    }
}
