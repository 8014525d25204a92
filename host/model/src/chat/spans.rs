//! `{% generation %}` blocks: which part of a rendered conversation they are.

use std::ops::Range;

use minijinja::value::{Kwargs, Value};
use minijinja::{Environment, Error, ErrorKind, State};

use super::Rendered;
use super::source::GENERATION;
use crate::message::Chat;

/// Noncharacters, which Unicode keeps for a program's own use, around what a block renders.
const BEGIN: char = '\u{fdd0}';
const END: char = '\u{fdd1}';

/// The function that a block calls.
pub fn add_to(environment: &mut Environment<'static>) {
    environment.add_function(
        GENERATION,
        |state: &mut State<'_, '_>, named: Kwargs| -> Result<String, Error> {
            let body: Value = named.get("caller")?;
            Ok(format!("{BEGIN}{}{END}", body.call(state, &[])?))
        },
    );
}

/// Refuses a conversation that has the marks itself: they could make another's text an answer.
pub fn check(chat: Chat<'_>) -> Result<(), Error> {
    let has = |text: &str| text.contains([BEGIN, END]);
    let message = |it: &crate::Message| {
        has(&it.role)
            || has(&it.content)
            || [&it.reasoning, &it.name, &it.tool_call_id].into_iter().flatten().any(|it| has(it))
            || it.tool_calls.iter().any(|call| has(&call.to_string()))
    };
    let inputs = chat.inputs.tools.iter().chain(&chat.inputs.documents);
    let mut inputs = inputs.chain(chat.inputs.kwargs.values());
    let forged = chat.messages.iter().any(message) || inputs.any(|it| has(&it.to_string()));
    if forged { Err(ambiguous()) } else { Ok(()) }
}

/// The text without the marks, and what stood between them.
pub fn read(marked: &str) -> Result<Rendered, Error> {
    let mut rendered =
        Rendered { text: String::with_capacity(marked.len()), ..Rendered::default() };
    let (mut begin, mut depth, mut rest) = (0, 0usize, marked);
    while let Some(at) = rest.find([BEGIN, END]) {
        rendered.text.push_str(&rest[..at]);
        let here = rendered.text.len();
        if rest[at..].starts_with(BEGIN) {
            begin = if depth == 0 { here } else { begin };
            depth += 1;
        } else {
            // The template itself may write these characters.
            depth = depth.checked_sub(1).ok_or_else(ambiguous)?;
            if depth == 0 {
                push(&mut rendered.generated, begin..here);
            }
        }
        rest = &rest[at + BEGIN.len_utf8()..];
    }
    if depth > 0 {
        return Err(ambiguous());
    }
    rendered.text.push_str(rest);
    Ok(rendered)
}

fn push(spans: &mut Vec<Range<usize>>, span: Range<usize>) {
    match spans.last_mut() {
        _ if span.is_empty() => {}
        Some(last) if last.end == span.start => last.end = span.end,
        _ => spans.push(span),
    }
}

fn ambiguous() -> Error {
    let problem = "a message has the characters U+FDD0 or U+FDD1, which no text has";
    Error::new(ErrorKind::InvalidOperation, problem)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn marks_become_spans() {
        let read = |text: &str| read(&text.replace('<', "\u{fdd0}").replace('>', "\u{fdd1}"));
        let rendered = read("a<bé>c<><d><e<f>>g").unwrap();
        assert_eq!((rendered.text.as_str(), rendered.generated), ("abécdefg", vec![1..4, 5..8]));
        assert!(read("a>").is_err() && read("<").is_err());
    }
}
