//! Models from the Hugging Face Hub, through its ordinary client and cache.
//!
//! `HF_ENDPOINT` (a mirror), `HF_HOME` / `HF_HUB_CACHE` (the cache, shared with Python), `HF_TOKEN` (private and
//! gated models) and `HF_HUB_OFFLINE` mean what they mean to Python's `huggingface_hub`.

use std::path::PathBuf;

use hf_hub::{HFClient, HFClientSync, HFError, HFResult};

use crate::error::{Error, Result};

/// The files of a model that are wanted; a repository may hold much more (other formats, images).
const WANTED: [&str; 8] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "model.safetensors.index.json",
    "model*.safetensors",
];

/// How to reach the Hub. [`HubAccess::from_env`] is what everything but a test uses.
#[derive(Debug, Clone, Default)]
pub struct HubAccess {
    /// Base URL; none means `HF_ENDPOINT`, else the public Hub.
    pub endpoint: Option<String>,
    /// Cache folder; none means `HF_HUB_CACHE`, `HF_HOME/hub`, `~/.cache/huggingface/hub`.
    pub cache: Option<PathBuf>,
    /// Never touch the network; only what the cache holds.
    pub offline: bool,
}

impl HubAccess {
    /// From the environment variables named in the module's documentation.
    pub fn from_env() -> Self {
        let set = |v: String| ["1", "ON", "YES", "TRUE"].contains(&v.to_ascii_uppercase().as_str());
        let offline = std::env::var("HF_HUB_OFFLINE").is_ok_and(set);
        Self {
            offline,
            ..Self::default()
        }
    }

    fn client(&self) -> HFResult<HFClientSync> {
        let mut builder = HFClient::builder();
        if let Some(endpoint) = &self.endpoint {
            builder = builder.endpoint(endpoint);
        }
        if let Some(cache) = &self.cache {
            builder = builder.cache_dir(cache);
        }
        builder.build_sync()
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
    let folder = match download(id, revision, access, access.offline) {
        Err(error) if !access.offline && is_unreachable(&error) => {
            let cached = download(id, revision, access, true);
            if cached.is_ok() {
                tracing::warn!(
                    "{id}: the Hub can't be reached ({error}); using the copy in the cache"
                );
            }
            cached.map_err(|_| explain(id, revision, access, &error))?
        }
        result => result.map_err(|e| explain(id, revision, access, &e))?,
    };
    let commit = folder
        .file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default();
    Ok(Snapshot { folder, commit })
}

fn download(
    id: &str,
    revision: Option<&str>,
    access: &HubAccess,
    cache_only: bool,
) -> HFResult<PathBuf> {
    let (organisation, name) = hf_hub::split_id(id);
    let client = access.client()?;
    client
        .model(organisation, name)
        .snapshot_download()
        .maybe_revision(revision)
        .allow_patterns(WANTED.map(str::to_owned).to_vec())
        .local_files_only(cache_only)
        .send()
}

fn is_unreachable(error: &HFError) -> bool {
    match error {
        HFError::Request { .. } => true,
        HFError::Http { context } => context.status.is_server_error(),
        _ => false,
    }
}

fn explain(id: &str, revision: Option<&str>, access: &HubAccess, error: &HFError) -> Error {
    let asked = revision.map_or_else(|| id.to_owned(), |r| format!("{id}@{r}"));
    let (problem, next) = match error {
        HFError::RepoNotFound { .. } | HFError::AuthRequired { .. } => (
            "no such model on the Hub, or it is private".to_owned(),
            "check the name, or set HF_TOKEN to a token that may read it",
        ),
        HFError::Forbidden { .. } => (
            "access refused".to_owned(),
            "accept the model's terms on its page, and set HF_TOKEN to that account's token",
        ),
        HFError::RevisionNotFound { revision, .. } => (
            format!("has no revision {revision}"),
            "name a branch, tag or commit of the repository, or leave it out for main",
        ),
        HFError::LocalEntryNotFound { .. } if access.offline => (
            "not in the local cache, and HF_HUB_OFFLINE is set".to_owned(),
            "unset it once to fetch the model, or give a folder",
        ),
        HFError::RateLimited { .. } => (
            "the Hub asks to wait".to_owned(),
            "try again later, or set HF_TOKEN",
        ),
        HFError::Io(e) => (
            format!("the cache can't be written ({e})"),
            "make room, or point HF_HOME to a folder with space",
        ),
        other => (
            one_line(other),
            "check the network and HF_ENDPOINT, or give a folder with the model's files",
        ),
    };
    Error::Source {
        source_name: asked,
        problem,
        action: next.to_owned(),
    }
}

/// An error and its causes in one line: a client's top message alone ("error sending request") says too little.
fn one_line(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text.replace('\n', " ")
}
