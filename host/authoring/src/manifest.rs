//! `policy.toml`: what a build of a project needs to know.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{Error, Language, Name, Result, Version};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The name of the policy, and of the component that is built.
    pub name: Name,
    pub language: Language,
    /// The version of risk:policy that the project is written for.
    pub wit: Version,
}

impl Manifest {
    pub const FILE: &str = "policy.toml";

    /// Reads the manifest of the project at `folder`.
    ///
    /// # Errors
    /// If there is none, or if it is not one: the message names the key.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(Self::FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(Error::NoProject { folder: folder.to_path_buf() });
            }
            Err(error) => return Err(Error::io(&path)(error)),
        };
        let broken = |problem: String| Error::Manifest { path: path.clone(), problem };
        toml::from_str(&text).map_err(|error| {
            let line = error.span().map_or(1, |span| line_of(&text, span.start));
            broken(format!("line {line}: {}", error.message()))
        })
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().get(..offset).unwrap_or_default();
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(text: &str) -> Result<Manifest> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(Manifest::FILE), text).unwrap();
        Manifest::read(folder.path())
    }

    #[test]
    fn a_manifest_names_policy_language_and_interface() {
        let manifest = read("name = \"one\"\nlanguage = \"js\"\nwit = \"0.1\"\n").unwrap();
        assert_eq!((manifest.name.as_str(), manifest.language), ("one", Language::Js));
        assert_eq!(manifest.wit, Version::V0_1);
        let manifest = read("name = \"one\"\nlanguage = \"js\"\nwit = \"0.2\"\n").unwrap();
        assert_eq!(manifest.wit, Version::V0_2);
    }

    #[test]
    fn a_broken_manifest_says_where() {
        for (text, part) in [
            ("name = \"one\"\nlanguage = \"cobol\"\nwit = \"0.1\"", "line 2"),
            ("name = \"One\"\nlanguage = \"c\"\nwit = \"0.1\"", "joined by '-'"),
            ("name = \"one\"\nlanguage = \"c\"\nwit = \"9.9\"", "\"9.9\""),
            ("name = \"one\"\nwit = \"0.1\"", "`language`"),
            ("name = \"one\"\nlanguage = \"c\"\nwit = \"0.1\"\nstep = 1", "`step`"),
            ("name = ", "policy.toml: line 1"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(part), "no {part:?} in {error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }

    #[test]
    fn a_folder_without_one_is_no_project() {
        let folder = tempfile::tempdir().unwrap();
        let error = Manifest::read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("host policy new"), "{error}");
    }
}
