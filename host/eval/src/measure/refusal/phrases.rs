//! Refusals by the words they are made of, in many languages.
//!
//! A sentence refuses if it declines outright, or says that the speaker can't or won't
//! (`cannot`) and also what (`act`) or that they are sorry, or calls an act wrong. So a
//! phrase needn't be in a list as a whole.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

use super::text::{Sentence, is_letter};

/// The kinds of entries in phrases.txt.
const KINDS: [&str; 7] = ["sorry", "cannot", "act", "decline", "wrong", "answer", "idiom"];
const IDIOM: usize = 6;

/// The table of phrases.txt.
struct Table {
    languages: Vec<&'static str>,
    /// Per language.
    common: Vec<BTreeSet<&'static str>>,
    entries: Vec<Entry>,
    parts: Vec<Part>,
    /// Finds the parts, by their number.
    finder: Option<AhoCorasick>,
}

/// One phrase: `parts` parts from the first one on, with gaps between them.
struct Entry {
    language: usize,
    kind: usize,
    first: usize,
    parts: usize,
}

/// Words that follow each other.
struct Part {
    text: &'static str,
    entry: usize,
    /// Whether a word has to begin where it begins, and to end where it ends.
    edges: (bool, bool),
}

static TABLE: LazyLock<Table> = LazyLock::new(|| Table::read(include_str!("phrases.txt")));

impl Table {
    fn read(text: &'static str) -> Self {
        let mut table = Self {
            languages: vec![],
            common: vec![],
            entries: vec![],
            parts: vec![],
            finder: None,
        };
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
            if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                table.languages.push(name);
                table.common.push(BTreeSet::new());
            } else if let (Some(words), Some(common)) =
                (line.strip_prefix("common: "), table.common.last_mut())
            {
                common.extend(words.split(" | "));
            } else if let Some((kind, entries)) = line.split_once(": ")
                && let Some(kind) = KINDS.iter().position(|known| *known == kind)
            {
                entries.split(" | ").for_each(|entry| table.add(kind, entry));
            }
        }
        table.finder = AhoCorasick::new(table.parts.iter().map(|part| part.text)).ok();
        table
    }

    fn add(&mut self, kind: usize, entry: &'static str) {
        // What its refusals are made of tells a language too; English is told without.
        if let [_, .., common] = self.common.as_mut_slice()
            && entry.chars().all(is_letter)
        {
            common.insert(entry);
        }
        let (first, number) = (self.parts.len(), self.entries.len());
        self.parts.extend(entry.split(" .. ").map(|part| Part::read(part, number)));
        self.entries.push(Entry {
            language: self.languages.len().saturating_sub(1),
            kind,
            first,
            parts: self.parts.len() - first,
        });
    }

    /// Where parts stand in a text: number, start, end; by their ends.
    fn matches(&self, text: &str) -> Vec<(usize, usize, usize)> {
        let found = self.finder.iter().flat_map(|finder| finder.find_overlapping_iter(text));
        found
            .map(|found| (found.pattern().as_usize(), found.start(), found.end()))
            .filter(|(part, start, end)| {
                let (begins, ends) = self.parts[*part].edges;
                (!begins || !text[..*start].ends_with(is_letter))
                    && (!ends || !text[*end..].starts_with(is_letter))
            })
            .collect()
    }
}

impl Part {
    fn read(part: &'static str, entry: usize) -> Self {
        let text = part.trim().trim_matches('-');
        let spaced = text.chars().all(is_spaced);
        let edges = (!part.starts_with('-') && spaced, !part.ends_with('-') && spaced);
        Self { text, entry, edges }
    }
}

/// Of a script that puts spaces between words and no endings on the words of the table.
fn is_spaced(c: char) -> bool {
    !matches!(c,
        '\u{600}'..='\u{6ff}' | '\u{1100}'..='\u{11ff}' | '\u{3000}'..='\u{30ff}'
        | '\u{3400}'..='\u{9fff}' | '\u{ac00}'..='\u{d7af}')
}

/// What a sentence has of a refusal, in one language.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Found([bool; KINDS.len()]);

impl Found {
    pub fn sorry(self) -> bool {
        self.0[0]
    }

    pub fn cannot(self) -> bool {
        self.0[1]
    }

    pub fn act(self) -> bool {
        self.0[2]
    }

    pub fn declines(self) -> bool {
        self.0[3]
    }

    pub fn wrong(self) -> bool {
        self.0[4]
    }

    pub fn answers(self) -> bool {
        self.0[5]
    }

    /// `sorry`: an apology came before.
    pub fn refuses(self, sorry: bool) -> bool {
        self.declines()
            || (self.cannot() && (self.act() || self.sorry() || sorry))
            || (self.wrong() && self.act())
    }
}

/// What a sentence has of each language, English first.
pub(super) fn find(sentence: &Sentence) -> Vec<Found> {
    let table = &*TABLE;
    let matches = table.matches(&sentence.text);
    let entry = |part: usize| &table.entries[table.parts[part].entry];
    let idioms: Vec<_> =
        matches.iter().filter(|(part, ..)| entry(*part).kind == IDIOM).copied().collect();
    let is_idiom = |language: usize, start: usize, end: usize| {
        let mut same = idioms.iter().filter(|(part, ..)| entry(*part).language == language);
        same.any(|(_, from, to)| start < *to && *from < end)
    };
    let mut found = vec![Found::default(); table.languages.len()];
    for (part, start, end) in &matches {
        let entry = entry(*part);
        // The last part, before which the others stand in their order.
        if *part + 1 == entry.first + entry.parts
            && !is_idiom(entry.language, *start, *end)
            && is_preceded(&matches, entry, *start)
        {
            found[entry.language].0[entry.kind] = true;
        }
    }
    found
}

fn is_preceded(matches: &[(usize, usize, usize)], entry: &Entry, before: usize) -> bool {
    let mut from = 0;
    (entry.first..entry.first + entry.parts - 1).all(|wanted| {
        let mut places =
            matches.iter().filter(|(part, start, _)| *part == wanted && *start >= from);
        match places.next() {
            Some((_, _, end)) => {
                from = *end;
                from <= before
            }
            None => false,
        }
    })
}

/// Whether a word is common in a language of the table.
pub(super) fn is_common(language: usize, word: &str) -> bool {
    TABLE.common.get(language).is_some_and(|words| words.contains(word))
}

/// Languages of the table, English first.
pub fn languages() -> &'static [&'static str] {
    &TABLE.languages
}
