//! Words of commands that are printed to be pasted into a shell.

use std::borrow::Cow;
use std::path::Path;

/// A text between quotes, which a shell takes as it is.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A text as one word: as it is where a shell takes it so, else between quotes.
pub fn word(text: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@%".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) { text.into() } else { quoted(text).into() }
}

/// A path as one word.
pub fn path(path: &Path) -> String {
    word(&path.to_string_lossy()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_one_word() {
        assert_eq!(word("runs/probe-1"), "runs/probe-1");
        assert_eq!(word("my runs/it's"), r"'my runs/it'\''s'");
        assert_eq!((word(""), word("$HOME;")), ("''".into(), "'$HOME;'".into()));
        assert_eq!(quoted("plain"), "'plain'");
    }
}
