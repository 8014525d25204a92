//! The one way to stdout and stderr: nothing that a file, a policy, a server or a model wrote gets
//! there without passing [`host_files::text`].
//!
//! stdout is data: that it can't be written is an error. stderr is for people, and a run doesn't end
//! because nobody can read it any more: a closed terminal or a full disk there is no error.

use std::io::{self, Write as _};

use host_files::{Page, text};
use serde::Serialize;

/// Longest line on stderr, in characters; of a longer one the middle is left out.
const LINE: usize = 8000;

/// Prints a result to stdout: as JSON, or as text for people.
pub fn print(
    json: bool,
    value: &impl Serialize,
    page: impl FnOnce() -> Page,
) -> anyhow::Result<()> {
    if json { print_json(value) } else { print_page(&page()) }
}

/// Prints JSON over several lines to stdout.
pub fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    print_json_text(&serde_json::to_string_pretty(value)?)
}

/// Prints JSON that has its line breaks to stdout.
pub fn print_json_text(json: &str) -> anyhow::Result<()> {
    write(&text::json(json))
}

/// Prints lines to stdout.
pub fn print_page(page: &Page) -> anyhow::Result<()> {
    write(page.as_str())
}

/// Prints one line to stdout.
pub fn print_line(line: impl AsRef<str>) -> anyhow::Result<()> {
    write(&text::line(line.as_ref()))
}

/// Prints text of several lines, as a model wrote it or as a table's format asks for, to stdout.
pub fn print_block(block: &str) -> anyhow::Result<()> {
    write(&text::block(block))
}

/// The formats of a table have escaped what means something to their readers; this is what would
/// mean something to the terminal.
fn write(shown: &str) -> anyhow::Result<()> {
    match writeln!(io::stdout().lock(), "{shown}") {
        // Whoever closed the pipe (`host ... | head`) has read enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(error.into()),
        other => other.map_err(|error| anyhow::anyhow!("stdout: {error}")),
    }
}

/// Writes one line for people to stderr, if that can be written.
pub fn say(line: impl AsRef<str>) {
    let line = text::line(line.as_ref());
    let _ = writeln!(io::stderr().lock(), "{}", within(&line, LINE));
}

/// What is known to begin with a problem and to end with what to do about it keeps both.
fn within(line: &str, limit: usize) -> std::borrow::Cow<'_, str> {
    let length = line.chars().count();
    if length <= limit {
        return line.into();
    }
    let at = |number: usize| line.char_indices().nth(number).map_or(line.len(), |(at, _)| at);
    let (start, end) = (at(limit * 3 / 4), at(length - limit / 4));
    format!("{} … {}", &line[..start], &line[end..]).into()
}

/// A writer for logs, one call per line.
pub struct Log;

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        say(String::from_utf8_lossy(bytes).trim_end());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A panic is a bug, and its message may hold what a file said.
pub fn say_panics() {
    std::panic::set_hook(Box::new(|info| {
        let payload = info.payload_as_str().unwrap_or("no message");
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        say(format!("panicked at {place}: {payload}; this is a bug, please report it"));
        let trace = std::backtrace::Backtrace::capture();
        if trace.status() == std::backtrace::BacktraceStatus::Captured {
            trace.to_string().lines().for_each(say);
        }
    }));
}

/// Ends the program with what clap has to say: a usage error (exit code 2), help or the version.
pub fn exit_with<P: clap::Parser>(error: &clap::Error) -> ! {
    let given: Vec<String> =
        std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect();
    let shown: Vec<String> =
        given.iter().map(|argument| text::line(argument).into_owned()).collect();
    if given == shown {
        // So only clap's own colours are in its text.
        let _ = error.print();
    } else {
        // The same complaint about the arguments as they may be shown.
        let again = P::try_parse_from(shown).err();
        let plain = again.as_ref().unwrap_or(error).to_string();
        plain.trim_end().lines().for_each(say);
    }
    std::process::exit(error.exit_code())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_keeps_its_start_and_its_end() {
        let line = format!("weights: {}; check the file", "ä".repeat(100));
        let shown = within(&line, 40);
        assert!(shown.chars().count() <= 43, "{shown}");
        assert!(shown.starts_with("weights: ä") && shown.ends_with("the file"), "{shown}");
        assert_eq!(within("short", 40), "short");
    }
}
