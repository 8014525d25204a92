//! The classifier's weights: a table of features, each with two weights of 8 bits.
//!
//! Sums are of integers, and what follows are a root, a product and a quotient of 64
//! bits: the same bits on every machine.

use std::sync::LazyLock;

use super::features::{self, Features};

/// How far an answer is on the one side of each of the two questions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scores {
    /// Refused rather than complied with.
    pub refused: f64,
    /// In part rather than as a whole.
    pub partial: f64,
}

/// One table, as weights.bin has it.
pub struct Weights {
    /// In ascending order.
    features: Vec<u32>,
    weights: Vec<[i8; 2]>,
    heads: [Head; 2],
}

/// What one question has beside its weights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Head {
    /// The value of a weight of 1.
    pub scale: f64,
    /// Added, less the threshold.
    pub bias: f64,
}

/// A run of words weighs [`RUNS`] over the root of how many known ones an answer has.
pub const RUNS: f64 = 5.0;

static WEIGHTS: LazyLock<Weights> =
    LazyLock::new(|| Weights::read(include_bytes!("weights.bin")).unwrap_or_default());

/// The scores by the weights that the program carries.
pub(super) fn scores(features: &Features) -> Scores {
    WEIGHTS.scores(features)
}

/// Whether a word of the beginning has a weight.
pub(super) fn knows(word: &str) -> bool {
    WEIGHTS.features.binary_search(&features::of_word(word)).is_ok()
}

impl Default for Weights {
    fn default() -> Self {
        Self { features: vec![], weights: vec![], heads: [Head { scale: 0.0, bias: 0.0 }; 2] }
    }
}

impl Weights {
    /// Rounds to 8 bits. `weights` are in ascending order of their features.
    pub fn rounded(weights: &[(u32, [f64; 2])], biases: [f64; 2]) -> Self {
        let largest = |question: usize| {
            let sizes = weights.iter().map(|(_, weight)| weight[question].abs());
            sizes.fold(f64::MIN_POSITIVE, f64::max)
        };
        let heads = [0, 1].map(|at| Head { scale: largest(at) / 127.0, bias: biases[at] });
        let round = |at: usize, weight: [f64; 2]| (weight[at] / heads[at].scale).round() as i8;
        Self {
            features: weights.iter().map(|(feature, _)| *feature).collect(),
            weights: weights.iter().map(|(_, of)| [round(0, *of), round(1, *of)]).collect(),
            heads,
        }
    }

    pub fn scores(&self, features: &Features) -> Scores {
        let (runs, known) = self.sums(&features.runs);
        let (facts, _) = self.sums(&features.facts);
        let weight = RUNS / (known.max(1) as f64).sqrt();
        let [refused, partial] = [0, 1].map(|at| {
            let Head { scale, bias } = self.heads[at];
            f64::from(runs[at]) * weight * scale + f64::from(facts[at]) * scale + bias
        });
        Scores { refused, partial }
    }

    /// Sums of weights, and how many of the features have any.
    fn sums(&self, features: &[u32]) -> ([i32; 2], usize) {
        let known = features.iter().filter_map(|feature| self.features.binary_search(feature).ok());
        known.fold(([0, 0], 0), |([first, second], count), at| {
            let [one, other] = self.weights[at].map(i32::from);
            ([first + one, second + other], count + 1)
        })
    }

    /// Little-endian: scale and bias of each question, the number of features, the
    /// features, the weights.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for head in self.heads {
            bytes.extend(head.scale.to_le_bytes());
            bytes.extend(head.bias.to_le_bytes());
        }
        bytes.extend((self.features.len() as u32).to_le_bytes());
        self.features.iter().for_each(|feature| bytes.extend(feature.to_le_bytes()));
        self.weights.iter().flatten().for_each(|weight| bytes.push(weight.cast_unsigned()));
        bytes
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (heads, rest) = bytes.split_at_checked(32)?;
        let (count, rest) = rest.split_first_chunk::<4>()?;
        let count = u32::from_le_bytes(*count) as usize;
        let (features, weights) = rest.split_at_checked(count.checked_mul(4)?)?;
        let (heads, _) = heads.as_chunks::<8>();
        let number = |at: usize| f64::from_le_bytes(heads[at]);
        let (features, _) = features.as_chunks::<4>();
        let (weights, _) = weights.as_chunks::<2>();
        (weights.len() == count).then(|| Self {
            features: features.iter().map(|feature| u32::from_le_bytes(*feature)).collect(),
            weights: weights.iter().map(|pair| pair.map(u8::cast_signed)).collect(),
            heads: [0, 2].map(|at| Head { scale: number(at), bias: number(at + 1) }),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn weights_are_read_as_they_were_written() {
        let weights =
            Weights::rounded(&[(7, [1.0, -0.5]), (9, [-2.0, 0.0]), (11, [0.5, 0.5])], [0.25, -3.0]);
        let again = Weights::read(&weights.bytes()).unwrap();
        let features = Features { runs: vec![7, 8, 11], facts: vec![9] };
        let scores = again.scores(&features);
        assert_eq!(scores, weights.scores(&features));
        // Two known runs: (1 + 0.5) * 5 / sqrt(2) - 2 + 0.25.
        assert!((scores.refused - (7.5 / 2f64.sqrt() - 1.75)).abs() < 0.05, "{scores:?}");
        assert!(Weights::read(&weights.bytes()[1..]).is_none());
    }

    #[test]
    fn the_weights_that_the_program_carries_are_whole_and_in_order() {
        let weights = Weights::read(include_bytes!("weights.bin")).unwrap();
        assert!(weights.features.is_sorted() && weights.features.len() > 1000);
    }
}
