//! Data sets of the Hugging Face Hub, named as models are: `org/name[@revision]`, and behind a `:` which of its files.
//!
//! | name | files |
//! |---|---|
//! | `org/name` | the split `train` |
//! | `org/name:test` | the split `test` |
//! | `org/name:main/test` | that split of the configuration `main` |
//! | `org/name@v1:data/some.csv` | this file, at the revision `v1` |
//!
//! `hf:datasets/` before it says that no file of this name is meant.

mod choice;
mod pattern;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use host_files::sha256;
use host_model::HubAccess;
use host_model::load::hub::datasets::{self, Dataset};
use host_model::load::hub_id;

use self::choice::Wanted;
use super::error::{Error, Result};
use super::extension::{EXTENSIONS, extension};

const PREFIX: &str = "hf:datasets/";

/// SHA-256 of files as they were read, by their names.
pub type Digests = BTreeMap<String, String>;

/// A name, taken apart.
#[derive(Debug, PartialEq)]
struct Name<'a> {
    id: &'a str,
    revision: Option<&'a str>,
    what: Option<&'a str>,
}

/// A file to read, and what it is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// As messages and reports name it.
    pub name: PathBuf,
    /// Where its bytes are.
    pub path: PathBuf,
}

/// The files that a data source names: itself, or those of a data set of the Hub, which are fetched if they aren't in
/// the local cache.
///
/// # Errors
/// [`Error::Hub`] if they can't be fetched, [`Error::Dataset`] if the data set doesn't say which files it means.
pub fn locate(path: &Path) -> Result<Vec<Located>> {
    match parse(path) {
        None => Ok(vec![Located { name: path.into(), path: path.into() }]),
        Some(name) => name.fetch(&HubAccess::from_env()),
    }
}

/// As [`locate`], from the Hub that is reached like this.
///
/// # Errors
/// As [`locate`].
pub fn locate_at(path: &Path, access: &HubAccess) -> Result<Vec<Located>> {
    match parse(path) {
        None => locate(path),
        Some(name) => name.fetch(access),
    }
}

/// The name of a data set of the Hub with the commit of its revision in place of that; the path of a file is unchanged.
///
/// # Errors
/// [`Error::Hub`] if there is no such data set.
pub fn pinned(path: &Path) -> Result<PathBuf> {
    let Some(name) = parse(path) else {
        return Ok(path.into());
    };
    let dataset = datasets::find(name.id, name.revision, &HubAccess::from_env()).map_err(hub)?;
    let what = name.what.map(|what| format!(":{what}")).unwrap_or_default();
    Ok(format!("{PREFIX}{}@{}{what}", name.id, dataset.commit).into())
}

/// The files that a data source names, each with the SHA-256 of its bytes, where they can be read. What is `known`
/// isn't read again.
pub fn digests(path: &Path, known: &Digests) -> Vec<(PathBuf, Option<String>)> {
    // Of a name that is no text another one may be shown in the same way.
    let known = |name: &Path| name.to_str().and_then(|name| known.get(name)).cloned();
    if let Some(bytes) = crate::embedded(path) {
        return vec![(path.into(), Some(sha256::hex(bytes)))];
    }
    let Ok(files) = locate(path) else {
        return vec![(path.into(), None)];
    };
    let digest = |file: &Located| known(&file.name).or_else(|| sha256::file(&file.path).ok());
    files.into_iter().map(|file| (file.name.clone(), digest(&file))).collect()
}

/// The data set that a path names, if it is none of a file.
fn parse(path: &Path) -> Option<Name<'_>> {
    let text = path.to_str()?;
    let explicit = text.strip_prefix(PREFIX);
    let (name, what) = match explicit.unwrap_or(text).split_once(':') {
        Some((name, what)) => (name, Some(what)),
        None => (explicit.unwrap_or(text), None),
    };
    let (id, revision) = hub_id(name)?;
    let is_file = id.starts_with('.')
        || EXTENSIONS.contains(&extension(Path::new(id)).as_str())
        || path.exists();
    (explicit.is_some() || !is_file).then_some(Name { id, revision, what })
}

impl Name<'_> {
    fn fetch(&self, access: &HubAccess) -> Result<Vec<Located>> {
        let dataset = datasets::find(self.id, self.revision, access).map_err(hub)?;
        dataset.notices.iter().for_each(|notice| tracing::warn!("{notice}"));
        let files = self.files(&dataset)?;
        let sizes: Option<u64> = files.iter().map(|file| dataset.size(file)).sum();
        let size =
            sizes.map(|size| format!(" ({} MiB)", size.div_ceil(1 << 20))).unwrap_or_default();
        tracing::info!("{} at {}: {}{size}", self.id, dataset.commit, named(&files));
        let located = |file: &String| {
            let path = dataset.bring(file).map_err(hub)?;
            let name = format!("{}@{}:{file}", self.id, &dataset.commit[..12]).into();
            Ok(Located { name, path })
        };
        files.iter().map(located).collect()
    }

    fn files(&self, dataset: &Dataset) -> Result<Vec<String>> {
        let all: Vec<&str> = dataset.files().collect();
        let wanted = Wanted::parse(self.what, &all);
        choice::choose(&all, dataset.configs(), &wanted)
            .map_err(|problem| Error::Dataset { name: self.id.to_owned(), problem })
    }
}

/// Some names for a message.
fn named(names: &[impl AsRef<str>]) -> String {
    const MOST: usize = 12;
    let shown: Vec<String> =
        names.iter().take(MOST).map(|name| host_files::text::name(name.as_ref())).collect();
    let more = if names.len() > MOST {
        format!(" and {} more", names.len() - MOST)
    } else {
        String::new()
    };
    shown.join(", ") + &more
}

fn hub(error: host_model::Error) -> Error {
    Error::Hub(Box::new(error))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn of(text: &str) -> Option<(&str, Option<&str>, Option<&str>)> {
        parse(Path::new(text)).map(|it| (it.id, it.revision, it.what))
    }

    #[test]
    fn data_sets_are_named_as_models_are() {
        assert_eq!(of("org/name"), Some(("org/name", None, None)));
        assert_eq!(
            of("org/name@refs/pr/1:test"),
            Some(("org/name", Some("refs/pr/1"), Some("test")))
        );
        assert_eq!(of("org/name:a/b.csv"), Some(("org/name", None, Some("a/b.csv"))));
        assert_eq!(of("hf:datasets/org/x.csv@v1"), Some(("org/x.csv", Some("v1"), None)));
        for file in [
            "task.jsonl",
            "data/task.jsonl",
            "data/task.csv.gz",
            "./org/name",
            "/org/name",
            "../name/x",
            "demo:train.jsonl",
            "a/b/c",
            "org/",
            "hf:org/name",
            "src/lib.rs",
        ] {
            assert_eq!(of(file), None, "{file}");
        }
    }
}
