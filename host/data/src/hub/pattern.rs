//! Patterns of paths as cards of data sets have them: `*`, `?` and `[0-9]` within a name, `**` over folders.

use std::collections::HashSet;

/// Longest pattern that is looked at.
const LONGEST: usize = 256;

/// Whether a path fits a pattern.
pub fn fits(pattern: &str, path: &str) -> bool {
    let pattern = pattern.strip_prefix("./").unwrap_or(pattern).as_bytes();
    pattern.len() <= LONGEST
        && Trial { pattern, path: path.as_bytes(), failed: HashSet::new() }.fits(0, 0)
}

struct Trial<'a> {
    pattern: &'a [u8],
    path: &'a [u8],
    /// Places from which the rest doesn't fit: each is tried once.
    failed: HashSet<(usize, usize)>,
}

impl Trial<'_> {
    /// Whether the pattern from `at` on fits the path from `to` on.
    fn fits(&mut self, at: usize, to: usize) -> bool {
        if self.failed.contains(&(at, to)) {
            return false;
        }
        let fits = self.fits_next(at, to);
        if !fits {
            self.failed.insert((at, to));
        }
        fits
    }

    fn fits_next(&mut self, at: usize, to: usize) -> bool {
        let next = self.path.get(to).copied();
        let in_name = next.is_some_and(|byte| byte != b'/');
        match &self.pattern[at..] {
            [] => next.is_none(),
            [b'*', b'*', b'/', ..] => {
                let folder = self.path[to..].iter().position(|byte| *byte == b'/');
                self.fits(at + 3, to) || folder.is_some_and(|end| self.fits(at, to + end + 1))
            }
            [b'*', b'*', ..] => self.fits(at + 2, to) || (next.is_some() && self.fits(at, to + 1)),
            [b'*', ..] => self.fits(at + 1, to) || (in_name && self.fits(at, to + 1)),
            [b'?', ..] => in_name && self.fits(at + 1, to + 1),
            [b'[', set @ ..] if set.contains(&b']') => {
                let set: Vec<u8> = set.iter().copied().take_while(|byte| *byte != b']').collect();
                next.is_some_and(|byte| in_name && is_in(&set, byte))
                    && self.fits(at + set.len() + 2, to + 1)
            }
            [byte, ..] => next == Some(*byte) && self.fits(at + 1, to + 1),
        }
    }
}

/// Whether `0-9a` has a byte; `!0-9a` has all others.
fn is_in(set: &[u8], byte: u8) -> bool {
    let (set, is_other) = match set {
        [b'!' | b'^', rest @ ..] => (rest, true),
        set => (set, false),
    };
    let mut rest = set;
    let mut found = false;
    loop {
        rest = match rest {
            [] => return found != is_other,
            [first, b'-', last, after @ ..] => {
                found |= (*first..=*last).contains(&byte);
                after
            }
            [one, after @ ..] => {
                found |= *one == byte;
                after
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_as_a_shells_do() {
        for (pattern, path) in [
            ("data/train-*", "data/train-00000-of-00001.parquet"),
            ("*.csv", "a.csv"),
            ("**/*.csv", "a.csv"),
            ("**/*.csv", "x/y/a.csv"),
            ("x/**", "x/y/a.csv"),
            ("./a.cs?", "a.csv"),
            ("t-[0-9][0-9].json", "t-07.json"),
            ("t-[!0-9].json", "t-x.json"),
            ("a[b", "a[b"),
        ] {
            assert!(fits(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in [
            ("*.csv", "x/a.csv"),
            ("data/train-*", "data/test-0.csv"),
            ("t-[0-9].json", "t-x.json"),
            ("a?b", "a/b"),
            ("", "a"),
            ("**/x", "ax"),
        ] {
            assert!(!fits(pattern, path), "{pattern} {path}");
        }
    }

    #[test]
    fn a_pattern_of_many_stars_takes_no_time() {
        let start = std::time::Instant::now();
        assert!(!fits(&"*a".repeat(100), &"a".repeat(128).replace("aaaa", "aaab")));
        assert!(!fits(&("**".repeat(100) + "b"), &"a/".repeat(200)));
        assert!(start.elapsed().as_secs() < 10);
    }
}
