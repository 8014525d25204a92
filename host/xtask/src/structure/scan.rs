//! Reads Rust as far as the structure of a crate needs it: which paths a file names, what it
//! defines and what it re-exports. Comments, texts and test code are left out.

/// A file, reduced to what others can see of it and what it sees of others.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct File {
    /// Paths in code and in private `use`.
    pub paths: Vec<Vec<String>>,
    /// Name and path of each `use`, public or not. A glob has the name `*`.
    pub imports: Vec<Import>,
    /// Names of items, wherever in the file they are defined.
    pub items: Vec<String>,
    /// `unsafe` stands in it.
    pub is_unsafe: bool,
    /// It generates types from the contract.
    pub generates: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    pub name: String,
    pub path: Vec<String>,
}

/// Reads a file.
pub fn file(text: &str) -> File {
    let tokens = without_tests(&tokens(text));
    let mut file = File::default();
    let mut at = 0;
    while at < tokens.len() {
        let token = tokens[at].as_str();
        let next = tokens.get(at + 1).map_or("", String::as_str);
        match token {
            "use" => {
                let is_public = at > 0 && matches!(tokens[at - 1].as_str(), "pub" | ")");
                let before = file.imports.len();
                at = tree(&tokens, at + 1, &mut Vec::new(), &mut file.imports);
                if !is_public {
                    let new = file.imports[before..].iter().map(|import| import.path.clone());
                    file.paths.extend(new);
                }
                continue;
            }
            "unsafe" => file.is_unsafe = true,
            "bindgen" if next == "!" => file.generates = true,
            "fn" | "struct" | "enum" | "trait" | "type" | "const" | "static" | "union"
                if is_word(next) =>
            {
                file.items.push(next.to_owned());
            }
            "macro_rules" if next == "!" => {
                file.items.extend(tokens.get(at + 2).cloned());
            }
            _ if is_word(token) && next == "::" => {
                let mut path = vec![token.to_owned()];
                while tokens.get(at + 1).is_some_and(|token| token == "::")
                    && tokens.get(at + 2).is_some_and(|token| is_word(token))
                {
                    path.push(tokens[at + 2].clone());
                    at += 2;
                }
                file.paths.push(path);
            }
            _ => {}
        }
        at += 1;
    }
    file
}

/// Reads the tree behind `use`; returns where it ends.
fn tree(
    tokens: &[String],
    mut at: usize,
    stem: &mut Vec<String>,
    found: &mut Vec<Import>,
) -> usize {
    let depth = stem.len();
    let mut name = None;
    let mut is_group = false;
    while let Some(token) = tokens.get(at) {
        at += 1;
        match token.as_str() {
            "::" => {}
            "{" => {
                is_group = true;
                while tokens.get(at).is_some_and(|token| token != "}") {
                    at = tree(tokens, at, stem, found);
                }
                at += 1;
            }
            "as" => {
                name = tokens.get(at).cloned();
                at += 1;
            }
            "," | ";" => break,
            "}" => {
                at -= 1;
                break;
            }
            word => stem.push(word.to_owned()),
        }
    }
    if !is_group && stem.len() > depth {
        let mut path = stem.clone();
        if path.last().is_some_and(|last| last == "self") {
            path.pop();
        }
        let last = path.last().cloned().unwrap_or_default();
        found.push(Import { name: name.unwrap_or(last), path });
    }
    stem.truncate(depth);
    at
}

fn is_word(token: &str) -> bool {
    token.starts_with(|letter: char| letter.is_alphabetic() || letter == '_')
}

/// Words, `::`, and each other sign by itself.
fn tokens(text: &str) -> Vec<String> {
    let letters: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < letters.len() {
        let rest = &letters[at..];
        let end = match rest {
            ['/', '/', ..] => line(rest),
            ['/', '*', ..] => block(rest),
            ['"', ..] => quoted(rest),
            ['r', '"' | '#', ..] | ['b', 'r', ..] if raw(rest).is_some() => raw(rest).unwrap_or(1),
            ['\'', ..] => letter(rest),
            [':', ':', ..] => {
                tokens.push("::".into());
                2
            }
            [first, ..] if first.is_alphanumeric() || *first == '_' => {
                let end = rest.iter().take_while(|c| c.is_alphanumeric() || **c == '_').count();
                tokens.push(rest[..end].iter().collect());
                end
            }
            [first, ..] => {
                if !first.is_whitespace() {
                    tokens.push(first.to_string());
                }
                1
            }
            [] => 1,
        };
        at += end;
    }
    tokens
}

fn line(rest: &[char]) -> usize {
    rest.iter().position(|letter| *letter == '\n').unwrap_or(rest.len())
}

fn block(rest: &[char]) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at + 1 < rest.len() {
        match (rest[at], rest[at + 1]) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

fn quoted(rest: &[char]) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != '"' {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// The length of a raw string, if it is one.
fn raw(rest: &[char]) -> Option<usize> {
    let start = rest.iter().position(|letter| *letter == 'r')? + 1;
    let fences = rest[start..].iter().take_while(|letter| **letter == '#').count();
    if rest.get(start + fences) != Some(&'"') {
        return None;
    }
    let close: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', fences)).collect();
    let body = start + fences + 1;
    let end = rest[body..].windows(close.len()).position(|part| part == close)?;
    Some(body + end + close.len())
}

/// The length of a character, or of the quote of a lifetime.
fn letter(rest: &[char]) -> usize {
    match rest {
        [_, '\\', ..] => rest.iter().skip(3).position(|l| *l == '\'').map_or(1, |end| end + 4),
        [_, _, '\'', ..] => 3,
        _ => 1,
    }
}

/// Leaves out what stands behind `#[cfg(test)]`.
fn without_tests(tokens: &[String]) -> Vec<String> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at..].len() >= MARK.len() && tokens[at..at + MARK.len()] == MARK {
            at = item(tokens, at + MARK.len());
        } else {
            kept.push(tokens[at].clone());
            at += 1;
        }
    }
    kept
}

/// Where an item ends: behind its body, or behind its semicolon.
fn item(tokens: &[String], mut at: usize) -> usize {
    let mut depth = 0;
    while at < tokens.len() {
        match tokens[at].as_str() {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => {
                depth -= 1;
                // An attribute closes too, and the item comes after it.
                if depth == 0 && tokens[at] == "}" {
                    return at + 1;
                }
            }
            ";" if depth == 0 => return at + 1,
            _ => {}
        }
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(text: &str) -> Vec<String> {
        file(text).paths.iter().map(|path| path.join("::")).collect()
    }

    #[test]
    fn paths_of_uses_and_of_code_are_found() {
        let text = "use crate::{a::{self, B}, c as d};\nfn f() -> super::E { x.g::<u8>(); h::i() }";
        assert_eq!(paths(text), ["crate::a", "crate::a::B", "crate::c", "super::E", "g", "h::i"]);
    }

    #[test]
    fn comments_texts_and_tests_are_left_out() {
        let text = "// crate::a\n/* crate::b /* c */ */ fn f<'a>() { let x = '\"'; let y = '\\''; \
                    \"crate::c\"; r#\"crate::\"d\"#; }\n#[cfg(test)]\nmod tests { use crate::e; }\n\
                    #[cfg(test)]\n#[path = \"x.rs\"]\nmod more;\nuse crate::z;";
        assert_eq!(paths(text), ["crate::z"]);
    }

    #[test]
    fn items_and_re_exports_are_found() {
        let found = file(
            "pub use a::{B, c::*};\npub(crate) use d::E as F;\npub struct G; unsafe fn h() {}",
        );
        let names: Vec<_> = found.imports.iter().map(|import| import.name.as_str()).collect();
        assert_eq!(names, ["B", "*", "F"]);
        assert_eq!(found.items, ["G", "h"]);
        assert!(found.is_unsafe && found.paths.is_empty());
    }
}
