//! Every command of the README runs, in order, in one folder.

use std::path::Path;

use assert_cmd::Command;

use crate::program::root;

/// The lines of all fenced blocks whose info string is exactly `kind`.
fn blocks(text: &str, kind: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        match line.strip_prefix("```") {
            Some(info) if !inside => inside = info == kind,
            Some(_) => inside = false,
            None if inside => lines.push(line.to_owned()),
            None => {}
        }
    }
    lines
}

/// Splits a command into words; quotes hold words together.
fn words(line: &str) -> Vec<String> {
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

/// The policies and their cases. Copies: some commands write beside a policy.
fn copy_policies(to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in root().join("plugins").read_dir().unwrap() {
        let path = entry.unwrap().path();
        let copy = to.join(path.file_name().unwrap());
        if path.is_file() {
            std::fs::copy(&path, copy).unwrap();
            continue;
        }
        for case in host_policy::cases::paths(&path).unwrap() {
            let cases = copy.join("cases");
            std::fs::create_dir_all(&cases).unwrap();
            std::fs::copy(&case, cases.join(case.file_name().unwrap())).unwrap();
        }
    }
}

#[test]
fn every_command_of_the_readme_runs() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    copy_policies(&folder.path().join("plugins"));
    let commands = blocks(&readme, "sh");
    assert!(commands.len() >= 6, "{commands:?}");
    for line in commands {
        let rest = line
            .strip_prefix("cargo run --release -- ")
            .or_else(|| line.strip_prefix("host "))
            .unwrap_or_else(|| panic!("a command of the README that is not host's: {line}"));
        Command::cargo_bin("host")
            .unwrap()
            .current_dir(folder.path())
            .env("XDG_CACHE_HOME", folder.path().join("cache"))
            .env("XDG_CONFIG_HOME", folder.path().join("config"))
            .args(words(rest))
            .assert()
            .success();
    }
}

#[test]
fn the_first_command_is_the_main_job_and_ci_runs_the_test_command() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    assert_eq!(
        blocks(&readme, "sh")[0],
        "cargo run --release -- train --policy plugins/probe.wasm"
    );
    let tests = blocks(&readme, "sh test-command");
    let ci = std::fs::read_to_string(root().join(".ci/run")).unwrap();
    assert_eq!(tests.len(), 1);
    assert!(ci.lines().any(|line| line == tests[0]));
}

#[test]
fn the_configuration_of_the_readme_and_of_the_examples_is_valid() {
    use host_trainer::config::{Layers, RunConfig};
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let mut layers = Layers::default();
    layers.add_text(&blocks(&readme, "toml").join("\n"), "README.md").unwrap();
    assert_eq!(layers.resolve().unwrap().data.train.len(), 2);

    let path = root().join("examples/config.toml");
    let mut layers = Layers::default();
    layers.add_file(&path).unwrap();
    assert_eq!(layers.resolve().unwrap(), RunConfig::default());

    // Every key is there, be it commented out.
    let text = std::fs::read_to_string(&path).unwrap();
    let names =
        |prefix: &str| text.lines().any(|line| line.trim_start_matches("# ").starts_with(prefix));
    let defaults = toml::Table::try_from(RunConfig::default()).unwrap();
    for (section, value) in &defaults {
        let Some(table) = value.as_table() else {
            assert!(names(&format!("{section} =")), "{section}");
            continue;
        };
        assert!(names(&format!("[{section}")), "{section}");
        for key in table.keys() {
            assert!(names(&format!("{key} =")), "{section}.{key}");
        }
    }
}
