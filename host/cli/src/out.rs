//! The one way to stdout and stderr: nothing that a file, a policy, a server or a model wrote gets
//! there without passing [`host_files::text`].
//!
//! stdout is data: that it can't be written is an error. stderr is for people, and a run doesn't end
//! because nobody can read it any more: a closed terminal or a full disk there is no error.

use std::io::{self, IsTerminal as _, Write as _};

use host_files::{Page, text};
use serde::Serialize;
use terminal_size::{Height, Width, terminal_size_of};

/// Longest line on stderr, in characters; of a longer one the middle is left out.
const LINE: usize = 8000;

/// Prints a result to stdout: as JSON, or as text for people.
pub fn print(
    json: bool,
    value: &impl Serialize,
    page: impl FnOnce(Option<usize>) -> Page,
) -> anyhow::Result<()> {
    if json { print_json(value) } else { print_page(&page(stdout_width())) }
}

/// Whether a person reads stdout as it comes.
pub fn is_on_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Characters that a line on stdout has room for: those of its terminal. A file or a pipe has no
/// limit.
pub fn stdout_width() -> Option<usize> {
    width(terminal_size_of(io::stdout()))
}

/// Likewise on stderr.
pub fn stderr_width() -> Option<usize> {
    width(terminal_size_of(io::stderr()))
}

fn width(size: Option<(Width, Height)>) -> Option<usize> {
    size.map(|(Width(columns), _)| columns.into())
}

/// Prints JSON over several lines to stdout.
pub fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    print_json_text(&serde_json::to_string_pretty(value)?)
}

/// Prints JSON that has its line breaks to stdout.
pub fn print_json_text(json: &str) -> anyhow::Result<()> {
    write(&text::json(json))
}

/// Prints lines to stdout. On a terminal long ones end at a word; the tables among them have
/// the width that they were made with.
pub fn print_page(page: &Page) -> anyhow::Result<()> {
    match stdout_width() {
        Some(width) => write(&wrapped(page.as_str(), width)),
        None => write(page.as_str()),
    }
}

fn wrapped(text: &str, width: usize) -> String {
    let wrap = |line: &str| {
        if line.chars().count() <= width || line.trim_start().starts_with('|') {
            return line.to_owned();
        }
        let indent = " ".repeat(line.len() - line.trim_start().len());
        let options = textwrap::Options::new(width)
            .initial_indent(&indent)
            .subsequent_indent(&indent)
            .break_words(false)
            .word_splitter(textwrap::WordSplitter::NoHyphenation);
        textwrap::fill(line.trim_start(), options)
    };
    text.lines().map(wrap).collect::<Vec<_>>().join("\n")
}

/// Prints one line to stdout.
pub fn print_line(line: impl AsRef<str>) -> anyhow::Result<()> {
    write(&text::line(line.as_ref()))
}

/// Prints text of several lines, as a model wrote it or as a table's format asks for, to stdout.
pub fn print_block(block: &str) -> anyhow::Result<()> {
    write(&text::block(block))
}

/// Prints an answer to stdout while it grows: each time what isn't there yet.
#[derive(Debug, Default)]
pub struct Growing {
    there: String,
}

impl Growing {
    /// Prints what `text` goes on with. Part of a character waits for the rest of it.
    pub fn grow(&mut self, text: &str) -> anyhow::Result<()> {
        let shown = text::block(text.trim_end_matches(char::REPLACEMENT_CHARACTER));
        if let Some(new) = shown.strip_prefix(&self.there).filter(|new| !new.is_empty()) {
            let mut stdout = io::stdout().lock();
            write!(stdout, "{new}").and_then(|()| stdout.flush()).map_err(unwritten)?;
            self.there = shown.into_owned();
        }
        Ok(())
    }

    /// The whole of it: on a line of its own if it is not what was begun with.
    pub fn end(self, text: &str) -> anyhow::Result<()> {
        let shown = text::block(text);
        match shown.strip_prefix(&self.there) {
            Some(rest) => write(rest),
            None => write("").and_then(|()| write(&shown)),
        }
    }
}

/// The formats of a table have escaped what means something to their readers; this is what would
/// mean something to the terminal.
fn write(shown: &str) -> anyhow::Result<()> {
    writeln!(io::stdout().lock(), "{shown}").map_err(unwritten)
}

fn unwritten(error: io::Error) -> anyhow::Error {
    match error.kind() {
        // Whoever closed the pipe (`host ... | head`) has read enough.
        io::ErrorKind::BrokenPipe => error.into(),
        _ => anyhow::anyhow!("stdout: {error}"),
    }
}

/// Writes one line for people to stderr, if that can be written.
pub fn say(line: impl AsRef<str>) {
    let line = text::line(line.as_ref());
    let _ = writeln!(io::stderr().lock(), "{}", within(&line, LINE));
}

/// The same for lines without a command to copy: on a terminal a long one ends at a word.
pub fn say_words(line: impl AsRef<str>) {
    let line = text::line(line.as_ref());
    match stderr_width() {
        Some(width) => wrapped(&within(&line, LINE), width).lines().for_each(say),
        None => say(line),
    }
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
///
/// `read` reads arguments as the program does.
pub fn exit_with<P>(
    error: &clap::Error,
    read: impl Fn(Vec<String>) -> Result<P, clap::Error>,
) -> ! {
    let given: Vec<String> =
        std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect();
    let shown: Vec<String> =
        given.iter().map(|argument| text::line(argument).into_owned()).collect();
    if given == shown {
        // So only clap's own colours are in its text.
        let _ = error.print();
    } else {
        // The same complaint about the arguments as they may be shown.
        let again = read(shown).err();
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

    #[test]
    fn lines_for_a_terminal_end_at_a_word_and_tables_stay() {
        let table = format!("| {} |", "x ".repeat(20));
        let text = format!("{table}\n  what was found of the refusals\nshort");
        let shown = wrapped(&text, 20);
        assert_eq!(shown, format!("{table}\n  what was found of\n  the refusals\nshort"));
    }
}
