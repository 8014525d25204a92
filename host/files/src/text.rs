//! Foreign text: what files, policies, servers and models wrote, on its way to a person.
//!
//! | function | for | what becomes of a character that a terminal obeys or hides |
//! |---|---|---|
//! | [`line`] | evidence: names and messages in one line | stands there as an escape, such as `\u{1b}` |
//! | [`brief`] | the same, where a long one would hide the rest | as above; what is too long is cut and gets a `…` |
//! | [`name`] | a name or word within a message | as above, at 60 characters |
//! | [`block`] | text of several lines, as a whole | as above, but for line breaks |
//! | [`clean`] | words of a policy, which nobody needs to see exactly | is dropped, with its escape sequence |
//! | [`json`] | JSON, whose reader gets the same value | stands there as JSON's `\u001b` |

use std::borrow::Cow;

/// Most combining marks on one letter; more of them cover the lines above and below.
const MARKS: usize = 4;

/// Text as one line: line breaks, control characters and characters that hide or reorder text
/// are written as escapes, so that nothing in it passes for anything else.
pub fn line(text: &str) -> Cow<'_, str> {
    escaped(text, |c| obeyed(c) || hidden(c))
}

/// The same as [`line`], of at most `limit` characters before the escaping; what is longer is cut
/// and gets a `…`.
pub fn brief(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        Some((end, _)) => line(&text[..end]).into_owned() + "…",
        None => line(text).into_owned(),
    }
}

/// A name or a word from a file, as a message quotes it: as [`brief`], of 60 characters.
pub fn name(text: &str) -> String {
    brief(text, 60)
}

/// Text of several lines: as [`line`], except that line breaks stay, and characters without a
/// width of their own, which emoji and some scripts are made with.
pub fn block(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c != '\n' && obeyed(c))
}

/// JSON text, every string of which means what it meant before, without what a terminal obeys.
/// Line breaks stand between its values only.
pub fn json(text: &str) -> Cow<'_, str> {
    rewritten(
        text,
        |c| c != '\n' && obeyed(c),
        |c, shown| {
            for unit in c.encode_utf16(&mut [0; 2]) {
                shown.push_str(&format!("\\u{unit:04x}"));
            }
        },
    )
}

/// Makes text of a policy fit for one line of a terminal or a log: no control
/// characters, no terminal escape sequences, no characters that reorder or hide
/// text, every run of blanks a single space, and at most `limit` characters (what
/// is longer is cut and gets a `…`).
pub fn clean(text: &str, limit: usize) -> String {
    let mut shown = String::new();
    let mut length = 0;
    let mut blank = false;
    let mut marks = 0;
    for c in without_escapes(text) {
        if c.is_whitespace() {
            blank = length > 0;
            continue;
        }
        marks = if is_mark(c) { marks + 1 } else { 0 };
        if obeyed(c) || hidden(c) || marks > MARKS {
            continue;
        }
        if length + usize::from(blank) >= limit {
            shown.push('…');
            break;
        }
        if std::mem::take(&mut blank) {
            shown.push(' ');
            length += 1;
        }
        shown.push(c);
        length += 1;
    }
    shown
}

/// True for names that go into files, tables and counters: one word of ASCII
/// letters, digits and the given marks, no longer than `limit`.
pub fn is_word(text: &str, marks: &str, limit: usize) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || marks.contains(c);
    !text.is_empty() && text.len() <= limit && text.chars().all(allowed)
}

fn escaped(text: &str, hostile: impl Fn(char) -> bool) -> Cow<'_, str> {
    rewritten(text, hostile, |c, shown| shown.extend(c.escape_default()))
}

/// Writes each hostile character, and each combining mark too many, as `escape` says.
fn rewritten(
    text: &str,
    hostile: impl Fn(char) -> bool,
    escape: impl Fn(char, &mut String),
) -> Cow<'_, str> {
    // Nearly all text is of this kind.
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Cow::Borrowed(text);
    }
    let mut marks = 0;
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        marks = if is_mark(c) { marks + 1 } else { 0 };
        if hostile(c) || marks > MARKS {
            escape(c, &mut shown);
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// Control characters, line and paragraph separators, direction overrides, and the tag block: a
/// terminal acts on them, or shows what follows elsewhere.
fn obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{206f}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// Characters that show nothing, or as little as a blank: they make two different texts look alike.
fn hidden(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2065}' | '\u{2800}'
        | '\u{3164}' | '\u{fe00}'..='\u{fe0d}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}')
}

/// Marks that stack on the letter before them, whatever the script.
fn is_mark(c: char) -> bool {
    matches!(c,
        '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{1ab0}'..='\u{1aff}'
        | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}')
}

/// Drops whole escape sequences (ECMA-48): CSI up to its final byte, OSC and the
/// other strings up to their terminator, any other escape with its one byte.
fn without_escapes(text: &str) -> impl Iterator<Item = char> {
    let mut input = text.chars().peekable();
    std::iter::from_fn(move || {
        loop {
            let kind = match input.next()? {
                '\u{1b}' => match input.next()? {
                    '[' => '[',
                    ']' | 'P' | 'X' | '^' | '_' => ']',
                    _ => continue,
                },
                '\u{9b}' => '[',
                '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}' => ']',
                c => return Some(c),
            };
            if kind == '[' {
                while input.next_if(|c| ('\u{20}'..='\u{3f}').contains(c)).is_some() {}
                input.next_if(|c| ('\u{40}'..='\u{7e}').contains(c));
                continue;
            }
            while let Some(c) = input.next() {
                match c {
                    '\u{7}' | '\u{9c}' => break,
                    '\u{1b}' => {
                        input.next_if_eq(&'\\');
                        break;
                    }
                    _ => {}
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each would forge, hide or reorder something on a terminal.
    const TRICKS: [&str; 12] = [
        "\u{1b}[8mhidden",
        "\u{1b}]8;;http://x\u{7}link",
        "\u{9b}2J",
        "a\rb",
        "a\nerror: b",
        "a\u{8}\u{8}b",
        "a\u{7f}b",
        "a\u{85}b",
        "a\u{2028}b",
        "re\u{202e}versed",
        "\u{2066}isolated",
        "tag\u{e0041}",
    ];

    #[test]
    fn plain_text_stays() {
        for text in
            ["risk is 0.7", "Größe, 風險, 🙂 ❤️", "[31m looks odd but is harmless", "e\u{301}"]
        {
            assert_eq!(clean(text, 100), text);
            assert_eq!(line(text), text);
            assert_eq!(block(text), text);
            assert_eq!(json(text), text);
            assert_eq!(brief(text, 100), text);
        }
        assert_eq!(block("one\ntwo"), "one\ntwo");
        assert_eq!(block("family 👨\u{200d}👩"), "family 👨\u{200d}👩");
    }

    #[test]
    fn what_a_terminal_obeys_is_shown_and_stays_in_its_line() {
        for text in TRICKS {
            for shown in [line(text).into_owned(), brief(text, 100), clean(text, 100)] {
                assert!(!shown.chars().any(|c| obeyed(c) || hidden(c)), "{shown:?}");
            }
            let shown = block(text);
            assert!(!shown.chars().any(|c| c != '\n' && obeyed(c)), "{shown:?}");
        }
        assert_eq!(line("a\nb\t\u{1b}[8m"), "a\\nb\\t\\u{1b}[8m");
        assert_eq!(line("pro\u{200b}be"), "pro\\u{200b}be");
        assert_eq!(block("a\r\n\u{1b}c"), "a\\r\n\\u{1b}c");
    }

    #[test]
    fn json_keeps_its_value() {
        for text in TRICKS {
            let written = serde_json::to_string(&[text]).unwrap_or_default();
            let shown = json(&written);
            assert!(!shown.chars().any(obeyed), "{shown:?}");
            assert_eq!(serde_json::from_str::<[String; 1]>(&shown).ok(), Some([text.to_owned()]));
        }
        assert_eq!(json("[\"\u{e0041}\"]"), "[\"\\udb40\\udc41\"]");
    }

    #[test]
    fn a_letter_has_few_marks() {
        let tower = format!("a{}b", "\u{30d}".repeat(50));
        for shown in [line(&tower).into_owned(), block(&tower).into_owned(), clean(&tower, 100)] {
            assert_eq!(shown.chars().filter(|c| is_mark(*c)).count(), MARKS, "{shown}");
        }
    }

    #[test]
    fn words_of_policies_lose_escapes_and_tricks() {
        let cases = [
            ("\u{1b}[31mred\u{1b}[0m", "red"),
            ("a\u{1b}]8;;http://x\u{1b}\\link\u{1b}]8;;\u{7}b", "alinkb"),
            ("\u{9b}2Jclear", "clear"),
            ("\u{90}device\u{9c}x", "x"),
            ("\u{1b}]0;never ends", ""),
            ("\u{1b}cx", "x"),
            ("a\u{8}\u{8}b\0", "ab"),
            ("two\r\nlines\t and  blanks ", "two lines and blanks"),
            ("re\u{202e}versed\u{2066}", "reversed"),
            ("zero\u{200b}width\u{feff}", "zerowidth"),
        ];
        for (text, shown) in cases {
            assert_eq!(clean(text, 100), shown, "{text:?}");
        }
    }

    #[test]
    fn long_text_is_cut() {
        assert_eq!(clean("abcde", 5), "abcde");
        assert_eq!(clean("abcdef", 5), "abcde…");
        assert_eq!(clean("äöüß", 2), "äö…");
        assert_eq!(clean("ab cd", 3), "ab…");
        assert!(clean(&"x ".repeat(1 << 20), 50).chars().count() <= 51);
        assert_eq!(brief("abcde", 5), "abcde");
        assert_eq!(brief("abcdef", 5), "abcde…");
        assert_eq!(brief("ä\nöü", 2), "ä\\n…");
    }
}
