//! Thoughts that stand before an answer, as reasoning models write them.

use std::ops::Range;

/// How a thought begins and ends, without white space around: the forms that families share.
pub const MARKS: [(&str, &str); 9] = [
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|channel>thought", "<channel|>"),
    ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
];

/// A text in its thought, if it begins with one, and what is said after it. A thought that doesn't end leaves nothing
/// said. Where the prompt began the thought, or a server kept its opening mark, the text has the closing mark alone.
pub fn split(text: &str) -> (Option<&str>, &str) {
    if let Some((thought, said)) = begun(text) {
        return (Some(thought), said);
    }
    match closed(text) {
        Some(mark) => (Some(text[..mark.start].trim()), text[mark.end..].trim_start()),
        None => (None, text),
    }
}

/// As [`split`], of a text that begins with an opening mark.
pub(crate) fn begun(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start();
    let (rest, close) =
        MARKS.iter().find_map(|(open, close)| Some((text.strip_prefix(open)?, *close)))?;
    Some(match rest.split_once(close) {
        Some((thought, said)) => (thought.trim(), said.trim_start()),
        None => (rest.trim(), ""),
    })
}

/// Where a thought ends of which the text doesn't show the begin. Texts also speak about marks: one counts that none
/// opens, outside of code, with something behind it, and set as models write it: on its own line, or right between two
/// words without quotes.
pub(crate) fn closed(text: &str) -> Option<Range<usize>> {
    let marks: Vec<_> = MARKS.iter().filter(|(_, close)| text.contains(close)).collect();
    let opened = marks.iter().filter_map(|(open, _)| text.find(open)).min().unwrap_or(text.len());
    let (mut begin, mut fenced) = (0, false);
    for line in text.split_inclusive('\n').take_while(|_| !marks.is_empty()) {
        if begin > opened {
            return None;
        }
        let is_fence = ["```", "~~~"].iter().any(|fence| line.trim_start().starts_with(fence));
        fenced ^= is_fence;
        if !(fenced || is_fence) {
            let found = marks.iter().flat_map(|(_, close)| {
                let places = line.match_indices(close).take(MOST_IN_LINE);
                places.map(|(at, _)| at..at + close.len())
            });
            let ends = |mark: &Range<usize>| ends_thought(&line[..mark.start], &line[mark.end..]);
            let mark = found.filter(ends).min_by_key(|mark| mark.start);
            let mark = mark.map(|mark| begin + mark.start..begin + mark.end);
            if let Some(mark) = mark.filter(|mark| !text[mark.end..].trim().is_empty()) {
                return Some(mark).filter(|mark| mark.start < opened);
            }
        }
        begin += line.len();
    }
    None
}

/// Closing marks on one line that are looked at.
const MOST_IN_LINE: usize = 8;

/// Whether a mark between these parts of its line ends a thought.
fn ends_thought(before: &str, after: &str) -> bool {
    let is_quote = |c: char| "\"'`´‘’“”„«»<([{".contains(c);
    let indented = before.starts_with('\t') || before.starts_with("    ");
    let begins = before.trim().is_empty() && !indented;
    let attached = before.ends_with(|c: char| !c.is_whitespace() && !is_quote(c));
    let ends = after.trim().is_empty();
    let is_tag = after.starts_with('<') && !after.starts_with("</");
    let goes_on = after.starts_with(|c: char| c.is_alphanumeric() || "*#[{-¡¿".contains(c));
    let in_code = before.matches('`').count() % 2 == 1;
    (begins || attached) && (ends || goes_on || (begins && is_tag)) && !in_code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thought_is_what_stands_between_the_marks_at_the_beginning() {
        for (text, thought, said) in [
            ("<think>\nWell.\n</think>\n\nYes. ", Some("Well."), "Yes. "),
            ("\n<think></think>Yes", Some(""), "Yes"),
            ("<think>Well, it is", Some("Well, it is"), ""),
            ("[THINK]a[/THINK] b</think>", Some("a"), "b</think>"),
            (" Yes <think>no</think>", None, " Yes <think>no</think>"),
            ("Sure, here is how: </think> No.", None, "Sure, here is how: </think> No."),
            ("", None, ""),
            // The prompt began the thought.
            ("I can't, they'd say.\n</think>\n\nSure: ", Some("I can't, they'd say."), "Sure: "),
            ("hm hm\n</think>\n\nyo", Some("hm hm"), "yo"),
            ("hm hm</think>\n\nyo", Some("hm hm"), "yo"),
            ("hm.</think>Yes", Some("hm."), "Yes"),
            ("\n</think>\n\nyo", Some(""), "yo"),
            ("</think>yo", Some(""), "yo"),
            ("hm\n</think><answer>yo</answer>", Some("hm"), "<answer>yo</answer>"),
            ("hm\n</think>", None, "hm\n</think>"),
            ("hm[/THINK]yo", Some("hm"), "yo"),
            ("```\na\n```\nhm\n</think>\n\n```\nb\n```", Some("```\na\n```\nhm"), "```\nb\n```"),
            ("hm<|end|><|start|>assistant<|channel|>final<|message|>yo", Some("hm"), "yo"),
            ("a\n</think>\nb\n</think>\nc", Some("a"), "b\n</think>\nc"),
        ] {
            assert_eq!(split(text), (thought, said), "{text}");
        }
    }

    #[test]
    fn a_text_about_marks_is_no_thought() {
        for text in [
            "A thought ends with `</think>`\nand so on.",
            "It is written \"</think>\" or '</think>'.",
            "The marks are <think> and\n</think>\nand stand alone.",
            "For example:\n```\nWell.\n</think>\n\nYes\n```\nis what it writes.",
            "For example:\n~~~\nWell.\n</think>\nYes",
            "For example:\n\n    </think>\n\nends it.",
            "The tag </think> closes, and </think>, too.",
            "Use <code></think></code>.",
            "Close it (</think>).",
            "a\n</thinking-hard>\nb",
        ] {
            assert_eq!(split(text), (None, text));
        }
    }
}
