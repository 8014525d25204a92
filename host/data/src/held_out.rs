//! Rows that are taken out of the training data, to measure the loss of what was never trained.

use std::collections::HashMap;

use rand::seq::SliceRandom;
use sha2::{Digest, Sha256};

use super::error::{Error, Result};
use super::origin::Origin;
use super::sample::Sample;
use super::samples::{Samples, Stored};
use crate::random;

/// Rows that were held out, and how many there were to train on.
#[derive(Debug)]
pub struct HeldOut {
    pub rows: Vec<Sample>,
    /// Task rows before.
    pub of: usize,
    /// Groups of rows with the same prompt, which are held out as one.
    pub groups: usize,
}

impl Samples {
    /// Takes a part of the task rows out: below 1 a share of them, else their number. Which ones
    /// depends on the seed and on their prompts. Rows with one prompt go together, so that none
    /// is trained and measured on; alignment rows stay.
    ///
    /// # Errors
    /// [`Error::Batch`] if that would take no row, or leave none; and if samples can't be read.
    pub fn hold_out_of(&mut self, part: f64, seed: u64) -> Result<HeldOut> {
        let wrong = |what: String| Error::Batch { field: "data.validation", what };
        let mut groups: Vec<Vec<usize>> = Vec::new();
        let mut known: HashMap<[u8; 32], usize> = HashMap::new();
        let mut of = 0;
        for (index, stored) in self.iter().enumerate() {
            if stored.origin() != Origin::Task {
                continue;
            }
            of += 1;
            let sample = self.read(stored)?;
            let prompt = &sample.tokens[..sample.prompt_len.min(sample.tokens.len())];
            let bytes: Vec<u8> = prompt.iter().flat_map(|token| token.to_le_bytes()).collect();
            let group = *known.entry(Sha256::digest(bytes).into()).or_insert(groups.len());
            if group == groups.len() {
                groups.push(Vec::new());
            }
            groups[group].push(index);
        }
        let wanted = if part < 1.0 { (part * of as f64).round() } else { part } as usize;
        if wanted == 0 {
            return Err(wrong(format!("takes none of {of} task rows; raise it, or leave it out")));
        }
        groups.shuffle(&mut random::stream(seed, "validation", 0));
        let mut chosen = vec![false; self.len()];
        let (mut count, mut taken) = (0, 0);
        for group in groups.iter().take_while(|group| {
            let more = count < wanted;
            count += if more { group.len() } else { 0 };
            more
        }) {
            taken += 1;
            group.iter().for_each(|index| chosen[*index] = true);
        }
        if count >= of {
            return Err(wrong(format!(
                "takes {count} of {of} task rows, and leaves none to train on; lower it"
            )));
        }
        let out = |wanted: bool| -> Vec<&Stored> {
            let all = self.iter().zip(&chosen);
            all.filter(|(_, chosen)| **chosen == wanted).map(|(stored, _)| stored).collect()
        };
        let rows = self.read_all(&out(true))?.into_iter().map(std::borrow::Cow::into_owned);
        let rows = rows.collect();
        self.keep_only(|index| !chosen[index]);
        Ok(HeldOut { rows, of, groups: taken })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows with these prompts, the answers in order.
    fn samples(prompts: &[u32]) -> Samples {
        let one = |(number, prompt): (usize, &u32)| Sample {
            prompt_len: 1,
            answer: std::iter::once(1..2).collect(),
            ..Sample::prompt_only(vec![*prompt, 1000 + number as u32])
        };
        let mut samples: Vec<Sample> = prompts.iter().enumerate().map(one).collect();
        for sample in samples.iter_mut().filter(|sample| sample.tokens[0] == 0) {
            sample.origin = Origin::Alignment;
        }
        samples.into()
    }

    /// What is left, and what was held out.
    fn held_out(prompts: &[u32], part: f64, seed: u64) -> Result<(Samples, HeldOut)> {
        let mut all = samples(prompts);
        all.hold_out_of(part, seed).map(|out| (all, out))
    }

    fn prompts(samples: &Samples) -> Vec<u32> {
        samples.iter().map(|one| samples.read(one).expect("read").tokens[0]).collect()
    }

    #[test]
    fn rows_are_drawn_by_the_seed_and_the_others_keep_their_order() {
        let all: Vec<u32> = (1..=40).collect();
        let (left, out) = held_out(&all, 0.1, 5).expect("held out");
        assert_eq!((out.rows.len(), out.of, out.groups), (4, 40, 4));
        let held: Vec<u32> = out.rows.iter().map(|row| row.tokens[0]).collect();
        let expected: Vec<u32> = all.iter().copied().filter(|one| !held.contains(one)).collect();
        assert_eq!(prompts(&left), expected);
        let again = held_out(&all, 4.0, 5).expect("held out").1;
        assert_eq!(again.rows, out.rows, "a number of rows, by the same seed");
        let other = held_out(&all, 0.1, 6).expect("held out").1;
        assert_ne!(other.rows, out.rows);
    }

    #[test]
    fn rows_of_one_prompt_stay_together_and_alignment_rows_are_trained() {
        // Each prompt four times, and alignment rows between.
        let all: Vec<u32> = (0..60).map(|number| number % 6).collect();
        let (left, out) = held_out(&all, 0.3, 1).expect("held out");
        assert_eq!((out.rows.len(), out.of, out.groups), (20, 50, 2));
        let left = prompts(&left);
        assert!(out.rows.iter().all(|row| !left.contains(&row.tokens[0])));
        assert_eq!(left.iter().filter(|prompt| **prompt == 0).count(), 10);
    }

    #[test]
    fn a_part_that_takes_nothing_or_all_is_refused() {
        for (part, told) in
            [(0.001, "takes none of 9"), (9.0, "leaves none"), (0.99, "leaves none")]
        {
            let error = held_out(&[1, 2, 3, 4, 5, 6, 7, 8, 9], part, 1).expect_err(told);
            let error = error.to_string();
            assert!(error.contains("data.validation") && error.contains(told), "{error}");
        }
    }
}
