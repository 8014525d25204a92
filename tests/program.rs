//! The real program, which keeps its cache and keys away from the user's own.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};

use assert_cmd::Command;
use serde_json::Value;
use tempfile::TempDir;

/// The repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

pub fn plugins() -> PathBuf {
    root().join("plugins")
}

/// A file that comes with the host.
pub fn plugin(file: &str) -> String {
    plugins().join(file).display().to_string()
}

/// The values of a JSON Lines file.
pub fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

pub fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn homed(folder: &Path, home: &Path) -> Command {
    let mut command = Command::cargo_bin("host").unwrap();
    command
        .current_dir(folder)
        .env("XDG_CACHE_HOME", home.join("cache"))
        .env("XDG_CONFIG_HOME", home.join("config"));
    command
}

/// Runs it in a folder, with one cache for all tests, so that each policy is compiled
/// once.
pub fn run(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = homed(folder, Path::new(env!("CARGO_TARGET_TMPDIR")));
    command.args(arguments).output().unwrap()
}

/// With cache and keys in the test's own folder.
pub fn alone(folder: impl AsRef<Path>) -> Command {
    homed(folder.as_ref(), folder.as_ref())
}

/// A training without baseline and evaluation.
pub const SHORT: [&str; 8] = [
    "train",
    "--no-baseline",
    "--set",
    "eval.harmful=[]",
    "--set",
    "eval.harmless=[]",
    "--set",
    "eval.task=[]",
];

/// One, likewise alone.
pub fn train(folder: &TempDir, name: &str, arguments: &[&str]) -> Output {
    alone(folder).args(SHORT).args(["--quiet", "--output", name]).args(arguments).output().unwrap()
}

/// Starts it, alone, to be signalled or waited for.
pub fn start(folder: &TempDir, arguments: &[impl AsRef<OsStr>]) -> Child {
    let command = alone(folder);
    let mut process = std::process::Command::new(command.get_program());
    process.args(arguments).current_dir(folder.path());
    for (name, value) in command.get_envs() {
        process.env(name, value.unwrap_or_default());
    }
    let process = process.stdout(Stdio::null()).stderr(Stdio::piped());
    process.spawn().unwrap()
}

#[track_caller]
pub fn trained(folder: &TempDir, name: &str, arguments: &[&str]) -> PathBuf {
    let output = train(folder, name, arguments);
    assert!(output.status.success(), "{}", text(&output.stderr));
    folder.path().join(name)
}

/// Sends a signal, such as INT.
#[track_caller]
pub fn signal(process: &Child, name: &str) {
    let kill = std::process::Command::new("kill")
        .args([&format!("-{name}"), &process.id().to_string()])
        .status();
    assert!(kill.unwrap().success());
}

pub fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Compares with a committed file; `UPDATE=1` writes it instead.
#[track_caller]
pub fn assert_committed(file: &str, found: &str) {
    let path = root().join(file);
    if std::env::var_os("UPDATE").is_some_and(|update| update == "1") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, found).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    let changed = similar::TextDiff::from_lines(committed.as_str(), found);
    let changed = changed.unified_diff().header("committed", "found").to_string();
    assert!(changed.is_empty(), "{file} is stale; UPDATE=1 writes it anew\n{changed}");
}

/// Splits a command into words; quotes hold words together.
pub fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for letter in line.chars() {
        match letter {
            '"' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            other => words.last_mut().unwrap().push(other),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}
