//! One question to the Hub: what comes of it, and what is said if nothing does.

use host_files::text;

use super::access::HubAccess;
use super::cache::{Repository, is_commit};
use super::client::{Client, Description, Sibling, Sink as _};
use super::kind::Kind;
use crate::error::{Error, Result};
use host_web::Failure;

/// What takes longer than a moment is told.
const LARGE: u64 = 32 << 20;

/// What is asked for, and where in the cache it goes.
pub struct Request<'a> {
    pub kind: Kind,
    pub id: &'a str,
    pub revision: &'a str,
    pub repository: Repository,
}

impl<'a> Request<'a> {
    pub fn new(kind: Kind, id: &'a str, revision: &'a str, access: &HubAccess) -> Result<Self> {
        let repository = Repository::new(&access.cache()?, kind, id);
        Ok(Self { kind, id, revision, repository })
    }

    /// The commit that the revision had last; a commit is its own name, others are noted under `refs`.
    pub fn commit(&self) -> Option<String> {
        let revision = self.revision;
        if is_commit(revision) {
            Some(revision.to_owned())
        } else {
            self.repository.noted(revision)
        }
    }

    /// The commit that the revision has now, with its files.
    pub fn describe(&self, client: &Client) -> std::result::Result<Description, Failure> {
        let described = client.describe(self.kind, self.id, self.revision)?;
        if is_commit(&described.sha) {
            return Ok(described);
        }
        let problem = format!("names `{}` as a commit", text::name(&described.sha));
        Err(Failure::Untrusted(problem))
    }

    /// Puts a file of at most `most` bytes into the cache.
    pub fn bring(
        &self,
        client: &Client,
        file: &Sibling,
        most: u64,
        commit: &str,
    ) -> std::result::Result<(), Failure> {
        let folder = &self.repository.snapshot(commit);
        let name = file.rfilename.as_str();
        let size = file.lfs.as_ref().and_then(|it| it.size).or(file.size);
        let digest = file.lfs.as_ref().and_then(|it| it.sha256.as_deref());
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
        match client.fetch(self.kind, (self.id, commit, name), size, most, &mut partial) {
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

    pub fn error(&self, problem: &str, action: &str) -> Error {
        Error::Source {
            source_name: format!("{}@{}", self.id, self.revision),
            problem: text::line(problem).into_owned(),
            action: action.to_owned(),
        }
    }

    pub fn explain(&self, failure: &Failure) -> Error {
        let (noun, instead) = (self.kind.noun(), self.kind.instead());
        match failure {
            Failure::Status(401) => self.error(
                &format!("no such {noun} on the Hub, or it is private"),
                "check the name, or set HF_TOKEN to a token that may read it",
            ),
            Failure::Status(403) => self.error(
                "access refused",
                &format!(
                    "accept the {noun}'s terms on its page, and set HF_TOKEN to that account's token"
                ),
            ),
            Failure::Status(404) => self.error(
                &format!("no such {noun} or revision on the Hub"),
                "check the name, and that the revision is a branch, tag or commit",
            ),
            Failure::Status(429) => {
                self.error("the Hub asks to wait", "try again later, or set HF_TOKEN")
            }
            Failure::Status(status) => self.error(
                &format!("the Hub answers with status {status}"),
                &format!("try again later, check HF_ENDPOINT, or give {instead}"),
            ),
            Failure::Cache(e) => self.error(
                &format!("the cache can't be written ({e})"),
                "make room, or point HF_HOME to a folder with space",
            ),
            Failure::Unreachable(problem) => self.error(
                &format!("the Hub can't be reached ({problem})"),
                &format!("check the network and HF_ENDPOINT, or give {instead}"),
            ),
            Failure::Untrusted(problem) => self.error(
                &format!("the Hub {problem}"),
                &format!("check HF_ENDPOINT, or give {instead}"),
            ),
        }
    }
}
