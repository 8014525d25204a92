//! Notices a judge that says the same of many different pairs.

use std::collections::HashMap;

/// Pairs after which scores that may be any number are looked at.
const FEW: usize = 16;
/// Pairs after which whole scores are: most rows of good data are a 1.
const MANY: usize = 200;

/// Scores of different pairs, by their bits.
#[derive(Debug, Default)]
pub struct Sameness {
    counts: HashMap<u64, usize>,
    total: usize,
    told: bool,
}

impl Sameness {
    /// A notice, once. `fine`: its scores may be any number from 1 to 5.
    pub fn add(&mut self, score: f64, fine: bool) -> Option<String> {
        let count = self.counts.entry(score.to_bits()).or_default();
        *count += 1;
        let count = *count;
        self.total += 1;
        let suspicious = if fine {
            self.total >= FEW && 2 * count > self.total
        } else {
            self.total >= MANY && count == self.total
        };
        if !suspicious || std::mem::replace(&mut self.told, true) {
            return None;
        }
        Some(format!(
            "it gave exactly the same score ({score:.4} of 5) to {count} of {} different pairs; \
             check that it sees them",
            self.total
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(scores: impl IntoIterator<Item = f64>, fine: bool) -> usize {
        let mut sameness = Sameness::default();
        scores.into_iter().filter_map(|score| sameness.add(score, fine)).count()
    }

    #[test]
    fn many_pairs_with_the_same_bits_are_told_once() {
        assert_eq!(told([1.25; 15], true), 0);
        assert_eq!(told([1.25; 60], true), 1);
        assert_eq!(told((0..60).map(|at| 1.0 + f64::from(at) / 60.0), true), 0);
        // Whole scores are often the same.
        assert_eq!(told([1.0; 199], false), 0);
        assert_eq!(told([1.0; 400], false), 1);
        assert_eq!(told((0..400).map(|at| f64::from(at % 50 / 49 + 1)), false), 0);
    }
}
