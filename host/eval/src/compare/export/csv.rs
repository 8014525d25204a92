//! For programs that read tables: one row per method, one column per number.

use csv_core::{WriteResult, Writer};
use host_files::text;

use crate::compare::Compared;
use crate::measure::refusal::Measured;
use crate::measure::{Rate, RefusalsBy};

pub(super) fn table(compared: &Compared) -> String {
    let metrics = compared.metrics();
    let mut lines = Lines::default();
    let head = ["method", "seeds", "runs", "refusals_by", "refusals_found", "false_refusals"]
        .map(str::to_owned)
        .into_iter();
    let columns = metrics.iter().flat_map(|metric| {
        ["", "_sd", "_low", "_high"].map(|end| escape(&format!("{}{end}", metric.key())))
    });
    lines.add(head.chain(columns));
    for method in &compared.methods {
        let seeds = method.seeds.iter().map(u64::to_string);
        let runs = method.runs.iter().map(|run| run.display().to_string());
        let by = &method.refusals_by;
        let share = |of: fn(&Measured) -> Rate| {
            joined(by.iter().filter_map(|by| of(&by.measured).value()).map(|one| one.to_string()))
        };
        let head = [
            escape(&method.title()),
            joined(seeds),
            escape(&joined(runs)),
            escape(&by.iter().map(RefusalsBy::name).collect::<Vec<_>>().join("; ")),
            share(|measured| measured.found),
            share(|measured| measured.false_refusals),
        ];
        let cells = metrics.iter().flat_map(|metric| {
            let spread = method.metrics.get(metric);
            let interval = spread.and_then(|spread| spread.interval);
            [
                spread.map(|spread| spread.mean),
                spread.and_then(|spread| spread.sd),
                interval.map(|(low, _)| low),
                interval.map(|(_, high)| high),
            ]
            .map(|number| number.map(|number| number.to_string()).unwrap_or_default())
        });
        lines.add(head.into_iter().chain(cells));
    }
    String::from_utf8_lossy(&lines.bytes).into_owned()
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(" ")
}

/// Text of a report as a cell that no spreadsheet takes for a formula: an apostrophe goes before a
/// sign that begins one, at the start and behind whatever some spreadsheet ends a cell at.
fn escape(foreign: &str) -> String {
    let mut escaped = String::with_capacity(foreign.len());
    let mut begins = true;
    for letter in text::line(foreign).chars() {
        if begins && "=+-@＝＋－＠".contains(letter) {
            escaped.push('\'');
        }
        begins = matches!(letter, ',' | ';' | '|' | '"') || begins && letter == ' ';
        escaped.push(letter);
    }
    escaped
}

/// Lines of fields, quoted where they must be.
#[derive(Default)]
struct Lines {
    writer: Writer,
    bytes: Vec<u8>,
}

impl Lines {
    fn add(&mut self, fields: impl Iterator<Item = String>) {
        for (number, field) in fields.enumerate() {
            if number > 0 {
                self.push(Writer::delimiter);
            }
            let mut rest = field.as_bytes();
            self.push(|writer, buffer| {
                let (result, read, written) = writer.field(rest, buffer);
                rest = &rest[read..];
                (result, written)
            });
        }
        self.push(Writer::terminator);
    }

    /// The writer fills a buffer as often as it needs to.
    fn push(&mut self, mut write: impl FnMut(&mut Writer, &mut [u8]) -> (WriteResult, usize)) {
        let mut buffer = [0; 256];
        loop {
            let (result, written) = write(&mut self.writer, &mut buffer);
            self.bytes.extend_from_slice(&buffer[..written]);
            if result == WriteResult::InputEmpty {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn no_cell_of_text_is_a_formula() {
        for (text, cell) in [
            ("=1+2", "'=1+2"),
            ("@SUM(A1)", "'@SUM(A1)"),
            (" -2", " '-2"),
            ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
            ("a;=1", "a;'=1"),
            ("a\",=1", "a\",'=1"),
            ("＝1", "'＝1"),
            ("a\n=1\t=2", "a\\n=1\\t=2"),
        ] {
            assert_eq!(escape(text), cell);
        }
        for plain in ["probe", "safe-mix, share=0.5, lr=-3", "runs/probe-1 runs/probe-2"] {
            assert_eq!(escape(plain), plain);
        }
    }

    #[test]
    fn a_field_is_quoted_where_it_must_be_and_as_long_as_it_is() {
        let long = "x".repeat(1000);
        let mut lines = super::Lines::default();
        lines.add(["a, b", "say \"c\"", "", &long].map(str::to_owned).into_iter());
        lines.add(["d".to_owned()].into_iter());
        let text = String::from_utf8_lossy(&lines.bytes).into_owned();
        assert_eq!(text, format!("\"a, b\",\"say \"\"c\"\"\",,{long}\nd\n"));
    }
}
