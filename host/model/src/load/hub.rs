//! Models from the Hugging Face Hub, through its ordinary client and the cache that Python uses, too.
//!
//! `HF_ENDPOINT` (a mirror), `HF_HOME` and `HF_HUB_CACHE` (the cache), `HF_TOKEN` (private and gated models) and
//! `HF_HUB_OFFLINE` mean what they mean to Python's `huggingface_hub`.

use std::path::{Path, PathBuf};

use hf_hub::api::sync::{Api, ApiBuilder, ApiError};
use hf_hub::{Cache, Repo, RepoType};

use crate::error::{Error, Result};

/// How to reach the Hub. [`HubAccess::from_env`] is what everything but a test uses.
#[derive(Debug, Clone, Default)]
pub struct HubAccess {
    /// Base URL; none means the public Hub.
    pub endpoint: Option<String>,
    /// Cache folder; none means `~/.cache/huggingface/hub`.
    pub cache: Option<PathBuf>,
    /// Token for private and gated models; none means the one that a login left beside the cache.
    pub token: Option<String>,
    /// Never touch the network; only what the cache holds.
    pub offline: bool,
}

impl HubAccess {
    /// From the environment variables named in the module's documentation.
    pub fn from_env() -> Self {
        let text = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let is_on =
            |v: String| ["1", "ON", "YES", "TRUE"].contains(&v.to_ascii_uppercase().as_str());
        let home = text("HF_HOME").map(|home| Path::new(&home).join("hub"));
        Self {
            endpoint: text("HF_ENDPOINT"),
            cache: text("HF_HUB_CACHE").map(PathBuf::from).or(home),
            token: text("HF_TOKEN"),
            offline: text("HF_HUB_OFFLINE").is_some_and(is_on),
        }
    }

    fn cache(&self) -> Result<Cache> {
        let Some(folder) = &self.cache else {
            return Ok(Cache::default());
        };
        // The client links files relative to one another and asks for absolute paths.
        let folder = std::path::absolute(folder).map_err(|e| Error::io(folder, e))?;
        Ok(Cache::new(folder))
    }

    fn client(&self) -> Result<std::result::Result<Api, ApiError>> {
        let mut builder = ApiBuilder::from_cache(self.cache()?);
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint.trim_end_matches('/').to_owned());
        }
        if let Some(token) = &self.token {
            builder = builder.with_token(Some(token.clone()));
        }
        Ok(builder.with_retries(3).build())
    }
}

/// A model's files in the local cache.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Folder with the files.
    pub folder: PathBuf,
    /// The commit that the revision resolved to.
    pub commit: String,
}

/// Bring the files of `id` at `revision` (none: `main`) into the cache; what is there already isn't fetched again.
///
/// The revision is resolved once and all files are of that commit. When the Hub can't be reached, what the cache
/// holds for the revision is used, with a warning.
///
/// # Errors
/// [`Error::Source`] when there is no such model or revision, access is refused, or the network and the cache both
/// fail.
pub fn fetch(id: &str, revision: Option<&str>, access: &HubAccess) -> Result<Snapshot> {
    let revision = revision.unwrap_or("main");
    let request = Request { id, revision, cache: access.cache()? };
    if access.offline {
        return request.cached().ok_or_else(|| {
            request.error(
                "not in the local cache, and HF_HUB_OFFLINE is set",
                "unset it once to fetch the model, or give a folder",
            )
        });
    }
    let downloaded = access.client()?.and_then(|api| request.download(&api));
    match downloaded {
        Ok(snapshot) => Ok(snapshot),
        Err(error) if is_unreachable(&error) => match request.cached() {
            Some(snapshot) => {
                tracing::warn!(
                    "{id}: the Hub can't be reached ({error}); using the copy in the cache"
                );
                Ok(snapshot)
            }
            None => Err(request.explain(&error)),
        },
        Err(error) => Err(request.explain(&error)),
    }
}

/// The files of a model that are wanted; a repository may hold much more (other formats, images).
fn is_wanted(name: &str) -> bool {
    let is_weights =
        name.starts_with("model") && name.ends_with(".safetensors") && !name.contains(['/', '\\']);
    is_weights
        || name == "config.json"
        || name == "tokenizer.json"
        || name == "model.safetensors.index.json"
        || crate::tokenizer::SIDE_FILES.contains(&name)
}

fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

struct Request<'a> {
    id: &'a str,
    revision: &'a str,
    cache: Cache,
}

impl Request<'_> {
    fn repository(&self, revision: &str) -> Repo {
        Repo::with_revision(self.id.to_owned(), RepoType::Model, revision.to_owned())
    }

    fn folder(&self, commit: &str) -> PathBuf {
        self.cache.repo(self.repository(commit)).pointer_path(commit)
    }

    /// What the cache holds for the revision; a commit is its own name, others are noted under `refs`.
    fn cached(&self) -> Option<Snapshot> {
        let noted = self
            .cache
            .path()
            .join(self.repository(self.revision).folder_name())
            .join("refs")
            .join(self.revision);
        let commit = if is_commit(self.revision) {
            self.revision.to_owned()
        } else {
            std::fs::read_to_string(noted).ok()?.trim().to_owned()
        };
        let folder = self.folder(&commit);
        (is_commit(&commit) && folder.is_dir()).then_some(Snapshot { folder, commit })
    }

    fn download(&self, api: &Api) -> std::result::Result<Snapshot, ApiError> {
        let info = api.repo(self.repository(self.revision)).info()?;
        let commit = info.sha;
        if !is_commit(&commit) {
            return Err(ApiError::InvalidHeader("sha"));
        }
        let folder = self.folder(&commit);
        let pinned = api.repo(self.repository(&commit));
        for file in
            info.siblings.iter().map(|sibling| &sibling.rfilename).filter(|name| is_wanted(name))
        {
            if !folder.join(file).exists() {
                pinned.download(file)?;
            }
        }
        self.cache.repo(self.repository(self.revision)).create_ref(&commit)?;
        Ok(Snapshot { folder, commit })
    }

    fn error(&self, problem: &str, action: &str) -> Error {
        Error::Source {
            source_name: format!("{}@{}", self.id, self.revision),
            problem: problem.to_owned(),
            action: action.to_owned(),
        }
    }

    fn explain(&self, error: &ApiError) -> Error {
        match (status(error), error) {
            (Some(401), _) => self.error(
                "no such model on the Hub, or it is private",
                "check the name, or set HF_TOKEN to a token that may read it",
            ),
            (Some(403), _) => self.error(
                "access refused",
                "accept the model's terms on its page, and set HF_TOKEN to that account's token",
            ),
            (Some(404), _) => self.error(
                "no such model or revision on the Hub",
                "check the name, and that the revision is a branch, tag or commit",
            ),
            (Some(429), _) => {
                self.error("the Hub asks to wait", "try again later, or set HF_TOKEN")
            }
            (_, ApiError::IoError(e)) => self.error(
                &format!("the cache can't be written ({e})"),
                "make room, or point HF_HOME to a folder with space",
            ),
            _ => self.error(
                &error.to_string().replace('\n', " "),
                "check the network and HF_ENDPOINT, or give a folder with the model's files",
            ),
        }
    }
}

/// The HTTP status of a refusal.
fn status(error: &ApiError) -> Option<u16> {
    match error {
        ApiError::RequestError(request) => match **request {
            ureq::Error::StatusCode(status) => Some(status),
            _ => None,
        },
        ApiError::TooManyRetries(last) => status(last),
        _ => None,
    }
}

fn is_unreachable(error: &ApiError) -> bool {
    match error {
        ApiError::RequestError(_) => status(error).is_none_or(|status| status >= 500),
        ApiError::TooManyRetries(last) => is_unreachable(last),
        _ => false,
    }
}
