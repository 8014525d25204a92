//! The documents: every command of the README and of the guides runs, every link leads to a file. What can't be run is in
//! `snippets`.

use std::path::{Path, PathBuf};

use assert_cmd::Command;

use crate::program::{root, words};

/// The lines of all fenced blocks whose info string is exactly `kind`.
pub fn blocks(text: &str, kind: &str) -> Vec<String> {
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

/// Copies the policies and their cases: some commands write beside a policy.
fn copy_policies(to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in root().join("plugins").read_dir().unwrap() {
        let path = entry.unwrap().path();
        let copy = to.join(path.file_name().unwrap());
        if path.is_file() {
            std::fs::copy(&path, copy).unwrap();
        } else if let Ok(cases) = path.join("cases").read_dir() {
            std::fs::create_dir_all(copy.join("cases")).unwrap();
            for case in cases {
                let case = case.unwrap().path();
                std::fs::copy(&case, copy.join("cases").join(case.file_name().unwrap())).unwrap();
            }
        }
    }
}

/// The Markdown files below a folder, in order.
pub fn pages(folder: &Path) -> Vec<PathBuf> {
    let mut pages = Vec::new();
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            pages.extend(self::pages(&path));
        } else if path.extension().is_some_and(|extension| extension == "md") {
            pages.push(path);
        }
    }
    pages.sort();
    pages
}

/// Chat templates that a page shows with the name of a file, such as "```jinja plain.jinja".
fn write_templates(text: &str, folder: &Path) {
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("```jinja ") {
            let lines = blocks(text, &format!("jinja {name}"));
            std::fs::write(folder.join(name), lines.join("\n") + "\n").unwrap();
        }
    }
}

/// The registry of a page.
const REGISTRY: &str = "localhost:5000";

/// Runs every command of a page, in order, in one folder.
fn run(page: &Path) {
    let text = std::fs::read_to_string(page).unwrap();
    let folder = tempfile::tempdir().unwrap();
    copy_policies(&folder.path().join("plugins"));
    write_templates(&text, folder.path());
    // Pages that name a registry on this machine get one.
    let registry = text.contains(REGISTRY).then(|| hostile::Registry::start().unwrap());
    for line in blocks(&text, "sh") {
        let rest = line
            .strip_prefix("cargo run --release -- ")
            .or_else(|| line.strip_prefix("host "))
            .unwrap_or_else(|| panic!("{}: a command that is not host's: {line}", page.display()));
        let host = registry.as_ref().map_or(REGISTRY.to_owned(), hostile::Registry::host);
        let rest = rest.replace(REGISTRY, &host);
        let rest = rest.as_str();
        let (rest, kept) = rest.split_once(" > ").map_or((rest, None), |(a, b)| (a, Some(b)));
        let done = Command::cargo_bin("host")
            .unwrap()
            .current_dir(folder.path())
            .env("XDG_CACHE_HOME", folder.path().join("cache"))
            .env("XDG_CONFIG_HOME", folder.path().join("config"))
            .args(words(rest))
            .assert()
            .success();
        if let Some(file) = kept {
            std::fs::write(folder.path().join(file), &done.get_output().stdout).unwrap();
        }
    }
}

#[test]
fn every_command_of_the_readme_runs() {
    let page = root().join("README.md");
    assert!(blocks(&std::fs::read_to_string(&page).unwrap(), "sh").len() >= 6);
    run(&page);
}

#[test]
fn every_command_of_the_guides_runs() {
    let pages = pages(&root().join("docs/guide"));
    assert!(pages.len() >= 11, "{pages:?}");
    pages.iter().for_each(|page| run(page));
}

/// The targets of a page's links to files.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let files = targets.map(|target| target.split('#').next().unwrap_or_default());
    files.filter(|file| !file.is_empty() && !file.contains("://"))
}

#[test]
fn every_link_of_the_documents_leads_to_a_file() {
    let root = root();
    let mut all = pages(&root.join("docs"));
    all.extend(pages(&root.join("examples")));
    all.extend(
        root.join("plugins")
            .read_dir()
            .unwrap()
            .map(|entry| entry.unwrap().path().join("README.md")),
    );
    all.extend(root.read_dir().unwrap().map(|entry| entry.unwrap().path()));
    all.retain(|path| {
        path.is_file() && path.extension().is_some_and(|extension| extension == "md")
    });
    assert!(all.len() > 40, "{}", all.len());
    for page in all {
        let text = std::fs::read_to_string(&page).unwrap();
        for link in links(&text) {
            let target = page.parent().unwrap().join(link);
            assert!(target.exists(), "{} links to {link}, which is not there", page.display());
        }
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
fn the_configuration_of_the_guides_and_of_the_examples_is_valid() {
    use host_trainer::config::{Layers, RunConfig};
    for (page, sources, judges) in [("data.md", 2, 0), ("judges.md", 0, 5), ("train.md", 1, 0)] {
        let text = std::fs::read_to_string(root().join("docs/guide").join(page)).unwrap();
        let mut layers = Layers::default();
        layers.add_text(&blocks(&text, "toml").join("\n"), page).unwrap();
        let config = layers.resolve().unwrap();
        assert_eq!((config.data.train.len(), config.judges.len()), (sources, judges), "{page}");
    }

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
            let there = names(&format!("{key} =")) || names(&format!("[{section}.{key}]"));
            assert!(there, "{section}.{key}");
        }
    }
}
