//! The moment that `strftime_now` writes into a chat template (Llama 3.x puts the date into its system message).
//!
//! transformers takes the clock's. A run that is repeated, resumed or evaluated on another day must render the same
//! text, so here the moment is fixed once and recorded with the run.

use std::fmt::Write;

use chrono::format::{Item, StrftimeItems};
use chrono::{DateTime, Local, NaiveDate, NaiveDateTime};

/// A local date and time, without a time zone as Python's `datetime.now()`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment(NaiveDateTime);

/// Directives that show more than the day.
const TIMES: &str = "HIMSpPXcTRrfskl";

/// Directives of the GNU C library.
const LETTERS: &str = "aAbBcCdDeFfgGhHIjklmMnpPrRsStTuUVwWxXyYzZ%";

impl Moment {
    /// Now; midnight if the template only shows the day, so that all runs of one day agree. `SOURCE_DATE_EPOCH`
    /// replaces the clock.
    pub fn now(template: &str) -> Self {
        let fixed = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|text| text.parse().ok());
        let fixed = fixed.and_then(|seconds| DateTime::from_timestamp(seconds, 0));
        let now = fixed.map_or_else(|| Local::now().naive_local(), |utc| utc.naive_utc());
        if shows_time(template) { Self(now) } else { Self(now.date().into()) }
    }

    /// `2026-11-28` or `2026-11-28T08:30:00`.
    pub fn parse(text: &str) -> Option<Self> {
        let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().map(NaiveDateTime::from);
        let moment = || NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S").ok();
        day.or_else(moment).map(Self)
    }

    /// Python's `strftime` in the C locale. A directive that isn't known stays as written.
    pub fn strftime(self, format: &str) -> String {
        let mut out = String::new();
        let mut rest = format;
        while let Some(at) = rest.find('%') {
            out.push_str(&rest[..at]);
            rest = &rest[at..];
            let directive = Directive::first_of(rest);
            match directive.written(self.0) {
                Some(text) => out.push_str(&text),
                None => out.push_str(&rest[..directive.length]),
            }
            rest = &rest[directive.length..];
        }
        out + rest
    }
}

/// Whether a template has a directive that shows more than the day. A tag such as `{%for` begins with none.
fn shows_time(template: &str) -> bool {
    template.match_indices('%').any(|(at, _)| {
        let letter = Directive::first_of(&template[at..]).letter;
        !template[..at].ends_with('{') && letter.is_some_and(|letter| TIMES.contains(letter))
    })
}

impl std::fmt::Display for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let format =
            if self.0.time() == chrono::NaiveTime::MIN { "%Y-%m-%d" } else { "%Y-%m-%dT%H:%M:%S" };
        write!(f, "{}", self.0.format(format))
    }
}

/// `%`, flags, a width, and a letter, as the GNU C library reads them for Python.
struct Directive<'t> {
    flags: &'t str,
    width: usize,
    letter: Option<char>,
    length: usize,
}

impl<'t> Directive<'t> {
    fn first_of(text: &'t str) -> Self {
        let body = &text[1..];
        let flags = body.find(|c| !"-_0^#".contains(c)).unwrap_or(body.len());
        let digits = &body[flags..];
        let digits = &digits[..digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len())];
        let after = &body[flags + digits.len()..];
        // %E and %O ask for another calendar or other digits, of which the C locale has none.
        let modifier = usize::from(after.starts_with(['E', 'O']) && after.len() > 1);
        let letter = after[modifier..].chars().next();
        let length = 1 + flags + digits.len() + modifier + letter.map_or(0, char::len_utf8);
        // Wider than any line: no directive.
        let width = if digits.is_empty() { 0 } else { digits.parse().unwrap_or(usize::MAX) };
        Self { flags: &body[..flags], width, letter, length }
    }

    fn written(&self, moment: NaiveDateTime) -> Option<String> {
        let letter = self.letter?;
        if self.width > 99 || !LETTERS.contains(letter) {
            return None;
        }
        let text = match letter {
            // A moment without a time zone has neither.
            'z' | 'Z' => String::new(),
            // Python's are microseconds.
            'f' => formatted(moment, "%6f")?,
            's' => moment.and_utc().timestamp().to_string(),
            letter => formatted(moment, &format!("%{letter}"))?,
        };
        Some(self.flagged(letter, text))
    }

    fn flagged(&self, letter: char, mut text: String) -> String {
        let numeric = text.trim_start().chars().all(|c| c.is_ascii_digit()) && !text.is_empty();
        let natural = text.chars().count();
        let mut pad = if numeric && !"ekl".contains(letter) { '0' } else { ' ' };
        for flag in self.flags.chars() {
            match flag {
                '-' if numeric => {
                    let bare = text.trim_start_matches([' ', '0']);
                    text = if bare.is_empty() { "0".into() } else { bare.to_owned() };
                }
                '_' => pad = ' ',
                '0' => pad = '0',
                '^' => text = text.to_uppercase(),
                '#' if letter == 'p' => text = text.to_lowercase(),
                '#' => text = text.to_uppercase(),
                _ => {}
            }
        }
        if numeric && self.flags.contains(['_', '0']) && !self.flags.contains('-') {
            let bare = text.trim_start_matches([' ', '0']);
            let bare = if bare.is_empty() { "0" } else { bare };
            text = padded(bare, natural, pad);
        }
        padded(&text, self.width, pad)
    }
}

fn padded(text: &str, width: usize, pad: char) -> String {
    let missing = width.saturating_sub(text.chars().count());
    std::iter::repeat_n(pad, missing).chain(text.chars()).collect()
}

fn formatted(moment: NaiveDateTime, format: &str) -> Option<String> {
    let items: Vec<Item<'_>> = StrftimeItems::new(format).collect();
    if items.contains(&Item::Error) {
        return None;
    }
    let mut out = String::new();
    write!(out, "{}", moment.format_with_items(items.into_iter())).ok()?;
    Some(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn directives_are_those_of_python() {
        let moment = Moment::parse("2024-07-05T09:03:07").unwrap();
        for (format, text) in [
            ("%d %b %Y", "05 Jul 2024"),
            ("%-d. %B %-H Uhr", "5. July 9 Uhr"),
            ("%A, %a %e %k", "Friday, Fri  5  9"),
            ("%y%m%j %U %W %V %G %u %w %C", "2407187 26 27 27 2024 5 5 20"),
            (
                "%I:%M:%S %p|%T|%R|%r|%D|%F",
                "09:03:07 AM|09:03:07|09:03|09:03:07 AM|07/05/24|2024-07-05",
            ),
            ("%c|%x|%X", "Fri Jul  5 09:03:07 2024|07/05/24|09:03:07"),
            ("%f|%z|%Z|%%|%n|%t", "000000|||%|\n|\t"),
            ("%^a %#p %_d %_H %05d %3d", "FRI am  5  9 00005 005"),
            ("%-m/%-d/%-y %-I %-j %-S", "7/5/24 9 187 7"),
            ("%Q %! 100% %", "%Q %! 100% %"),
            ("%é %Ey %Od", "%é 24 05"),
            ("%#a %h %P %l %s %+ %L %N %v", "FRI Jul am  9 1720170187 %+ %L %N %v"),
        ] {
            assert_eq!(moment.strftime(format), text, "{format}");
        }
    }

    #[test]
    fn a_template_shows_a_time_by_its_directives_alone() {
        for template in ["{%for m in x%}{%set s = 1%}{%print(s)%}%d %b %Y", "{{ 7 % 2 }}", "100%"] {
            assert!(!shows_time(template), "{template}");
        }
        for template in ["{{ strftime_now('%-H') }}", "%_I", "%k", "%05M", "%l", "%X"] {
            assert!(shows_time(template), "{template}");
        }
    }

    #[test]
    fn a_moment_is_written_as_it_is_read() {
        for text in ["2026-11-28", "2026-11-28T08:30:00"] {
            assert_eq!(Moment::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "28.11.2026", "2026-13-01", "2026-11-28 8:30"] {
            assert_eq!(Moment::parse(text), None, "{text}");
        }
    }
}
