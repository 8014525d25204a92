//! Models from the Hugging Face Hub or a mirror of it, in the cache that Python uses, too.
//!
//! `HF_ENDPOINT` (a mirror), `HF_HOME` and `HF_HUB_CACHE` (the cache), `HF_TOKEN` (private and gated models),
//! `HF_HUB_DOWNLOAD_TIMEOUT` (seconds) and `HF_HUB_OFFLINE` mean what they mean to Python's `huggingface_hub`.
//!
//! A mirror isn't trusted: what it says becomes no path, files are as large as announced and large ones have the
//! announced digest, the token goes nowhere else, and everything has a time limit.

mod address;
mod cache;
mod client;
mod failure;

use std::path::{Path, PathBuf};
use std::time::Duration;

use host_files::{capped, text};

pub use self::address::is_loopback;
use self::cache::{Repository, is_commit};
use self::client::{Client, Sibling, Sink as _};
use self::failure::Failure;
use crate::error::{Error, Result};

const ENDPOINT: &str = "https://huggingface.co";
const PATIENCE: Duration = Duration::from_secs(30);
/// Of one file of weights: five times the largest that is usual.
const LARGEST_WEIGHTS: u64 = 256 << 30;
/// Of configuration, index, tokenizer or template.
const LARGEST_TEXT: u64 = crate::budget::TOKENIZER;
/// Of one model: the largest have a few hundred shards.
const MOST_FILES: usize = 2000;
/// A token has less than a hundred characters.
const LONGEST_TOKEN: u64 = 4096;
/// What takes longer than a moment is told.
const LARGE: u64 = 32 << 20;

/// How to reach the Hub. [`HubAccess::from_env`] is what everything but a test uses.
#[derive(Debug, Clone, Default)]
pub struct HubAccess {
    /// Base URL; none means the public Hub.
    pub endpoint: Option<String>,
    /// Cache folder; none means `~/.cache/huggingface/hub`.
    pub cache: Option<PathBuf>,
    /// Token for private and gated models.
    pub token: Option<String>,
    /// Never touch the network; only what the cache holds.
    pub offline: bool,
    /// Longest wait for a connection, an answer, or more of it; none means half a minute.
    pub patience: Option<Duration>,
}

impl HubAccess {
    /// From the environment variables named in the module's documentation; the token may be the one that a login left.
    pub fn from_env() -> Self {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let is_on =
            |v: String| ["1", "ON", "YES", "TRUE"].contains(&v.to_ascii_uppercase().as_str());
        let home = variable("HF_HOME").map(PathBuf::from).or_else(default_home);
        let login = || {
            let path = variable("HF_TOKEN_PATH").map(PathBuf::from);
            read_token(&path.or_else(|| Some(home.as_ref()?.join("token")))?)
        };
        let seconds = variable("HF_HUB_DOWNLOAD_TIMEOUT").and_then(|text| text.parse::<f64>().ok());
        let patience =
            seconds.filter(|it| (1.0..=3600.0).contains(it)).map(Duration::from_secs_f64);
        Self {
            endpoint: variable("HF_ENDPOINT"),
            token: variable("HF_TOKEN").or_else(login),
            cache: variable("HF_HUB_CACHE").map(PathBuf::from).or_else(|| Some(home?.join("hub"))),
            offline: variable("HF_HUB_OFFLINE").is_some_and(is_on),
            patience,
        }
    }

    fn cache(&self) -> Result<PathBuf> {
        let default = || Some(default_home()?.join("hub"));
        let Some(folder) = self.cache.clone().or_else(default) else {
            return Err(Error::Source {
                source_name: "the Hub".into(),
                problem: "there is no home folder for the cache".into(),
                action: "point HF_HOME to a folder".into(),
            });
        };
        std::path::absolute(&folder).map_err(|e| Error::io(&folder, e))
    }

    fn client(&self) -> std::result::Result<Client, Failure> {
        let endpoint = self.endpoint.as_deref().unwrap_or(ENDPOINT);
        Client::new(endpoint, self.token.as_deref(), self.patience.unwrap_or(PATIENCE))
    }
}

fn default_home() -> Option<PathBuf> {
    Some(std::env::home_dir()?.join(".cache/huggingface"))
}

/// The token that a login left, if there was one.
fn read_token(path: &Path) -> Option<String> {
    let text = capped::read_text(path, LONGEST_TOKEN).ok()?;
    Some(text.trim().to_owned()).filter(|token| !token.is_empty())
}

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
/// [`Error::Source`] when there is no such model or revision, access is refused, the server isn't to be trusted, or
/// the network and the cache both fail.
pub fn fetch(id: &str, revision: Option<&str>, access: &HubAccess) -> Result<Snapshot> {
    let revision = revision.unwrap_or("main");
    let repository = Repository::new(&access.cache()?, id);
    let request = Request { id, revision, repository };
    if access.offline {
        return request.cached().ok_or_else(|| {
            request.error(
                "not in the local cache, and HF_HUB_OFFLINE is set",
                "unset it once to fetch the model, or give a folder",
            )
        });
    }
    match access.client().and_then(|client| request.download(&client)) {
        Ok(snapshot) => Ok(snapshot),
        Err(failure) => match request.cached().filter(|_| failure.is_passing()) {
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

struct Request<'a> {
    id: &'a str,
    revision: &'a str,
    repository: Repository,
}

impl Request<'_> {
    /// What the cache holds for the revision; a commit is its own name, others are noted under `refs`.
    fn cached(&self) -> Option<Snapshot> {
        let commit = if is_commit(self.revision) {
            self.revision.to_owned()
        } else {
            self.repository.noted(self.revision)?
        };
        let folder = self.repository.snapshot(&commit);
        folder.is_dir().then_some(Snapshot { folder, commit, notice: None })
    }

    fn download(&self, client: &Client) -> std::result::Result<Snapshot, Failure> {
        let described = client.describe(self.id, self.revision)?;
        let commit = described.sha;
        if !is_commit(&commit) {
            let problem = format!("names `{}` as a commit", text::name(&commit));
            return Err(Failure::Untrusted(problem));
        }
        let wanted = || described.siblings.iter().filter(|it| is_wanted(&it.rfilename));
        if wanted().count() > MOST_FILES {
            return Err(Failure::Untrusted(format!(
                "lists more than {MOST_FILES} files of weights"
            )));
        }
        let folder = self.repository.snapshot(&commit);
        for file in wanted() {
            if !folder.join(&file.rfilename).exists() {
                self.bring(client, file, &commit, &folder)?;
            }
        }
        self.repository.note(self.revision, &commit)?;
        Ok(Snapshot { folder, commit, notice: None })
    }

    fn bring(
        &self,
        client: &Client,
        file: &Sibling,
        commit: &str,
        folder: &Path,
    ) -> std::result::Result<(), Failure> {
        let name = file.rfilename.as_str();
        let size = file.lfs.as_ref().and_then(|it| it.size).or(file.size);
        let digest = file.lfs.as_ref().and_then(|it| it.sha256.as_deref());
        let most = if is_weights(name) { LARGEST_WEIGHTS } else { LARGEST_TEXT };
        if let Some(size) = size.filter(|size| *size > LARGE) {
            tracing::info!("{}: fetching {name}, {} MiB", self.id, size >> 20);
        }
        let mut partial = self.repository.partial(commit, name)?;
        if folder.join(name).exists() {
            // Another process brought it while this one waited.
            partial.discard();
            return Ok(());
        }
        if digest.is_none() || size.is_none_or(|size| partial.length() > size) {
            // Without a digest nothing shows whether what is there belongs to it.
            partial.restart()?;
        }
        match client.fetch((self.id, commit, name), size, most, &mut partial) {
            Ok(()) => {}
            Err(failure @ Failure::Unreachable(_)) => return Err(failure),
            Err(failure) => {
                partial.discard();
                return Err(failure);
            }
        }
        let got = partial.digest();
        if digest.is_some_and(|digest| !digest.eq_ignore_ascii_case(&got)) {
            partial.discard();
            return Err(Failure::Untrusted(format!(
                "sends a {name} that hasn't the digest it announces"
            )));
        }
        Ok(partial.finish(folder, name)?)
    }

    fn error(&self, problem: &str, action: &str) -> Error {
        Error::Source {
            source_name: format!("{}@{}", self.id, self.revision),
            problem: text::line(problem).into_owned(),
            action: action.to_owned(),
        }
    }

    fn explain(&self, failure: &Failure) -> Error {
        match failure {
            Failure::Status(401) => self.error(
                "no such model on the Hub, or it is private",
                "check the name, or set HF_TOKEN to a token that may read it",
            ),
            Failure::Status(403) => self.error(
                "access refused",
                "accept the model's terms on its page, and set HF_TOKEN to that account's token",
            ),
            Failure::Status(404) => self.error(
                "no such model or revision on the Hub",
                "check the name, and that the revision is a branch, tag or commit",
            ),
            Failure::Status(429) => {
                self.error("the Hub asks to wait", "try again later, or set HF_TOKEN")
            }
            Failure::Status(status) => self.error(
                &format!("the Hub answers with status {status}"),
                "try again later, check HF_ENDPOINT, or give a folder with the model's files",
            ),
            Failure::Cache(e) => self.error(
                &format!("the cache can't be written ({e})"),
                "make room, or point HF_HOME to a folder with space",
            ),
            Failure::Unreachable(problem) => self.error(
                &format!("the Hub can't be reached ({problem})"),
                "check the network and HF_ENDPOINT, or give a folder with the model's files",
            ),
            Failure::Untrusted(problem) => self.error(
                &format!("the Hub {problem}"),
                "check HF_ENDPOINT, or give a folder with the model's files",
            ),
        }
    }
}
