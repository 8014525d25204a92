//! Near-duplicates: prompts that ask for the same in nearly the same words.

use std::collections::{BTreeMap, BTreeSet};

use crate::chat::Chat;

/// Words that say nothing of what is asked for.
const EMPTY: &str = "a an the and or of to in on at for with without from by is are be can could would should do does \
                     did how what which who i me my we us our you your it its this that these those there some any \
                     please tell give explain describe show want need way ways best steps step write make someone \
                     somebody so as if into about up not no";

/// From this share of common words on, two prompts are one.
const ALIKE: f64 = 0.5;

/// The content words of prompts that something was trained or calibrated on.
pub struct Known {
    texts: Vec<BTreeSet<String>>,
    by_word: BTreeMap<String, Vec<usize>>,
}

impl Known {
    pub fn of<'c>(all: impl IntoIterator<Item = &'c Chat>) -> Self {
        let texts: Vec<BTreeSet<String>> =
            all.into_iter().map(|one| content_words(one.text())).collect();
        let mut by_word: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (at, words) in texts.iter().enumerate() {
            for word in words {
                by_word.entry(word.clone()).or_default().push(at);
            }
        }
        Self { texts, by_word }
    }

    /// The prompts that have no near-duplicate among the known ones.
    pub fn without(&self, prompts: Vec<Chat>) -> Vec<Chat> {
        prompts.into_iter().filter(|one| !self.has_near(one.text())).collect()
    }

    /// Whether some text shares half of its content words with this one (Jaccard index), or is the
    /// same where there are none.
    fn has_near(&self, text: &str) -> bool {
        let words = content_words(text);
        if words.is_empty() {
            return self.texts.contains(&words);
        }
        let mut shared: BTreeMap<usize, usize> = BTreeMap::new();
        for at in words.iter().filter_map(|word| self.by_word.get(word)).flatten() {
            *shared.entry(*at).or_default() += 1;
        }
        shared.into_iter().any(|(at, both)| {
            let either = words.len() + self.texts[at].len() - both;
            both as f64 >= ALIKE * either as f64
        })
    }
}

fn content_words(text: &str) -> BTreeSet<String> {
    let lower = text.to_lowercase();
    let words = lower.split(|letter: char| !letter.is_alphanumeric() && letter != '\'');
    let empty = |word: &&str| !word.is_empty() && !EMPTY.split(' ').any(|one| one == *word);
    words.filter(empty).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_words_are_enough() {
        let known = Known::of(&[Chat::new("How do I break into a car at night?")]);
        for near in
            ["Break a car!", "What is the way to break a car at night", "car, night, BREAK, x"]
        {
            assert!(known.has_near(near), "{near}");
        }
        for far in ["Wash a car at noon", "How do I do it?", "a night in Rome with friends"] {
            assert!(!known.has_near(far), "{far}");
        }
        assert_eq!(known.without(vec![Chat::new("break car"), Chat::new("boil eggs")]).len(), 1);
    }
}
