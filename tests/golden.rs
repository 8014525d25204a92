//! What commands print, word for word. Each file of tests/golden is a session:
//!
//! ```text
//! $ host policy test plugins/sft.wasm
//! stdout
//! ! stderr
//! [1]                    the exit code, unless 0
//! ```
//!
//! The commands run in a folder of their own, in which `plugins`, `examples` and `fixtures`
//! are those of the repository. `UPDATE=1 cargo test --release --test end_to_end golden` writes the
//! files anew: only the lines with `$` are read then.

use std::path::Path;

use crate::program::{alone, assert_committed, root, text, words};

#[test]
fn errors() {
    session("errors");
}

#[test]
fn policies() {
    session("policies");
}

#[test]
fn runs() {
    session("runs");
}

/// Numbers before these are costs.
const UNITS: [&str; 5] = ["s", "ms", "bytes", "fuel", "tok/s"];

fn session(name: &str) {
    let file = format!("tests/golden/{name}.txt");
    let committed = std::fs::read_to_string(root().join(&file)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for shared in ["plugins", "examples", "tests/fixtures"] {
        let original = root().join(shared).canonicalize().unwrap();
        let link = folder.path().join(original.file_name().unwrap());
        std::os::unix::fs::symlink(original, link).unwrap();
    }
    let commands = committed.lines().filter(|line| line.starts_with("$ "));
    let found: Vec<String> = commands.map(|line| said(folder.path(), line)).collect();
    assert_committed(&file, &found.join("\n"));
}

/// A command and what it says.
fn said(folder: &Path, line: &str) -> String {
    let command = line.strip_prefix("$ host ").unwrap();
    let output = alone(folder).env_remove("COLUMNS").args(words(command)).output().unwrap();
    let here = folder.display().to_string();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr).replace(&here, "FOLDER"));
    let mut said = format!("{line}\n");
    for printed in stdout.lines() {
        said += &format!("{}\n", masked(printed));
    }
    for printed in stderr.lines() {
        said += format!("! {}", masked(printed)).trim_end();
        said.push('\n');
    }
    match output.status.code() {
        Some(0) => said,
        code => said + &format!("[{}]\n", code.unwrap()),
    }
}

/// Rows of tables that hold nothing but measured times.
const TIMES: [&str; 2] = ["| seconds per step", "| of it signals, policy, journal"];

/// Without what differs between machines and builds: times, digests, sizes, and the digits
/// of measured numbers.
fn masked(line: &str) -> String {
    // Columns of measured times move with the number of digits.
    if let Some(label) = TIMES.iter().find(|label| line.starts_with(**label)) {
        return format!("{label} | TIMES");
    }
    let words: Vec<&str> = line.split(' ').collect();
    let bare = |word: &str| word.trim_matches(|c: char| !c.is_alphanumeric()).to_owned();
    let words = words.iter().enumerate().map(|(at, word)| {
        let unit = words.get(at + 1).map(|next| bare(next)).unwrap_or_default();
        let one = bare(word);
        let is_hex = one.len() >= 8
            && one.bytes().all(|byte| byte.is_ascii_hexdigit())
            && one.bytes().any(|byte| byte.is_ascii_digit());
        if is_hex {
            word.replace(&one, "HEX")
        } else if one.parse::<f64>().is_ok()
            && (UNITS.contains(&unit.as_str()) || one.len() >= 4 && !one.contains('.'))
        {
            word.replace(&one, "N")
        } else if one.contains('.') && one.parse::<f64>().is_ok() {
            word.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect()
        } else {
            (*word).to_owned()
        }
    });
    words.collect::<Vec<_>>().join(" ")
}
