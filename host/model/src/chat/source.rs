//! A template's text as Python's Jinja reads it, written so that minijinja reads the same.
//!
//! What differs: line ends (`\r\n` and `\r` are `\n`, also inside of strings), escapes in string literals (Python's,
//! with a backslash at the end of a line joining the lines), and transformers' `{% generation %}` blocks.

use std::collections::BTreeSet;
use std::iter::Peekable;
use std::str::CharIndices;

/// Function that a `{% generation %}` block calls.
pub const GENERATION: &str = "__generation_block";

/// Rewrite a template; what isn't valid stays as it is, for the compiler to name.
pub fn normalised(text: &str) -> String {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut out = String::with_capacity(text.len() + 64);
    let mut rest = text.as_str();
    let names = own_names(&text);
    while let Some(start) = rest.find('{') {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        let taken = match rest.as_bytes().get(1) {
            Some(b'#') => length_to(rest, "#}"),
            Some(b'{') => tag(rest, "}}", &mut out, &names),
            Some(b'%') if is_tag(rest, "raw") => raw(rest),
            Some(b'%') => tag(rest, "%}", &mut out, &names),
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

/// One `{{ … }}` or `{% … %}`, with its strings escaped anew; `names` are the template's own.
fn tag(text: &str, end: &str, out: &mut String, names: &BTreeSet<&str>) -> Taken {
    let mut inside = String::new();
    let mut depth = 0usize;
    let mut chars = text.char_indices().peekable();
    chars.nth(1);
    while let Some((at, c)) = chars.next() {
        if depth == 0 && text[at..].starts_with(end) {
            let (head, tail) = (&text[..2], end);
            let inside = match generation(&inside, names) {
                Some(call) => call,
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
fn generation(inside: &str, names: &BTreeSet<&str>) -> Option<String> {
    let word = inside.trim_matches(['-', '+']).trim();
    let call = match word {
        "generation" => {
            // A call block sees of what is around it only what it looks up, and not all of that.
            let look_up =
                names.iter().map(|name| format!(" %}}{{% if {name} is defined %}}{{% endif"));
            format!("call {GENERATION}(){}", look_up.collect::<String>())
        }
        "endgeneration" => "endcall".to_owned(),
        _ => return None,
    };
    Some(inside.replacen(word, &format!(" {call} "), 1))
}

/// Names that a template gives to values of its own, and `loop`, which loops give.
fn own_names(text: &str) -> BTreeSet<&str> {
    let mut names = BTreeSet::from(["loop"]);
    for (at, _) in text.match_indices("{%") {
        let body = text[at + 2..].trim_start_matches(['-', '+']).trim_start();
        let given = body.strip_prefix("set ").and_then(|rest| rest.split_once(['=', '%']));
        let given = given.or_else(|| body.strip_prefix("for ")?.split_once(" in "));
        let Some((given, _)) = given else { continue };
        names.extend(given.split(',').map(|name| name.trim_matches(|c: char| !is_word(c))));
    }
    names.retain(|name| !name.is_empty() && name.chars().all(is_word));
    names
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
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
    fn generation_blocks_are_calls_that_look_the_templates_own_names_up() {
        let text = "{% set ns = 1 %}{% for k, v in x %}{%- generation -%}y{%+ endgeneration %}";
        let looked_up = ["k", "loop", "ns", "v"]
            .map(|name| format!(" %}}{{% if {name} is defined %}}{{% endif"));
        let begin = format!("call {GENERATION}(){}", looked_up.concat());
        let wanted = format!(
            "{{% set ns = 1 %}}{{% for k, v in x %}}{{%-  {begin}  -%}}y{{%+  endcall  %}}"
        );
        assert_eq!(normalised(text), wanted);
        assert_eq!(normalised("a"), "a");
    }
}
