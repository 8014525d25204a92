//! Foreign text in Markdown.

use host_files::text;

/// Text that is a cell's or a paragraph's, and neither markup nor HTML, a link, or a mention.
pub fn escape(foreign: &str) -> String {
    let mut escaped = String::with_capacity(foreign.len());
    for (at, letter) in text::line(foreign).char_indices() {
        match letter {
            '\\' | '|' | '`' | '*' | '[' | ']' | '~' | '$' | '!' => escaped.extend(['\\', letter]),
            // Inside a word it is no emphasis, and names have many.
            '_' if at == 0 || !escaped.ends_with(char::is_alphanumeric) => escaped.push_str("\\_"),
            '#' | '+' | '-' | '=' | '>' if at == 0 => escaped.extend(['\\', letter]),
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '@' => escaped.push_str("&#64;"),
            // What GitHub and others make links of.
            ':' if foreign[at..].starts_with("://") => escaped.push_str("&#58;"),
            '.' if escaped.to_ascii_lowercase().ends_with("www") => escaped.push_str("&#46;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn nothing_of_a_cell_is_markup() {
        assert_eq!(escape("a|b"), "a\\|b");
        assert_eq!(escape("<img src=x onerror=a()>"), "&lt;img src=x onerror=a()&gt;");
        assert_eq!(escape("[a](javascript:b)"), "\\[a\\](javascript:b)");
        assert_eq!(escape("![a](http://x)"), "\\!\\[a\\](http&#58;//x)");
        assert_eq!(escape("see www.x.org, @team"), "see www&#46;x.org, &#64;team");
        assert_eq!(escape("# a"), "\\# a");
        assert_eq!(escape("a\n\n# b\u{1b}[8m"), "a\\\\n\\\\n# b\\\\u{1b}\\[8m");
        assert_eq!(escape("*a* _b_ `c`"), "\\*a\\* \\_b_ \\`c\\`");
    }

    #[test]
    fn a_plain_name_stays() {
        for name in ["probe", "safe-mix, alpha_share=0.5", "93.8 ± 1.2 (2/3)", "5.0% of it"] {
            assert_eq!(escape(name), name);
        }
    }
}
