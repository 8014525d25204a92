//! Text that a policy wrote, made safe to show.

/// Makes text of a policy fit for one line of a terminal or a log: no control
/// characters, no terminal escape sequences, no characters that reorder or hide
/// text, every run of blanks a single space, and at most `limit` characters (what
/// is longer is cut and gets a `…`).
pub fn clean(text: &str, limit: usize) -> String {
    let mut shown = String::new();
    let mut length = 0;
    let mut blank = false;
    for c in without_escapes(text) {
        if c.is_whitespace() {
            blank = length > 0;
            continue;
        }
        if c.is_control() || hides(c) {
            continue;
        }
        if length + usize::from(blank) >= limit {
            shown.push('…');
            break;
        }
        if std::mem::take(&mut blank) {
            shown.push(' ');
            length += 1;
        }
        shown.push(c);
        length += 1;
    }
    shown
}

/// Zero-width characters, direction overrides, and the tag block: they make text
/// look like something it is not.
fn hides(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Drops whole escape sequences (ECMA-48): CSI up to its final byte, OSC and the
/// other strings up to their terminator, any other escape with its one byte.
fn without_escapes(text: &str) -> impl Iterator<Item = char> {
    let mut input = text.chars().peekable();
    std::iter::from_fn(move || {
        loop {
            let kind = match input.next()? {
                '\u{1b}' => match input.next()? {
                    '[' => '[',
                    ']' | 'P' | 'X' | '^' | '_' => ']',
                    _ => continue,
                },
                '\u{9b}' => '[',
                '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}' => ']',
                c => return Some(c),
            };
            if kind == '[' {
                while input.next_if(|c| ('\u{20}'..='\u{3f}').contains(c)).is_some() {}
                input.next_if(|c| ('\u{40}'..='\u{7e}').contains(c));
                continue;
            }
            while let Some(c) = input.next() {
                match c {
                    '\u{7}' | '\u{9c}' => break,
                    '\u{1b}' => {
                        input.next_if_eq(&'\\');
                        break;
                    }
                    _ => {}
                }
            }
        }
    })
}

/// True for names that go into files, tables and counters: one word of ASCII
/// letters, digits and the given marks, no longer than `limit`.
pub fn is_word(text: &str, marks: &str, limit: usize) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || marks.contains(c);
    !text.is_empty() && text.len() <= limit && text.chars().all(allowed)
}
