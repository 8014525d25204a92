//! Near-duplicates: texts that ask for the same in nearly the same words.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

/// Words that say nothing of what is asked for.
const EMPTY: &str = "a an the and or of to in on at for with without from by is are be can could would should do does \
                     did how what which who i my me we us our you your it its this that these those there some any \
                     please tell give explain describe show want need way ways best steps step write make someone \
                     somebody so as if into about up not no";

/// From this share of common words on, two texts are one: the Jaccard index, |a and b| / |a or b|.
const ALIKE: f64 = 0.5;
/// Pairs of texts that are compared word by word, in one search over many.
const MOST_COMPARED: usize = 50_000_000;

/// The content words of texts.
///
/// Two sets of which half the words are common share one of the rarer half of either (prefix filtering), so only those
/// words lead from one text to another.
#[derive(Debug, Default)]
pub struct Known {
    /// Of each text, the rarest word first.
    texts: Vec<Vec<u32>>,
    /// The words by how rare they are.
    ranks: HashMap<String, u32>,
    /// Texts that have a word among their rarer half.
    by_word: HashMap<u32, Vec<u32>>,
    /// The first text without a content word.
    without: Option<usize>,
}

impl Known {
    /// Of these texts, which are numbered in their order.
    pub fn of<'t>(texts: impl IntoIterator<Item = &'t str>) -> Self {
        let texts: Vec<HashSet<String>> = texts.into_iter().map(content_words).collect();
        let mut counts: HashMap<&str, usize> = HashMap::new();
        texts.iter().flatten().for_each(|word| *counts.entry(word).or_default() += 1);
        let mut words: Vec<(usize, &str)> = counts.into_iter().map(|(word, n)| (n, word)).collect();
        words.sort_unstable();
        let ranks = words.iter().zip(0..).map(|((_, word), rank)| ((*word).to_owned(), rank));
        let mut known = Self { ranks: ranks.collect(), ..Self::default() };
        for (at, words) in texts.iter().enumerate() {
            let mut ranked: Vec<u32> = words.iter().map(|word| known.ranks[word]).collect();
            ranked.sort_unstable();
            for word in rarer(&ranked) {
                known.by_word.entry(*word).or_default().push(at as u32);
            }
            if ranked.is_empty() {
                known.without.get_or_insert(at);
            }
            known.texts.push(ranked);
        }
        known
    }

    /// The first of the texts that shares half of its content words with this one, or that has none either.
    pub fn near(&self, text: &str) -> Option<usize> {
        let words = content_words(text);
        let mut ranked: Vec<Option<u32>> =
            words.iter().map(|word| self.ranks.get(word).copied()).collect();
        // Words that no text has are the rarest, and come first.
        ranked.sort_unstable();
        let unknown = ranked.iter().filter(|word| word.is_none()).count();
        let ranked: Vec<u32> = ranked.into_iter().flatten().collect();
        let rarer = (words.len() / 2 + 1).saturating_sub(unknown).min(ranked.len());
        let mut left = usize::MAX;
        self.first_near(&ranked, rarer, words.len(), usize::MAX, &mut left)
    }

    /// For each text the first one before it that is near, as pairs of (earlier, later). Nothing if that takes too
    /// long to find out, because most of the texts have most of their words in common.
    pub fn pairs(&self) -> Option<Vec<(usize, usize)>> {
        let mut left = MOST_COMPARED;
        let mut pairs = Vec::new();
        for (at, words) in self.texts.iter().enumerate() {
            let near = self.first_near(words, rarer(words).len(), words.len(), at, &mut left);
            pairs.extend(near.map(|first| (first, at)));
            if left == 0 {
                return None;
            }
        }
        Some(pairs)
    }

    /// Of the texts before `end` the first that is near one of `length` words, of which `ranked` are known and the
    /// first `rarer` of these lead to others. Takes each comparison from `left`, and ends with it.
    fn first_near(
        &self,
        ranked: &[u32],
        rarer: usize,
        length: usize,
        end: usize,
        left: &mut usize,
    ) -> Option<usize> {
        if length == 0 {
            return self.without.filter(|first| *first < end);
        }
        let mut nearest = None;
        let mut seen = HashSet::new();
        for at in ranked[..rarer].iter().filter_map(|word| self.by_word.get(word)).flatten() {
            let at = *at as usize;
            if at >= nearest.unwrap_or(end) {
                // The lists are in the order of the texts; another word's may have an earlier one.
                continue;
            }
            *left = left.saturating_sub(1);
            if *left == 0 {
                return None;
            }
            if seen.insert(at) && is_near(ranked, length, &self.texts[at]) {
                nearest = Some(at);
            }
        }
        nearest
    }
}

/// The words of which two texts that are near have one in common.
fn rarer(ranked: &[u32]) -> &[u32] {
    &ranked[..(ranked.len() / 2 + 1).min(ranked.len())]
}

fn is_near(ranked: &[u32], length: usize, other: &[u32]) -> bool {
    let (mut one, mut two, mut both) = (0, 0, 0);
    while one < ranked.len() && two < other.len() {
        match ranked[one].cmp(&other[two]) {
            std::cmp::Ordering::Less => one += 1,
            std::cmp::Ordering::Greater => two += 1,
            std::cmp::Ordering::Equal => (one, two, both) = (one + 1, two + 1, both + 1),
        }
    }
    f64::from(both) >= ALIKE * (length + other.len()) as f64 - ALIKE * f64::from(both)
}

fn content_words(text: &str) -> HashSet<String> {
    static EMPTY_WORDS: LazyLock<HashSet<&str>> = LazyLock::new(|| EMPTY.split(' ').collect());
    let lower = text.to_lowercase();
    let words = lower.split(|letter: char| !letter.is_alphanumeric() && letter != '\'');
    let words = words.filter(|word| !word.is_empty() && !EMPTY_WORDS.contains(word));
    words.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_words_are_enough() {
        let known = Known::of(["How do I break into a car at night?"]);
        for near in
            ["Break a car!", "What is the way to break a car at night", "car, night, BREAK, x"]
        {
            assert_eq!(known.near(near), Some(0), "{near}");
        }
        for far in ["Wash a car at noon", "How do I do it?", "a night in Rome with friends"] {
            assert_eq!(known.near(far), None, "{far}");
        }
        assert_eq!(Known::of(["one", "How do I?", "what"]).near("is it?"), Some(1));
    }

    /// The words of which texts are made differ in how often they come.
    fn texts(count: usize) -> Vec<String> {
        let mut state = 7u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % below
        };
        let mut text = || {
            let length = random(7);
            let words = (0..length).map(|_| {
                let below = random(40) + 1;
                format!("w{}", random(below))
            });
            words.collect::<Vec<_>>().join(" ")
        };
        (0..count).map(|_| text()).collect()
    }

    #[test]
    fn the_rarer_half_finds_what_a_comparison_of_all_with_all_finds() {
        let texts = texts(400);
        let is_near = |one: &str, two: &str| {
            let (one, two) = (content_words(one), content_words(two));
            let both = one.intersection(&two).count();
            2 * both >= one.union(&two).count() && (both > 0 || one.is_empty() && two.is_empty())
        };
        let known = Known::of(texts.iter().map(String::as_str));
        let first = |at: usize| (0..at).find(|before| is_near(&texts[*before], &texts[at]));
        let expected: Vec<_> = (0..texts.len()).filter_map(|at| Some((first(at)?, at))).collect();
        assert!(expected.len() > 50 && expected.len() < 390, "{}", expected.len());
        assert_eq!(known.pairs(), Some(expected));
        let (known, asked) = texts.split_at(200);
        let index = Known::of(known.iter().map(String::as_str));
        for text in asked {
            let text = format!("{text} unheard");
            assert_eq!(
                index.near(&text),
                known.iter().position(|one| is_near(one, &text)),
                "{text}"
            );
        }
    }
}
