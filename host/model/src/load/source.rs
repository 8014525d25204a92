//! Sources of models.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Where a model comes from.
#[derive(Debug, Clone)]
pub enum Source {
    /// A folder in the Hugging Face layout: config.json, safetensors, tokenizer.json.
    Directory(PathBuf),
    /// A GGUF file: weights, tokenizer and chat template in one.
    Gguf(PathBuf),
    /// A model on the Hugging Face Hub (or the mirror that `HF_ENDPOINT` names).
    Hub {
        /// `org/name`.
        id: String,
        /// Branch, tag or commit; none means `main`. What it resolves to is recorded in the loaded model.
        revision: Option<String>,
    },
    /// A model that is part of this program.
    Embedded(EmbeddedModel),
}

/// A model inside the binary: the bytes of the files of a Hugging Face folder.
#[derive(Debug, Clone, Copy)]
pub struct EmbeddedModel {
    /// Name to show for it.
    pub name: &'static str,
    /// config.json
    pub config: &'static [u8],
    /// model.safetensors
    pub weights: &'static [u8],
    /// tokenizer.json
    pub tokenizer: &'static [u8],
    /// tokenizer_config.json, with the chat template
    pub tokenizer_config: &'static [u8],
}

const FORMS: &str = "give a folder with config.json and model.safetensors, a .gguf file, or a Hub id org/name[@revision]";

impl Source {
    /// Read what a user typed for a model: an existing folder, a `.gguf` file, or `org/name[@revision]`.
    ///
    /// # Errors
    /// [`Error::File`] for a path that doesn't exist or isn't a model, and for text that is none of the three.
    pub fn parse(text: &str) -> Result<Self> {
        let path = Path::new(text);
        let is_gguf = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("gguf"));
        if path.is_dir() {
            return Ok(Self::Directory(path.to_owned()));
        }
        if path.is_file() {
            if is_gguf {
                return Ok(Self::Gguf(path.to_owned()));
            }
            return Err(Error::file(path, "is a file, but not a .gguf model", FORMS));
        }
        if is_gguf || looks_like_a_path(text) {
            return Err(Error::file(path, "no such file or folder", FORMS));
        }
        let (id, revision) = hub_id(text)
            .ok_or_else(|| Error::file(path, "no such folder, and not a Hub id", FORMS))?;
        Ok(Self::Hub { id: id.to_owned(), revision: revision.map(str::to_owned) })
    }
}

/// The folder or file name, or the Hub id.
impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Directory(path) | Self::Gguf(path) => write!(f, "{}", path.display()),
            Self::Hub { id, revision: None } => f.write_str(id),
            Self::Hub { id, revision: Some(revision) } => write!(f, "{id}@{revision}"),
            Self::Embedded(model) => f.write_str(model.name),
        }
    }
}

fn looks_like_a_path(text: &str) -> bool {
    // A revision may hold slashes, an id only one.
    let id = text.split('@').next().unwrap_or(text);
    text.starts_with(['.', '/', '~', '\\']) || id.matches('/').count() > 1 || text.ends_with('/')
}

/// `org/name` and the revision behind an `@`, if a text is the name of something on the Hub.
pub fn hub_id(text: &str) -> Option<(&str, Option<&str>)> {
    let (id, revision) = match text.split_once('@') {
        Some((id, revision)) => (id, Some(revision)),
        None => (text, None),
    };
    let (organisation, name) = id.split_once('/')?;
    let is_word = |s: &str| {
        !s.is_empty()
            && s.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
            && !s.contains("..")
    };
    // A revision may hold slashes (refs/pr/1).
    let is_revision = |r: &str| !r.is_empty() && r.split('/').all(is_word);
    let is_id = is_word(organisation) && is_word(name) && revision.is_none_or(is_revision);
    is_id.then_some((id, revision))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn hub_ids_with_and_without_a_revision() {
        let Source::Hub { id, revision } = Source::parse("org/name-1.5B@refs/pr/1").unwrap() else {
            panic!("not a Hub id");
        };
        assert_eq!((id.as_str(), revision.as_deref()), ("org/name-1.5B", Some("refs/pr/1")));
        assert!(matches!(Source::parse("org/name").unwrap(), Source::Hub { revision: None, .. }));
    }

    #[test]
    fn folders_and_gguf_files() {
        let dir = tempfile::tempdir().unwrap();
        let gguf = dir.path().join("m.gguf");
        std::fs::write(&gguf, b"x").unwrap();
        assert!(matches!(
            Source::parse(dir.path().to_str().unwrap()).unwrap(),
            Source::Directory(_)
        ));
        assert!(matches!(Source::parse(gguf.to_str().unwrap()).unwrap(), Source::Gguf(_)));
    }

    #[test]
    fn what_is_not_a_model_names_itself_and_the_forms() {
        let dir = tempfile::tempdir().unwrap();
        let text = dir.path().join("a.txt");
        std::fs::write(&text, b"x").unwrap();
        for bad in [
            text.to_str().unwrap(),
            "./absent",
            "absent.gguf",
            "one-word",
            "a/b@",
            "a/../b",
            "a b/c",
            "a/b/c",
        ] {
            let message = Source::parse(bad).unwrap_err().to_string();
            assert!(message.contains(bad) && message.contains("org/name"), "{message}");
            assert!(!message.contains('\n'));
        }
    }
}
