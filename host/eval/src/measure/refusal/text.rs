//! An answer as the other files of this room read it: the opening in lower case, without
//! what it quotes, cut into sentences and words.

/// Characters of an answer that are read, leading white space not counted.
const READ: usize = 2000;
/// Longest quotation, in characters; a quotation mark without a partner is nothing more.
const QUOTE: usize = 600;
/// Stands where a quotation or a block of code was.
pub(super) const QUOTED: &str = "\u{b6}";

/// Spellings that are brought to one, in this order.
const SPELLINGS: &[(&[&str], &str)] = &[
    (&["can", "not"], "can't"),
    (&["cannot"], "can't"),
    (&["cant"], "can't"),
    (&["will", "not"], "won't"),
    (&["wont"], "won't"),
    (&["i", "am"], "i'm"),
    (&["im"], "i'm"),
    (&["do", "not"], "don't"),
    (&["dont"], "don't"),
    (&["does", "not"], "doesn't"),
    (&["should", "not"], "shouldn't"),
    (&["shouldnt"], "shouldn't"),
    (&["would", "not"], "wouldn't"),
    (&["that", "is"], "that's"),
    (&["it", "is"], "it's"),
    (&["is", "not"], "isn't"),
    (&["it's", "not"], "it isn't"),
    (&["are", "not"], "aren't"),
];

pub(super) struct Text {
    /// Without what it quotes.
    pub plain: String,
    pub sentences: Vec<Sentence>,
    /// Whether a block of code, or the second point of a list, was seen.
    pub code: bool,
    pub points: usize,
    /// Characters of the whole answer, up to [`READ`].
    pub chars: usize,
}

/// One sentence.
pub(super) struct Sentence {
    /// Its words with one spelling, for phrases.
    pub text: String,
    pub words: Vec<String>,
}

impl Text {
    pub fn of(answer: &str) -> Self {
        let read: String = answer.trim_start().chars().take(READ).collect();
        let chars = read.chars().count();
        let lower = simplified(unwrapped(read.trim()));
        let (plain, code) = without_quotes(&lower);
        let points = plain.lines().filter(|line| is_point(line)).count();
        let mut sentences = Vec::new();
        for piece in plain.split_inclusive(ends_sentence) {
            let words = words(piece);
            if words.iter().any(|word| word.chars().any(char::is_alphanumeric) || word == QUOTED) {
                sentences.push(Sentence { text: words.join(" "), words });
            }
        }
        Self { plain, sentences, code, points, chars }
    }
}

/// Without quotation marks or emphasis around the whole of it.
fn unwrapped(text: &str) -> &str {
    let mut text = text;
    for (open, close) in
        [("\"", "\""), ("\u{201c}", "\u{201d}"), ("**", "**"), ("*", "*"), ("'", "'")]
    {
        let inner = text.strip_prefix(open).and_then(|rest| rest.strip_suffix(close));
        if let Some(inner) = inner.filter(|inner| !inner.contains(open)) {
            text = inner.trim();
        }
    }
    text
}

/// In lower case, with straight apostrophes and without characters that aren't seen.
fn simplified(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            'a'..='z' | ' ' | '.' | ',' | '\n' => plain.push(c),
            'A'..='Z' => plain.push(c.to_ascii_lowercase()),
            '\u{2018}' | '\u{2019}' | '\u{02bc}' | '\u{02b9}' | '`' | '\u{b4}' | '\u{ff07}' => {
                plain.push(if c == '`' { '`' } else { '\'' });
            }
            '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}' | '\u{640}' | '*' => {}
            '\r' | '\t' | '\u{a0}' | '\u{202f}' | '\u{3000}' => plain.push(' '),
            // The capital of Turkish is an i and a dot of its own.
            '\u{130}' => plain.push('i'),
            _ => plain.extend(c.to_lowercase()),
        }
    }
    plain
}

/// The text with [`QUOTED`] for each quotation and block of code, and whether there was
/// such a block.
fn without_quotes(text: &str) -> (String, bool) {
    let (mut plain, mut code) = (String::with_capacity(text.len()), false);
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        if let Some(block) = rest.strip_prefix("```") {
            code = true;
            rest = block.split_once("```").map_or("", |(_, after)| after);
            plain += " \u{b6}\n";
            continue;
        }
        let close = match c {
            '"' => Some('"'),
            '\u{201c}' | '\u{201e}' => Some('\u{201d}'),
            '\u{ab}' => Some('\u{bb}'),
            '\u{300c}' => Some('\u{300d}'),
            _ => None,
        };
        let close = close.and_then(|close| quoted(after, close, c));
        if let Some(end) = close {
            plain += " \u{b6} ";
            rest = &after[end..];
        } else {
            // What is left of a word between backticks is an apostrophe.
            plain.push(if c == '`' { '\'' } else { c });
            rest = after;
        }
    }
    (plain, code)
}

/// Where a quotation that begins here ends, the mark included; within a paragraph.
fn quoted(text: &str, close: char, open: char) -> Option<usize> {
    for (at, c) in text.char_indices().take(QUOTE) {
        // German ends with the mark with which English begins.
        if c == close || (open == '\u{201e}' && c == '\u{201c}') {
            return Some(at + c.len_utf8());
        }
        if c == '\n' {
            return None;
        }
    }
    None
}

fn is_point(line: &str) -> bool {
    let line = line.trim_start();
    let digits = line.trim_start_matches(|c: char| c.is_ascii_digit());
    (digits.len() < line.len() && digits.starts_with(['.', ')']))
        || line.starts_with("- ")
        || line.starts_with("\u{2022}")
        || line.starts_with("step ")
}

fn ends_sentence(c: char) -> bool {
    matches!(
        c,
        '.' | '!'
            | '?'
            | '\n'
            | '\u{2026}'
            | '\u{3002}'
            | '\u{ff01}'
            | '\u{ff1f}'
            | '\u{61f}'
            | '\u{6d4}'
            | '\u{964}'
    )
}

/// Words, numbers and marks, one spelling for each.
fn words(sentence: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut chars = sentence.chars().peekable();
    while let Some(c) = chars.next() {
        if c.is_numeric() {
            if words.last().is_none_or(|last| last != "0") {
                words.push("0".into());
            }
        } else if is_letter(c) {
            let mut word = String::from(c);
            while let Some(next) = chars.peek().copied() {
                if is_letter(next) {
                    word.push(next);
                } else if next == '\'' {
                    let mut ahead = chars.clone();
                    ahead.next();
                    if !ahead.peek().copied().is_some_and(is_letter) {
                        break;
                    }
                    word.push('\'');
                } else {
                    break;
                }
                chars.next();
            }
            words.push(word);
        } else if matches!(c, '.' | '!' | '?' | ',' | ';' | ':' | '(' | ')')
            || QUOTED.starts_with(c)
        {
            words.push(c.into());
        }
    }
    for (from, to) in SPELLINGS {
        respell(&mut words, from, to);
    }
    words
}

fn respell(words: &mut Vec<String>, from: &[&str], to: &str) {
    let mut at = 0;
    while at + from.len() <= words.len() {
        if words[at..at + from.len()].iter().zip(from).all(|(word, from)| word == from) {
            words.splice(at..at + from.len(), to.split(' ').map(str::to_owned));
        }
        at += 1;
    }
}

/// Letters, and the marks that some scripts write their vowels with.
pub(super) fn is_letter(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_alphabetic();
    }
    c.is_alphabetic()
        || matches!(c, '\u{93c}' | '\u{94d}' | '\u{300}'..='\u{36f}' | '\u{64b}'..='\u{652}')
}
