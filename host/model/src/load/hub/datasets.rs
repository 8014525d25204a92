//! Data sets of the Hub: which files a revision has, and the files that are asked for.
//!
//! The files of a commit are kept as the Hub listed them. A commit never changes, so it is asked about once, and
//! without a network the same files are chosen as with one.

use std::path::PathBuf;

use serde_json::Value;

use super::access::HubAccess;
use super::cache::is_commit;
use super::client::Description;
use super::kind::Kind;
use super::request::Request;
use crate::error::Result;

/// Of one file: five times the largest that is usual.
const LARGEST_FILE: u64 = 256 << 30;
/// The parts of a path.
const DEEPEST: usize = 8;

/// A data set at one commit.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// `org/name`.
    pub id: String,
    /// The commit that the revision resolved to.
    pub commit: String,
    /// What is to be told, such as that the Hub couldn't be asked.
    pub notices: Vec<String>,
    described: Description,
    access: HubAccess,
}

/// Looks up a data set at `revision` (none: `main`); no file is fetched.
///
/// # Errors
/// [`Error::Source`](crate::Error::Source) as for models.
pub fn find(id: &str, revision: Option<&str>, access: &HubAccess) -> Result<Dataset> {
    let request = Request::new(Kind::Dataset, id, revision.unwrap_or("main"), access)?;
    let known = || request.repository.listed(&request.commit()?);
    let found = |described: Description, notice: Option<String>| {
        let odd = described.siblings.iter().filter(|it| !is_plain(&it.rfilename)).count();
        let odd = (odd > 0).then(|| format!("{id}: {odd} files have names that aren't read"));
        Dataset {
            id: id.to_owned(),
            commit: described.sha.clone(),
            notices: notice.into_iter().chain(odd).collect(),
            described,
            access: access.clone(),
        }
    };
    if is_commit(request.revision)
        && let Some(described) = known()
    {
        return Ok(found(described, None));
    }
    if access.offline {
        return known().map(|described| found(described, None)).ok_or_else(|| {
            let action = "unset it once to fetch the data set, or give a file";
            request.error("not in the local cache, and HF_HUB_OFFLINE is set", action)
        });
    }
    let described = access.client().and_then(|client| {
        let described = request.describe(&client)?;
        request.repository.list(&described)?;
        request.repository.note(request.revision, &described.sha)?;
        Ok(described)
    });
    match described {
        Ok(described) => Ok(found(described, None)),
        Err(failure) => match known().filter(|_| failure.is_passing()) {
            Some(described) => {
                let why = request.explain(&failure);
                let notice = format!("{why}; until then the copy in the cache is used");
                Ok(found(described, Some(notice)))
            }
            None => Err(request.explain(&failure)),
        },
    }
}

impl Dataset {
    /// Paths of its files.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        let files = self.described.siblings.iter().map(|file| file.rfilename.as_str());
        files.filter(|name| is_plain(name))
    }

    /// What its card says of its configurations: `configs` of the README's head.
    pub fn configs(&self) -> &Value {
        &self.described.card["configs"]
    }

    /// Bytes of a file, where the Hub says so.
    pub fn size(&self, name: &str) -> Option<u64> {
        let file = self.described.siblings.iter().find(|file| file.rfilename == name)?;
        file.lfs.as_ref().and_then(|it| it.size).or(file.size)
    }

    /// One of [`files`](Self::files) in the local cache, fetched if it isn't there yet.
    ///
    /// # Errors
    /// [`Error::Source`](crate::Error::Source) as for models.
    pub fn bring(&self, name: &str) -> Result<PathBuf> {
        let request = Request::new(Kind::Dataset, &self.id, &self.commit, &self.access)?;
        let path = request.repository.snapshot(&self.commit).join(name);
        if path.exists() {
            return Ok(path);
        }
        let absent = || request.error(&format!("has no file {name}"), "correct the name");
        let file = self.described.siblings.iter().find(|file| file.rfilename == name);
        let file = file.filter(|_| is_plain(name)).ok_or_else(absent)?;
        if self.access.offline {
            let action = "unset it once to fetch the data set, or give a file";
            let problem = format!("{name} is not in the local cache, and HF_HUB_OFFLINE is set");
            return Err(request.error(&problem, action));
        }
        let brought = self
            .access
            .client()
            .and_then(|client| request.bring(&client, file, LARGEST_FILE, &self.commit));
        brought.map(|()| path).map_err(|failure| request.explain(&failure))
    }
}

/// A path below the repository's root, of plain names: of another one no file is made.
fn is_plain(path: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+=".contains(&byte);
    let is_name = |name: &str| {
        !name.is_empty() && !name.starts_with('.') && name.len() <= 128 && name.bytes().all(plain)
    };
    path.split('/').count() <= DEEPEST && path.split('/').all(is_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_paths_stay_below_the_root() {
        for path in ["a.csv", "data/train-00000-of-00001.parquet", "a/b/c=1/x+y.jsonl.gz"] {
            assert!(is_plain(path), "{path}");
        }
        let deep = "a/".repeat(8) + "b";
        for path in
            ["", "/a", "a/", "a//b", "../a", "a/../b", ".a", "a/.b", "a b", "a?b", "a%2f", &deep]
        {
            assert!(!is_plain(path), "{path}");
        }
    }
}
