//! Text of several lines for people.

use crate::text;

/// Lines that are made one by one: each call adds exactly one, whatever stands in it, so no name
/// from a file begins a line that looks like one of ours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    text: String,
}

impl Page {
    /// Adds one line, as [`text::line`] shows it.
    pub fn line(&mut self, line: impl AsRef<str>) {
        self.text.push_str(&text::line(line.as_ref()));
        self.text.push('\n');
    }

    /// Adds one line after another.
    pub fn lines(&mut self, lines: impl IntoIterator<Item = impl AsRef<str>>) {
        lines.into_iter().for_each(|line| self.line(line));
    }

    /// Adds the lines of another page.
    pub fn append(&mut self, other: &Page) {
        self.text.push_str(&other.text);
    }

    /// Its lines, without the last line break.
    pub fn as_str(&self) -> &str {
        self.text.trim_end_matches('\n')
    }
}

impl<L: AsRef<str>> FromIterator<L> for Page {
    fn from_iter<I: IntoIterator<Item = L>>(lines: I) -> Self {
        let mut page = Self::default();
        page.lines(lines);
        page
    }
}

impl std::fmt::Display for Page {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_one_line() {
        let mut page: Page = ["FAILED: probe\npassed\u{1b}[8m"].into_iter().collect();
        let mut other = Page::default();
        other.lines(["", "b\r\n"]);
        page.append(&other);
        assert_eq!(page.to_string(), "FAILED: probe\\npassed\\u{1b}[8m\n\nb\\r\\n");
    }
}
