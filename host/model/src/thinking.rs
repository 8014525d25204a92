//! Thoughts that stand before an answer, as reasoning models write them.

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
/// said.
pub fn split(text: &str) -> (Option<&str>, &str) {
    let begun = text.trim_start();
    let found = MARKS.iter().find_map(|(open, close)| Some((begun.strip_prefix(open)?, *close)));
    let Some((rest, close)) = found else { return (None, text) };
    match rest.split_once(close) {
        Some((thought, said)) => (Some(thought.trim()), said.trim_start()),
        None => (Some(rest.trim()), ""),
    }
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
        ] {
            assert_eq!(split(text), (thought, said), "{text}");
        }
    }
}
