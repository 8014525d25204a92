//! Colours of series, which stay apart for most eyes, on light and on dark paper.

/// One colour of each kind per series: for light paper, for dark paper. The last is that of what
/// others are measured by.
const COLOURS: [(&str, &str); 8] = [
    ("#1f5fa8", "#7fb4f0"),
    ("#c2540a", "#f29a5c"),
    ("#0b7d60", "#4fcba6"),
    ("#a23d88", "#e48dcb"),
    ("#7d6200", "#d8ba4c"),
    ("#1d82a8", "#6cc6e8"),
    ("#6247c4", "#ae9bf7"),
    ("#68707d", "#9ba4b1"),
];

/// The series whose colour is grey: what others are measured by.
pub const REFERENCE: usize = COLOURS.len() - 1;

/// The colour class of a series; there are as many as colours other than the reference's.
pub fn class(series: usize) -> String {
    let number = if series == REFERENCE { REFERENCE } else { series % REFERENCE };
    format!("s{number}")
}

/// Custom properties `--s0` and so on, and the classes that set `color` to them.
pub fn css() -> String {
    let list = |of: fn(&(&str, &str)) -> String| -> String {
        COLOURS.iter().enumerate().map(|(i, one)| format!("--s{i}: {}; ", of(one))).collect()
    };
    let (light, dark) = (list(|one| one.0.to_owned()), list(|one| one.1.to_owned()));
    let classes: String =
        (0..COLOURS.len()).map(|i| format!(".s{i} {{ color: var(--s{i}); }}\n")).collect();
    format!(
        ":root {{ {light}}}\n@media (prefers-color-scheme: dark) {{ :root {{ {dark}}} }}\n{classes}"
    )
}
