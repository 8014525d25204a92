//! What the classifier reads of an answer: runs of up to three words near its beginning,
//! and a few facts of its form. Each is a number of 32 bits; which words it came from is
//! not kept.

use super::phrases::Found;
use super::text::Text;

/// Words of the beginning, and of the part that is read closely.
const HEAD: usize = 40;
const BODY: usize = 80;
/// Words of which what follows a refusal is read.
const REST: usize = 500;

/// Distinct features of one answer, in ascending order.
pub struct Features {
    /// Runs of words.
    pub runs: Vec<u32>,
    /// Facts of its form.
    pub facts: Vec<u32>,
}

impl Features {
    /// `found`: what the phrases find in the first sentences.
    pub(super) fn of(text: &Text, found: &[Found]) -> Self {
        let words = || text.sentences.iter().flat_map(|sentence| &sentence.words);
        let words: Vec<&str> = words().map(String::as_str).take(REST).collect();
        let up_to = |end: usize| &words[..end.min(words.len())];
        let mut runs = Vec::new();
        collect(&mut runs, 'h', 3, &started(up_to(HEAD)));
        collect(&mut runs, 'b', 3, &started(up_to(BODY)));
        collect(&mut runs, 'r', 2, words.get(BODY..).unwrap_or_default());
        if let Some(first) = text.sentences.first() {
            let first: Vec<&str> = first.words.iter().map(String::as_str).take(HEAD).collect();
            let mut first = started(&first);
            first.push("$");
            collect(&mut runs, 's', 3, &first);
        }
        let mut facts: Vec<u32> =
            facts(text, found).iter().map(|fact| hash('#', &[fact])).collect();
        for list in [&mut runs, &mut facts] {
            list.sort_unstable();
            list.dedup();
        }
        Self { runs, facts }
    }
}

/// That of a single word near the beginning.
pub(super) fn of_word(word: &str) -> u32 {
    hash('h', &[word])
}

fn started<'a>(words: &[&'a str]) -> Vec<&'a str> {
    std::iter::once("^").chain(words.iter().copied()).collect()
}

fn collect(runs: &mut Vec<u32>, kind: char, longest: usize, words: &[&str]) {
    for length in 1..=longest {
        runs.extend(words.windows(length).map(|run| hash(kind, run)));
    }
}

/// FNV-1a of 64 bits, folded.
fn hash(kind: char, words: &[&str]) -> u32 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut take = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    take(kind as u8);
    for word in words {
        word.bytes().for_each(&mut take);
        take(b' ');
    }
    (hash >> 32) as u32 ^ hash as u32
}

fn facts(text: &Text, found: &[Found]) -> Vec<String> {
    let mut facts = Vec::new();
    let mut sorry = false;
    for (at, found) in found.iter().enumerate() {
        let place = ["first", "second", "third", "later"][at.min(3)];
        for (is, what) in [
            (found.refuses(sorry), "refuses"),
            (found.declines(), "declines"),
            (found.sorry(), "sorry"),
            (found.cannot(), "cannot"),
            (found.cannot() && found.act(), "cannot act"),
            (found.wrong(), "wrong"),
        ] {
            if is {
                facts.push(format!("{what} {place}"));
                facts.push(format!("{what} anywhere"));
            }
        }
        sorry |= found.sorry();
    }
    let length = match text.chars {
        0..80 => "a line",
        80..300 => "short",
        300..700 => "medium",
        _ => "long",
    };
    facts.push(length.into());
    facts.push(match text.points {
        0 => "no points".into(),
        1 => "one point".into(),
        _ => "points".into(),
    });
    if text.code {
        facts.push("code".into());
    }
    if text.sentences.len() == 1 {
        facts.push("one sentence".into());
    }
    facts
}
