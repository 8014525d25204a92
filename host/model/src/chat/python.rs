//! Python's methods, tests and ways of printing that templates use and minijinja's own compatibility doesn't have.

use std::fmt::Write;

use minijinja::value::{Kwargs, Value, ValueKind, from_args};
use minijinja::{Environment, Error, ErrorKind, State};
use minijinja_contrib::pycompat;

/// Add them to an environment.
pub fn add_to(environment: &mut Environment<'static>) {
    environment.set_unknown_method_callback(method);
    environment.set_formatter(|out, state, value| {
        if is_container(value) {
            return out.write_str(&repr(state, value)?).map_err(Error::from);
        }
        minijinja::escape_formatter(out, state, value)
    });
    environment.add_filter(
        "string",
        |state: &State<'_, '_>, value: &Value| -> Result<Value, Error> {
            if is_container(value) {
                Ok(repr(state, value)?.into())
            } else {
                Ok(value.to_string().into())
            }
        },
    );
    // A string and a mapping have a length and items by position or key, and so are sequences to Jinja.
    environment.add_test("sequence", |value: &Value| {
        matches!(
            value.kind(),
            ValueKind::Seq | ValueKind::String | ValueKind::Map | ValueKind::Undefined
        )
    });
    environment.add_test("iterable", |value: &Value| {
        value.kind() == ValueKind::String || (!value.is_none() && value.try_iter().is_ok())
    });
}

fn is_container(value: &Value) -> bool {
    matches!(value.kind(), ValueKind::Seq | ValueKind::Map)
}

/// A value as Python prints it inside of a list.
fn repr(state: &State<'_, '_>, value: &Value) -> Result<String, Error> {
    let mut out = String::new();
    write_repr(&mut out, state, value, 0)?;
    Ok(out)
}

fn write_repr(
    out: &mut String,
    state: &State<'_, '_>,
    value: &Value,
    depth: usize,
) -> Result<(), Error> {
    state.consume_fuel(1)?;
    if depth > 100 {
        return Err(Error::new(
            ErrorKind::InvalidOperation,
            "a value is nested too deeply to print",
        ));
    }
    match (value.kind(), value.as_str()) {
        (_, Some(text)) => quote(out, text),
        (ValueKind::Seq, _) => {
            out.push('[');
            for (index, item) in value.try_iter()?.enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                write_repr(out, state, &item, depth + 1)?;
            }
            out.push(']');
        }
        (ValueKind::Map, _) => {
            out.push('{');
            for (index, key) in value.try_iter()?.enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                write_repr(out, state, &key, depth + 1)?;
                out.push_str(": ");
                write_repr(out, state, &value.get_item(&key)?, depth + 1)?;
            }
            out.push('}');
        }
        _ => {
            // A string has no error to give.
            let _ = write!(out, "{value}");
        }
    }
    Ok(())
}

fn quote(out: &mut String, text: &str) {
    let mark = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(mark);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\\' => out.push_str("\\\\"),
            c if c == mark => out.extend(['\\', c]),
            // As Python, what can't be seen.
            '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}' => {
                out.push_str(&format!("\\u{:04x}", c as u32));
            }
            c if c.is_control() => out.push_str(&format!("\\x{:02x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push(mark);
}

fn method(
    state: &mut State<'_, '_>,
    value: &Value,
    name: &str,
    args: &[Value],
) -> Result<Value, Error> {
    let found = match (value.as_str(), value.kind()) {
        (Some(text), _) => of_text(state, text, name, args)?,
        (None, ValueKind::Seq) => of_list(value, name, args)?,
        (None, ValueKind::Map) if name == "copy" => Some(value.clone()),
        _ => None,
    };
    found.map_or_else(|| pycompat::unknown_method_callback(state, value, name, args), Ok)
}

fn of_text(
    state: &State<'_, '_>,
    text: &str,
    name: &str,
    args: &[Value],
) -> Result<Option<Value>, Error> {
    let value = match name {
        "removeprefix" => {
            let (affix,): (&str,) = from_args(args)?;
            text.strip_prefix(affix).unwrap_or(text).into()
        }
        "removesuffix" => {
            let (affix,): (&str,) = from_args(args)?;
            text.strip_suffix(affix).unwrap_or(text).into()
        }
        "partition" | "rpartition" => {
            let (separator,): (&str,) = from_args(args)?;
            let from_end = name == "rpartition";
            let split =
                if from_end { text.rsplit_once(separator) } else { text.split_once(separator) };
            let parts = match split {
                Some((before, after)) => [before, separator, after],
                None if from_end => ["", "", text],
                None => [text, "", ""],
            };
            parts.into_iter().map(Value::from).collect()
        }
        "split" | "rsplit" => return split(text, name == "rsplit", args),
        "zfill" | "ljust" | "rjust" | "center" => {
            let (width, fill): (usize, Option<&str>) = from_args(args)?;
            let fill = fill.and_then(|fill| fill.chars().next()).unwrap_or(' ');
            let missing = width.saturating_sub(text.chars().count());
            state.consume_fuel(missing as u64)?;
            justified(text, name, missing, fill).into()
        }
        "swapcase" => {
            let turned = |c: char| -> String {
                if c.is_uppercase() {
                    c.to_lowercase().collect()
                } else {
                    c.to_uppercase().collect()
                }
            };
            text.chars().map(turned).collect::<String>().into()
        }
        "title" => title(text).into(),
        "casefold" => text.to_lowercase().into(),
        "isdecimal" => (!text.is_empty() && text.chars().all(char::is_numeric)).into(),
        "index" | "rindex" => {
            let (part,): (&str,) = from_args(args)?;
            let at = if name == "index" { text.find(part) } else { text.rfind(part) };
            let Some(at) = at else {
                return Err(Error::new(ErrorKind::InvalidOperation, "substring not found"));
            };
            text[..at].chars().count().into()
        }
        _ => return Ok(None),
    };
    Ok(Some(value))
}

/// `split` and `rsplit`, whose arguments may be named.
fn split(text: &str, from_end: bool, args: &[Value]) -> Result<Option<Value>, Error> {
    let (separator, most, named): (Option<Value>, Option<i64>, Kwargs) = from_args(args)?;
    let separator = match separator {
        Some(separator) => Some(separator),
        None => named.get::<Option<Value>>("sep")?,
    };
    let most = match most {
        Some(most) => Some(most),
        None => named.get::<Option<i64>>("maxsplit")?,
    };
    named.assert_all_used()?;
    let most = most.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX - 1);
    let separator = separator.filter(|separator| !separator.is_none());
    let pieces: Vec<&str> = match &separator {
        None => by_space(text, from_end, most),
        Some(separator) => {
            let separator = separator.as_str().filter(|text| !text.is_empty());
            let separator = separator.ok_or_else(|| {
                Error::new(ErrorKind::InvalidOperation, "the separator of split is no text")
            })?;
            if from_end {
                let mut pieces: Vec<&str> = text.rsplitn(most + 1, separator).collect();
                pieces.reverse();
                pieces
            } else {
                text.splitn(most + 1, separator).collect()
            }
        }
    };
    Ok(Some(pieces.into_iter().map(Value::from).collect()))
}

/// Words, and after `most` splits the rest as it is.
fn by_space(text: &str, from_end: bool, most: usize) -> Vec<&str> {
    let (mut pieces, mut rest) = (Vec::new(), text.trim());
    while !rest.is_empty() {
        let end =
            if from_end { rest.rfind(char::is_whitespace) } else { rest.find(char::is_whitespace) };
        match end.filter(|_| pieces.len() < most) {
            Some(at) if from_end => {
                let piece = rest[at..].trim_start();
                pieces.push(piece);
                rest = rest[..at].trim_end();
            }
            Some(at) => {
                pieces.push(&rest[..at]);
                rest = rest[at..].trim_start();
            }
            None => {
                pieces.push(rest);
                break;
            }
        }
    }
    if from_end {
        pieces.reverse();
    }
    pieces
}

/// Every run of letters with its first one in upper case.
fn title(text: &str) -> String {
    let (mut out, mut within) = (String::with_capacity(text.len()), false);
    for c in text.chars() {
        let cased = c.is_uppercase() || c.is_lowercase();
        if within || !cased {
            out.extend(c.to_lowercase());
        } else {
            let mut upper = c.to_uppercase();
            out.extend(upper.next());
            out.extend(upper.flat_map(char::to_lowercase));
        }
        within = cased;
    }
    out
}

fn justified(text: &str, name: &str, missing: usize, fill: char) -> String {
    let pad = |count: usize, fill: char| fill.to_string().repeat(count);
    match name {
        "ljust" => text.to_owned() + &pad(missing, fill),
        "rjust" => pad(missing, fill) + text,
        "zfill" => {
            let (sign, digits) = match text.strip_prefix(['+', '-']) {
                Some(digits) => text.split_at(text.len() - digits.len()),
                None => ("", text),
            };
            format!("{sign}{}{digits}", pad(missing, '0'))
        }
        _ => {
            let width = missing + text.chars().count();
            let left = missing / 2 + (missing & width & 1);
            pad(left, fill) + text + &pad(missing - left, fill)
        }
    }
}

fn of_list(list: &Value, name: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    match name {
        "copy" => Ok(Some(list.clone())),
        "index" => {
            let (wanted,): (Value,) = from_args(args)?;
            let at = list.try_iter()?.position(|item| item == wanted);
            let missing = || Error::new(ErrorKind::InvalidOperation, "the list has no such item");
            at.map(|at| Some(Value::from(at))).ok_or_else(missing)
        }
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn methods_do_as_python_does() {
        let mut environment = Environment::new();
        add_to(&mut environment);
        for (expression, result) in [
            ("'a-b-c'.rsplit('-', 1)", "['a-b', 'c']"),
            ("'a-b-c'.split('-', maxsplit=1)", "['a', 'b-c']"),
            ("' a  b c '.split()", "['a', 'b', 'c']"),
            ("' a  b c '.split(none, 1)", "['a', 'b c']"),
            ("' a  b c '.rsplit(none, 1)", "['a  b', 'c']"),
            ("'a=b=c'.partition('=')", "['a', '=', 'b=c']"),
            ("'a=b=c'.rpartition('=')", "['a=b', '=', 'c']"),
            ("'abc'.removeprefix('a').removesuffix('c')", "b"),
            (
                "'-7'.zfill(4) ~ 'x'.ljust(3, '.') ~ 'x'.rjust(3) ~ '|' ~ 'ab'.center(5, '*')",
                "-007x..  x|**ab*",
            ),
            ("'aBc'.swapcase() ~ 'é1'.index('1')", "AbC1"),
            ("'a1b (cD) \\'s ß'.title()", "A1B (Cd) 'S Ss"),
            ("['a', 'b'].index('b')", "1"),
            (
                "'x' is sequence and 'x' is iterable and {} is sequence and 1 is not sequence and none is not iterable",
                "True",
            ),
        ] {
            let text = environment.render_str(&format!("{{{{ {expression} }}}}"), ()).unwrap();
            assert_eq!(text, result, "{expression}");
        }
        let printed = r#"{{ {'a': [1, none, true, 1.5], 'b': "it's\n"} }}|{{ ['"\''] | string }}"#;
        let text = environment.render_str(printed, ()).unwrap();
        assert_eq!(text, r#"{'a': [1, None, True, 1.5], 'b': "it's\n"}|['"\'']"#);
        assert!(environment.render_str("{{ 'x'.index('y') }}", ()).is_err());
    }
}
