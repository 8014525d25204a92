//! The files that a project starts with.

use std::path::{Path, PathBuf};

use include_dir::{Dir, DirEntry, include_dir};

use crate::{Language, Name};

static COMMON: Dir = include_dir!("$CARGO_MANIFEST_DIR/templates/common");
static RUST: Dir = include_dir!("$CARGO_MANIFEST_DIR/templates/rust");
static C: Dir = include_dir!("$CARGO_MANIFEST_DIR/templates/c");
static PYTHON: Dir = include_dir!("$CARGO_MANIFEST_DIR/templates/python");
static JS: Dir = include_dir!("$CARGO_MANIFEST_DIR/templates/js");
static WIT: Dir = include_dir!("$CARGO_MANIFEST_DIR/../../wit/v0.2");
static SDK: Dir = include_dir!("$CARGO_MANIFEST_DIR/../../plugins/sdk");
static STATS: Dir = include_dir!("$CARGO_MANIFEST_DIR/../stats");

/// Where the sources of the SDK find the interface, and where they do in a project.
const SDK_WIT: [&str; 2] = ["../../wit/v0.2", "../wit"];

/// The files of a project, by path: the template's with the name filled in, the
/// interface, and for Rust the crates that policies are written with.
pub(crate) fn files(language: Language, name: &Name) -> Vec<(PathBuf, Vec<u8>)> {
    let own = match language {
        Language::Rust => &RUST,
        Language::C => &C,
        Language::Python => &PYTHON,
        Language::Js => &JS,
    };
    let mut files = Vec::new();
    for dir in [&COMMON, own] {
        each(dir, &mut |path, bytes| {
            files.push((named(path), filled(bytes, language, name)));
        });
    }
    each(&WIT, &mut |path, bytes| {
        files.push((Path::new("wit").join(path), bytes.to_vec()));
    });
    if language == Language::Rust {
        each(&SDK, &mut |path, bytes| {
            // It speaks of the repository that the SDK was taken from.
            if path != Path::new("README.md") {
                files.push((Path::new("sdk").join(path), rooted(bytes)));
            }
        });
        each(&STATS, &mut |path, bytes| {
            files.push((Path::new("stats").join(path), bytes.to_vec()));
        });
    }
    files.sort();
    files
}

fn each(dir: &'static Dir, visit: &mut impl FnMut(&Path, &[u8])) {
    for entry in dir.entries() {
        match entry {
            DirEntry::Dir(dir) => each(dir, visit),
            DirEntry::File(file) => visit(file.path(), file.contents()),
        }
    }
}

/// A `.gitignore` among the templates would be heeded there, so it is stored without
/// the dot.
fn named(path: &Path) -> PathBuf {
    match path.to_str() {
        Some("gitignore") => PathBuf::from(".gitignore"),
        _ => path.to_path_buf(),
    }
}

fn filled(bytes: &[u8], language: Language, name: &Name) -> Vec<u8> {
    match std::str::from_utf8(bytes) {
        Ok(text) => text
            .replace("{{name}}", name.as_str())
            .replace("{{language}}", language.word())
            .into_bytes(),
        Err(_) => bytes.to_vec(),
    }
}

fn rooted(bytes: &[u8]) -> Vec<u8> {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.replace(SDK_WIT[0], SDK_WIT[1]).into_bytes(),
        Err(_) => bytes.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::Version;
    use std::collections::BTreeMap;

    fn texts(language: Language) -> BTreeMap<String, String> {
        let files = files(language, &"my-risk".parse().unwrap());
        let count = files.len();
        let texts: BTreeMap<String, String> = files
            .into_iter()
            .map(|(path, bytes)| {
                let path = path.to_str().unwrap().to_owned();
                (path, String::from_utf8(bytes).unwrap())
            })
            .collect();
        assert_eq!(texts.len(), count, "a file is there twice");
        texts
    }

    #[test]
    fn every_project_has_what_the_commands_read_and_its_own_name() {
        for language in Language::ALL {
            let texts = texts(language);
            for file in [
                ".gitignore",
                "README.md",
                "policy.toml",
                "settings.schema.json",
                "wit/policy.wit",
                "cases/configure.json",
            ] {
                assert!(texts.contains_key(file), "{language}: no {file}");
            }
            for (file, text) in &texts {
                for token in ["{{name}}", "{{language}}"] {
                    assert!(!text.contains(token), "{language}: {token} in {file}");
                }
            }
            assert!(texts["policy.toml"].contains("name = \"my-risk\""));
            assert!(texts["policy.toml"].contains(language.word()));
            let wit = Version::NEWEST.number();
            assert!(texts["policy.toml"].contains(&format!("wit = \"{wit}\"")));
            assert!(texts["wit/policy.wit"].contains(&format!("package risk:policy@{wit}.0;")));
            let describes = texts
                .iter()
                .any(|(file, text)| file.starts_with("src/") && text.contains("\"my-risk\""));
            assert!(describes, "{language}: the source doesn't say its name");
        }
    }

    #[test]
    fn only_rust_comes_with_the_sdk_which_finds_interface_and_statistics() {
        let rust = texts(Language::Rust);
        let bindings = &rust["sdk/src/bindings.rs"];
        assert!(bindings.contains(&format!("path: \"{}\"", SDK_WIT[1])));
        assert!(!rust.values().any(|text| text.contains(SDK_WIT[0])));
        let c = texts(Language::C);
        assert!(!c.keys().any(|file| file.starts_with("sdk/") || file.starts_with("stats/")));
        assert!(rust["sdk/Cargo.toml"].contains("host-stats = { path = \"../stats\" }"));
        assert!(rust["stats/Cargo.toml"].contains("name = \"host-stats\""));
        assert!(rust.contains_key("stats/src/ranking.rs"));
    }

    #[test]
    fn all_languages_have_the_same_cases_and_settings() {
        let shared = |language| {
            let mut texts = texts(language);
            texts.retain(|file, _| file.starts_with("cases/") || file.starts_with("settings"));
            texts
        };
        let rust = shared(Language::Rust);
        assert!(rust.len() >= 6);
        for language in Language::ALL {
            assert_eq!(shared(language), rust);
        }
    }
}
