//! Models from the Hugging Face Hub, through its ordinary client and cache.
//!
//! `HF_ENDPOINT` (a mirror), `HF_HOME` / `HF_HUB_CACHE` (the cache, shared with Python), `HF_TOKEN` (private and
//! gated models) and `HF_HUB_OFFLINE` mean what they mean to Python's `huggingface_hub`.

use std::path::{Path, PathBuf};

use hf_hub::api::sync::{ApiBuilder, ApiError};
use hf_hub::{Cache, Repo, RepoType};

use crate::error::{Error, Result};

/// Whether a repository's file belongs to a model; it may hold much more (other formats, images).
fn is_wanted(name: &str) -> bool {
    const NAMES: [&str; 7] = [
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "chat_template.jinja",
        "model.safetensors.index.json",
    ];
    NAMES.contains(&name) || (name.starts_with("model") && name.ends_with(".safetensors"))
}

/// How to reach the Hub. [`HubAccess::from_env`] is what everything but a test uses.
#[derive(Debug, Clone, Default)]
pub struct HubAccess {
    /// Base URL; none means `HF_ENDPOINT`, else the public Hub.
    pub endpoint: Option<String>,
    /// Cache folder; none means `HF_HUB_CACHE`, `HF_HOME/hub`, `~/.cache/huggingface/hub`.
    pub cache: Option<PathBuf>,
    /// Access token; none means the one that `huggingface-cli login` left in the cache.
    pub token: Option<String>,
    /// Never touch the network; only what the cache holds.
    pub offline: bool,
}

impl HubAccess {
    /// From the environment variables named in the module's documentation.
    pub fn from_env() -> Self {
        let set = |v: String| ["1", "ON", "YES", "TRUE"].contains(&v.to_ascii_uppercase().as_str());
        let text = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            endpoint: text("HF_ENDPOINT"),
            cache: text("HF_HUB_CACHE").map(PathBuf::from),
            token: text("HF_TOKEN"),
            offline: std::env::var("HF_HUB_OFFLINE").is_ok_and(set),
        }
    }

    fn cache(&self) -> Cache {
        self.cache.clone().map_or_else(Cache::from_env, Cache::new)
    }

    fn builder(&self) -> ApiBuilder {
        let cache = self.cache();
        let token = self.token.clone().or_else(|| cache.token());
        let builder = ApiBuilder::from_cache(cache)
            .with_progress(false)
            .with_retries(2)
            .with_token(token);
        match &self.endpoint {
            Some(endpoint) => builder.with_endpoint(endpoint.trim_end_matches('/').to_owned()),
            None => builder,
        }
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
/// When the network can't be reached, what the cache holds for that revision is used, with a warning.
///
/// # Errors
/// [`Error::Source`] when there is no such model or revision, access is refused, or the network and the cache both fail.
pub fn fetch(id: &str, revision: Option<&str>, access: &HubAccess) -> Result<Snapshot> {
    let revision = revision.unwrap_or("main");
    if access.offline {
        let next = "unset HF_HUB_OFFLINE once to fetch the model, or give a folder";
        return cached(id, revision, access).ok_or_else(|| {
            failed(
                id,
                revision,
                "not in the local cache, and HF_HUB_OFFLINE is set",
                next,
            )
        });
    }
    match download(id, revision, access) {
        Ok(snapshot) => Ok(snapshot),
        Err(error) if is_unreachable(&error) => match cached(id, revision, access) {
            Some(snapshot) => {
                tracing::warn!(
                    "{id}: the Hub can't be reached ({error}); using the copy in the cache"
                );
                Ok(snapshot)
            }
            None => Err(explain(id, revision, &error)),
        },
        Err(error) => Err(explain(id, revision, &error)),
    }
}

fn repo(id: &str, revision: &str) -> Repo {
    Repo::with_revision(id.to_owned(), RepoType::Model, revision.to_owned())
}

/// What the cache holds for a revision: a branch or tag by its recorded commit, or a commit itself.
fn cached(id: &str, revision: &str, access: &HubAccess) -> Option<Snapshot> {
    let config = access.cache().repo(repo(id, revision)).get("config.json")?;
    snapshot(config.parent()?)
}

/// Resolves the revision to a commit first and fetches every file at that commit, so that a push in between can't
/// mix two versions.
fn download(
    id: &str,
    revision: &str,
    access: &HubAccess,
) -> std::result::Result<Snapshot, ApiError> {
    let api = access.builder().build()?;
    let info = api.repo(repo(id, revision)).info()?;
    let pinned = api.repo(repo(id, &info.sha));
    let mut folder = None;
    for file in info
        .siblings
        .iter()
        .filter(|file| is_wanted(&file.rfilename))
    {
        folder = pinned.get(&file.rfilename)?.parent().map(Path::to_owned);
    }
    access
        .cache()
        .repo(repo(id, revision))
        .create_ref(&info.sha)?;
    access
        .cache()
        .repo(repo(id, &info.sha))
        .create_ref(&info.sha)?;
    let missing = || {
        std::io::Error::new(
            std::io::ErrorKind::NotFound,
            "the repository holds no model files",
        )
    };
    folder
        .as_deref()
        .and_then(snapshot)
        .ok_or_else(|| ApiError::IoError(missing()))
}

/// The cache's folders are named by their commit.
fn snapshot(folder: &Path) -> Option<Snapshot> {
    let commit = folder.file_name()?.to_string_lossy().into_owned();
    Some(Snapshot {
        folder: folder.to_owned(),
        commit,
    })
}

fn status(error: &ApiError) -> Option<u16> {
    match error {
        ApiError::TooManyRetries(inner) => status(inner),
        ApiError::RequestError(error) => match **error {
            ureq::Error::StatusCode(status) => Some(status),
            _ => None,
        },
        _ => None,
    }
}

fn is_unreachable(error: &ApiError) -> bool {
    match error {
        ApiError::TooManyRetries(inner) => is_unreachable(inner),
        ApiError::RequestError(_) => status(error).is_none_or(|status| status >= 500),
        _ => false,
    }
}

fn explain(id: &str, revision: &str, error: &ApiError) -> Error {
    let (problem, next) = match (status(error), error) {
        (Some(404), _) => (
            format!("no such model or revision ({revision}) on the Hub"),
            "check the name and the revision; a private model needs HF_TOKEN",
        ),
        (Some(401 | 403), _) => (
            "access refused".to_owned(),
            "accept the model's terms on its page, and set HF_TOKEN to a token of that account",
        ),
        (Some(429), _) => (
            "the Hub asks to wait".to_owned(),
            "try again later, or set HF_TOKEN",
        ),
        (None, ApiError::IoError(error)) => (
            format!("can't be kept in the cache ({error})"),
            "make room, or point HF_HOME to a folder with space",
        ),
        (_, other) => (
            other.to_string().replace('\n', " "),
            "check the network and HF_ENDPOINT, or give a folder with the model's files",
        ),
    };
    failed(id, revision, &problem, next)
}

fn failed(id: &str, revision: &str, problem: &str, next: &str) -> Error {
    Error::Source {
        source_name: format!("{id}@{revision}"),
        problem: problem.to_owned(),
        action: next.to_owned(),
    }
}
