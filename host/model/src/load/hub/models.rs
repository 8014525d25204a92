//! Models of the Hub: which of its files are needed, all of one commit.

use std::path::PathBuf;

use super::access::HubAccess;
use super::client::Client;
use super::kind::Kind;
use super::request::Request;
use crate::error::Result;
use host_web::Failure;

/// Of one file of weights: five times the largest that is usual.
const LARGEST_WEIGHTS: u64 = 256 << 30;
/// Of configuration, index, tokenizer or template.
const LARGEST_TEXT: u64 = crate::budget::TOKENIZER;
/// Of one model: the largest have a few hundred shards.
const MOST_FILES: usize = 2000;

/// A model's files in the local cache.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Folder with the files.
    pub folder: PathBuf,
    /// The commit that the revision resolved to.
    pub commit: String,
    /// That the Hub couldn't be asked, and why.
    pub notice: Option<String>,
}

/// Bring the files of `id` at `revision` (none: `main`) into the cache; what is there already isn't fetched again.
///
/// The revision is resolved once and all files are of that commit. When the Hub can't be reached, what the cache
/// holds for the revision is used, and the snapshot says so.
///
/// # Errors
/// [`Error::Source`](crate::Error::Source) when there is no such model or revision, access is refused, the server isn't to be trusted, or
/// the network and the cache both fail.
pub fn fetch(id: &str, revision: Option<&str>, access: &HubAccess) -> Result<Snapshot> {
    let revision = revision.unwrap_or("main");
    let request = Request::new(Kind::Model, id, revision, access)?;
    if access.offline {
        return cached(&request).ok_or_else(|| {
            request.error(
                "not in the local cache, and HF_HUB_OFFLINE is set",
                "unset it once to fetch the model, or give a folder",
            )
        });
    }
    match access.client().and_then(|client| download(&request, &client)) {
        Ok(snapshot) => Ok(snapshot),
        Err(failure) => match cached(&request).filter(|_| failure.is_passing()) {
            Some(snapshot) => {
                let why = request.explain(&failure);
                let notice = format!("{why}; until then the copy in the cache is used");
                tracing::warn!("{notice}");
                Ok(Snapshot { notice: Some(notice), ..snapshot })
            }
            None => Err(request.explain(&failure)),
        },
    }
}

/// What the cache holds for the revision.
fn cached(request: &Request<'_>) -> Option<Snapshot> {
    let commit = request.commit()?;
    let folder = request.repository.snapshot(&commit);
    folder.is_dir().then_some(Snapshot { folder, commit, notice: None })
}

fn download(request: &Request<'_>, client: &Client) -> std::result::Result<Snapshot, Failure> {
    let described = request.describe(client)?;
    let commit = described.sha;
    let wanted = || described.siblings.iter().filter(|it| is_wanted(&it.rfilename));
    if wanted().count() > MOST_FILES {
        return Err(Failure::Untrusted(format!("lists more than {MOST_FILES} files of weights")));
    }
    let folder = request.repository.snapshot(&commit);
    for file in wanted() {
        if !folder.join(&file.rfilename).exists() {
            let name = file.rfilename.as_str();
            let most = if is_weights(name) { LARGEST_WEIGHTS } else { LARGEST_TEXT };
            request.bring(client, file, most, &commit)?;
        }
    }
    request.repository.note(request.revision, &commit)?;
    Ok(Snapshot { folder, commit, notice: None })
}

/// The files of a model that are wanted; a repository may hold much more (other formats, images).
fn is_wanted(name: &str) -> bool {
    is_weights(name)
        || name == "config.json"
        || name == "tokenizer.json"
        || name == "model.safetensors.index.json"
        || crate::tokenizer::SIDE_FILES.contains(&name)
}

/// A plain name: of another one no file is made.
fn is_weights(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    name.starts_with("model")
        && name.ends_with(".safetensors")
        && name.len() <= 128
        && name.bytes().all(plain)
}
