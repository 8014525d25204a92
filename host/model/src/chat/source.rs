//! A template's text as Python's Jinja reads it, written so that minijinja reads the same.
//!
//! What differs: line ends (`\r\n` and `\r` are `\n`, also inside of strings), escapes in string literals (Python's,
//! with a backslash at the end of a line joining the lines), and transformers' `{% generation %}` blocks.

use std::iter::Peekable;
use std::str::CharIndices;

/// Function that a `{% generation %}` block calls.
pub const GENERATION: &str = "__generation_block";

/// Rewrite a template; what isn't valid stays as it is, for the compiler to name.
pub fn normalised(text: &str) -> String {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut out = String::with_capacity(text.len() + 64);
    let mut rest = text.as_str();
    let mut depth = 0;
    while let Some(start) = rest.find('{') {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        let taken = match rest.as_bytes().get(1) {
            Some(b'#') => length_to(rest, "#}"),
            Some(b'{') => tag(rest, "}}", &mut out, &mut depth),
            Some(b'%') if is_tag(rest, "raw") => raw(rest),
            Some(b'%') => tag(rest, "%}", &mut out, &mut depth),
            _ => Taken::AsIs(1),
        };
        match taken {
            Taken::AsIs(length) => out.push_str(&rest[..length]),
            Taken::Written(_) => {}
        }
        rest = &rest[taken.length()..];
    }
    out.push_str(rest);
    out
}

/// Bytes of the source that were dealt with.
enum Taken {
    AsIs(usize),
    Written(usize),
}

impl Taken {
    fn length(&self) -> usize {
        match self {
            Self::AsIs(length) | Self::Written(length) => *length,
        }
    }
}

fn length_to(text: &str, end: &str) -> Taken {
    Taken::AsIs(text.find(end).map_or(text.len(), |at| at + end.len()))
}

/// Whether a block tag has this name and nothing else.
fn is_tag(text: &str, name: &str) -> bool {
    let Some(inside) = text.strip_prefix("{%").and_then(|rest| rest.split_once("%}")) else {
        return false;
    };
    inside.0.trim_matches(['-', '+']).trim() == name
}

/// From `{% raw %}` to the end of `{% endraw %}`: none of it is syntax.
fn raw(text: &str) -> Taken {
    let mut at = 2;
    while let Some(next) = text[at..].find("{%") {
        at += next;
        if is_tag(&text[at..], "endraw") {
            let end = text[at..].find("%}").map_or(text.len(), |end| at + end + 2);
            return Taken::AsIs(end);
        }
        at += 2;
    }
    Taken::AsIs(text.len())
}

/// One `{{ … }}` or `{% … %}`, with its strings escaped anew; `blocks` counts the generation blocks that it is in.
fn tag(text: &str, end: &str, out: &mut String, blocks: &mut usize) -> Taken {
    let mut inside = String::new();
    let mut depth = 0usize;
    let mut chars = text.char_indices().peekable();
    chars.nth(1);
    while let Some((at, c)) = chars.next() {
        if depth == 0 && text[at..].starts_with(end) {
            let (head, tail) = (&text[..2], end);
            let inside = match generation(&inside, blocks) {
                Some(call) => call,
                None if *blocks > 0 && end == "%}" => with_lookup(inside),
                None => inside,
            };
            out.push_str(head);
            out.push_str(&inside);
            out.push_str(tail);
            return Taken::Written(at + end.len());
        }
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            '\'' | '"' => {
                let Some(literal) = string(&mut chars, c) else {
                    return Taken::AsIs(text.len());
                };
                inside.push_str(&literal);
                continue;
            }
            _ => {}
        }
        inside.push(c);
    }
    Taken::AsIs(text.len())
}

/// `generation` and `endgeneration` as a call block, which has a scope of its own as in transformers.
fn generation(inside: &str, blocks: &mut usize) -> Option<String> {
    let word = inside.trim_matches(['-', '+']).trim();
    let call = match word {
        "generation" => {
            *blocks += 1;
            // A call block sees of what is around it only what it looks up; not, for that, the loop in the head of
            // another one.
            format!("call {GENERATION}() %}}{{% if loop is defined %}}{{% endif")
        }
        "endgeneration" => {
            *blocks = blocks.saturating_sub(1);
            "endcall".to_owned()
        }
        _ => return None,
    };
    Some(inside.replacen(word, &format!(" {call} "), 1))
}

/// `set NAMESPACE.key = …` with the namespace looked up before it: a call block sees only what it looks up.
fn with_lookup(inside: String) -> String {
    let body = inside.trim_matches(['-', '+']).trim();
    let target =
        body.strip_prefix("set ").and_then(|set| set.split_once('=')).map(|it| it.0.trim());
    let Some((namespace, _)) = target.and_then(|target| target.split_once('.')) else {
        return inside;
    };
    let side = |c: Option<char>| {
        c.filter(|c| matches!(c, '-' | '+')).map(String::from).unwrap_or_default()
    };
    let (left, right) = (side(inside.chars().next()), side(inside.chars().next_back()));
    format!("{left} if {namespace} is defined %}}{{% {body} %}}{{% endif {right}")
}

/// A literal behind its opening quote, quotes included; none if it doesn't end.
fn string(chars: &mut Peekable<CharIndices<'_>>, quote: char) -> Option<String> {
    let mut out = String::from(quote);
    loop {
        let (_, c) = chars.next()?;
        if c == quote {
            out.push(quote);
            return Some(out);
        }
        if c != '\\' {
            out.push(c);
            continue;
        }
        let (_, escaped) = chars.next()?;
        match escaped {
            '\n' => {}
            '\\' | '\'' | '"' => out.extend(['\\', escaped]),
            'n' | 'r' | 't' | 'b' | 'f' => out.extend(['\\', escaped]),
            'a' => out.push('\u{7}'),
            'v' => out.push('\u{b}'),
            '0'..='7' => push(&mut out, number(chars, 8, 3, Some(escaped))),
            'x' => push(&mut out, number(chars, 16, 2, None)),
            'u' => {
                let unit = number(chars, 16, 4, None);
                push(&mut out, with_low_surrogate(chars, unit));
            }
            'U' => push(&mut out, number(chars, 16, 8, None)),
            // Python leaves an escape that it doesn't know.
            other => {
                out.push_str("\\\\");
                out.push(other);
            }
        }
    }
}

/// Digits of an escape, as many as there are up to `most`.
fn number(
    chars: &mut Peekable<CharIndices<'_>>,
    radix: u32,
    most: usize,
    first: Option<char>,
) -> u32 {
    let mut value = first.and_then(|c| c.to_digit(radix)).unwrap_or(0);
    let mut count = usize::from(first.is_some());
    while count < most {
        let Some(digit) = chars.peek().and_then(|(_, c)| c.to_digit(radix)) else { break };
        value = value.wrapping_mul(radix).wrapping_add(digit);
        chars.next();
        count += 1;
    }
    value
}

/// The second half of a pair of surrogates, if the escape is the first.
fn with_low_surrogate(chars: &mut Peekable<CharIndices<'_>>, high: u32) -> u32 {
    if !(0xD800..0xDC00).contains(&high) {
        return high;
    }
    let mut ahead = chars.clone();
    if ahead.next().map(|(_, c)| c) != Some('\\') || ahead.next().map(|(_, c)| c) != Some('u') {
        return high;
    }
    let low = number(&mut ahead, 16, 4, None);
    if !(0xDC00..0xE000).contains(&low) {
        return high;
    }
    *chars = ahead;
    0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00)
}

/// The character itself: quotes and backslashes escaped, what is none replaced.
fn push(out: &mut String, code: u32) {
    let c = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
    if matches!(c, '\\' | '\'' | '"') {
        out.push('\\');
    }
    out.push(c);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_as_python_does() {
        for (python, ours) in [
            (r"{{ 'a\nb' }}", r"{{ 'a\nb' }}"),
            ("{{ 'a\\\nb' }}", "{{ 'ab' }}"),
            ("{{ 'a\r\nb' }}", "{{ 'a\nb' }}"),
            (r"{{ '\x41\101\u00e9\U0001F600\q' }}", "{{ 'AAé😀\\\\q' }}"),
            (r"{{ '\ud83d\ude00' }}", "{{ '😀' }}"),
            (r#"{{ "it\'s \"so\" \x27" }}"#, r#"{{ "it\'s \"so\" \'" }}"#),
            (r"{{ {'a': {'b': '}}'}}.a }}", r"{{ {'a': {'b': '}}'}}.a }}"),
        ] {
            assert_eq!(normalised(python), ours, "{python}");
        }
    }

    #[test]
    fn what_is_no_tag_stays() {
        for text in [
            r"{# 'it's \x41 #}{ 'x\x41' {{ 'a' }}",
            r"{% raw %}{{ '\x41' }}{% generation %}{%- endraw -%}",
            r"{{ 'never ends",
            "{% if",
            "text",
        ] {
            assert_eq!(normalised(text), text);
        }
        assert_eq!(normalised("a\r\nb\rc\n"), "a\nb\nc\n");
    }

    #[test]
    fn generation_blocks_are_calls() {
        let text = "{%- generation -%}x{%+ endgeneration %}";
        let begin = format!("call {GENERATION}() %}}{{% if loop is defined %}}{{% endif");
        let call = format!("{{%-  {begin}  -%}}x{{%+  endcall  %}}");
        assert_eq!(normalised(text), call);
        let text = "{% generation %}{%- set ns.n = 'a.b' -%}{% set x = ns.n %}{% endgeneration %}";
        let looked_up =
            "{%- if ns is defined %}{% set ns.n = 'a.b' %}{% endif -%}{% set x = ns.n %}";
        let wanted = format!("{{%  {begin}  %}}{looked_up}{{%  endcall  %}}");
        assert_eq!(normalised(text), wanted);
    }
}
