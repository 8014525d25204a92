//! Policies of registries as the commands use them: pinned, pulled and pushed, through a cache.

mod signatures;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use host_sandbox::{Attachment, Error as SandboxError};

use crate::cache::{Cache, Pin};
use crate::credentials;
use crate::error::{Attempt, Error, Problem, Result};
use crate::manifest::{COMPONENT, CONFIG, Manifest};
use crate::pull::Component;
use crate::push::{Artifact, Pushed};
use crate::reference::{Digest, Reference};
use crate::referrers::Listed;
use crate::session::{Access, Purpose, Session};

/// Longest wait for a connection, for an answer, and for more of it.
const PATIENCE: Duration = Duration::from_secs(30);
const DAY: u64 = 86_400;

/// The way to registries, and what was pulled from them.
#[derive(Debug, Clone)]
pub struct Registry {
    access: Access,
    folder: Option<PathBuf>,
    /// Opened when the first policy is looked for: most commands name none of a registry.
    opened: OnceLock<Option<Cache>>,
    offline: bool,
}

/// A reference of exactly one policy, which is in the cache if there is one.
#[derive(Debug, Clone)]
pub struct Pinned {
    /// With the digest of the manifest.
    pub reference: Reference,
    /// What whoever named it should know, a line each.
    pub notes: Vec<String>,
}

/// A policy, pulled.
#[derive(Debug, Clone)]
pub struct Pulled {
    /// With the digest of the manifest.
    pub reference: Reference,
    /// The component.
    pub bytes: Vec<u8>,
    /// Texts of its signatures in minisign's format; none of them is verified.
    pub signatures: Vec<String>,
    /// What may be signatures of cosign.
    pub cosign: Vec<Attachment>,
    /// What whoever named it should know, a line each.
    pub notes: Vec<String>,
}

impl Registry {
    /// With the logins of docker and podman. A folder that can't be used costs the cache, and is told.
    pub fn new(cache: Option<&Path>, offline: bool) -> Self {
        let access =
            Access { places: credentials::places(), patience: PATIENCE, shown: Arc::default() };
        Self { access, folder: cache.map(Path::to_owned), opened: OnceLock::new(), offline }
    }

    fn cache(&self) -> Option<&Cache> {
        let open = || {
            Cache::open(self.folder.as_deref()?)
                .inspect_err(|error| tracing::warn!("{error}; what registries send is not kept"))
                .ok()
        };
        self.opened.get_or_init(open).as_ref()
    }

    /// With other files of logins.
    #[must_use]
    pub fn with_logins(mut self, places: Vec<PathBuf>) -> Self {
        self.access.places = places;
        self.access.shown = Arc::default();
        self
    }

    /// With another longest wait.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.access.patience = patience;
        self
    }

    /// Finds out which policy a reference is of, of at most `most` bytes, and has it in the cache. A tag is looked up in
    /// the registry; a digest that is in the cache needs none.
    ///
    /// # Errors
    /// One line: a registry that is down, refuses or lies; no such policy; and offline, what was never pulled.
    pub fn pin(&self, reference: &Reference, most: u64) -> Result<Pinned> {
        let mut found = self.find(reference, most).map_err(|problem| problem.of(reference))?;
        if found.fetched {
            found.notes.extend(self.moved(reference));
        }
        Ok(Pinned { reference: found.reference, notes: found.notes })
    }

    /// A policy as a person named it: one of a registry by its digest, with what they should know of it, and any other as
    /// it is.
    ///
    /// # Errors
    /// As [`Registry::pin`], and a name that can't be read.
    pub fn pin_path(&self, path: &Path, most: u64) -> Result<(PathBuf, Vec<String>), SandboxError> {
        let Some(reference) = Reference::named(path) else {
            return Ok((path.to_owned(), Vec::new()));
        };
        let reference = reference.map_err(|problem| Error::named(path, &problem))?;
        let Pinned { reference, notes } = self.pin(&reference, most)?;
        Ok((reference.to_string().into(), notes))
    }

    /// The same, with its bytes and its signatures as the registry has them now; offline, as it had them last.
    ///
    /// # Errors
    /// As [`Registry::pin`].
    pub fn pull(&self, reference: &Reference, most: u64) -> Result<Pulled> {
        let pulled = || -> Attempt<Pulled> {
            let mut found = self.find(reference, most)?;
            let signatures = match self.signatures_of(&found.reference, true) {
                Ok(signatures) => {
                    found.notes.extend(self.moved(reference));
                    signatures
                }
                Err(problem) if problem.passing && !found.fetched => {
                    let known = self.known_signatures(&found.reference);
                    let why = &problem.problem;
                    found
                        .notes
                        .push(format!("{why}; policy and signatures are those pulled before"));
                    known.unwrap_or_default()
                }
                Err(problem) => return Err(problem),
            };
            let Found { reference, bytes, notes, .. } = found;
            let Listed { minisign: signatures, cosign } = signatures;
            Ok(Pulled { reference, bytes, signatures, cosign, notes })
        };
        pulled().map_err(|problem| problem.of(reference))
    }

    /// Sends an artifact under the tag of a reference.
    ///
    /// # Errors
    /// A reference without a tag or with a digest, and one line on a registry that doesn't take it.
    pub fn push(&self, reference: &Reference, artifact: &Artifact) -> Result<Pushed> {
        let pushed = || -> Attempt<Pushed> {
            let tag = match (&reference.tag, &reference.digest) {
                (Some(tag), None) => tag,
                (_, Some(_)) => {
                    return Err(Problem::new(
                        "a push makes the digest, so it can't be named",
                        "leave @sha256:… out",
                    ));
                }
                (None, None) => {
                    return Err(Problem::new("names no tag", "add one, such as :1.0.0"));
                }
            };
            if self.offline {
                return Err(Problem::new("a push needs the network", "leave --offline out"));
            }
            let session = Session::new(reference, Purpose::Push, &self.access)?;
            let digest = session.push(artifact, tag)?;
            Ok(Pushed {
                reference: reference.pinned(digest.clone()).to_string(),
                digest: digest.to_string(),
                sha256: Digest::of(&artifact.component).hex().to_owned(),
                signatures: artifact.signatures.len(),
            })
        };
        pushed().map_err(|problem| problem.of(reference))
    }

    fn find(&self, reference: &Reference, most: u64) -> Attempt<Found> {
        match (&reference.digest, &reference.tag) {
            (Some(digest), _) => self.find_digest(reference, digest, most),
            (None, Some(tag)) if self.offline => self.find_noted(reference, tag, most),
            (None, Some(tag)) => self.find_tag(reference, tag, most),
            (None, None) => {
                Err(Problem::new("names neither a tag nor a digest", "add :TAG or @sha256:DIGEST"))
            }
        }
    }

    fn find_digest(&self, reference: &Reference, digest: &Digest, most: u64) -> Attempt<Found> {
        if let Some(bytes) = self.kept(digest, most)? {
            let reference = reference.clone();
            return Ok(Found { reference, bytes, notes: Vec::new(), fetched: false });
        }
        if self.offline {
            return Err(Problem::new(
                "it was never pulled here, and --offline asks no registry",
                format!("pull it once: host policy pull {reference}"),
            ));
        }
        let session = Session::new(reference, Purpose::Pull, &self.access)?;
        let component = session.component(digest, most)?;
        let (reference, bytes) = (reference.clone(), self.keep(component));
        Ok(Found { reference, bytes, notes: Vec::new(), fetched: true })
    }

    fn find_tag(&self, reference: &Reference, tag: &str, most: u64) -> Attempt<Found> {
        let noted = self.cache().and_then(|cache| cache.pin(reference));
        let asked = || -> Attempt<(Digest, Vec<u8>)> {
            let session = Session::new(reference, Purpose::Pull, &self.access)?;
            let (digest, manifest) = session.digest(tag)?;
            if let Some(bytes) = self.kept(&digest, most)? {
                return Ok((digest, bytes));
            }
            Ok((digest.clone(), self.keep(session.component_of(digest, manifest, most)?)))
        };
        let (digest, bytes) = asked().map_err(|problem| match &noted {
            Some((was, pin)) if problem.passing => Problem {
                action: format!("--offline uses what it was {}: {was}", when(pin)),
                ..problem
            },
            _ => problem,
        })?;
        let mut notes = vec![format!("{reference} is {digest} now, and is used by that digest")];
        if let Some((was, pin)) = noted.filter(|(was, _)| *was != digest) {
            notes[0] = format!(
                "{reference} has moved: {digest} now, {was} {}; the one of now is used, the one of \
                 then is {}",
                when(&pin),
                reference.pinned(was.clone())
            );
        }
        if let Some(cache) = self.cache()
            && let Err(error) = cache.note(reference, &digest)
        {
            tracing::warn!("{error}; what {reference} is now is not noted");
        }
        Ok(Found { reference: reference.pinned(digest), bytes, notes, fetched: true })
    }

    fn find_noted(&self, reference: &Reference, tag: &str, most: u64) -> Attempt<Found> {
        let noted = self.cache().and_then(|cache| cache.pin(reference));
        let Some((digest, pin)) = noted else {
            return Err(Problem::new(
                format!("nothing is known of the tag {tag}, and --offline asks no registry"),
                format!("pull it once: host policy pull {reference}"),
            ));
        };
        let pinned = reference.pinned(digest.clone());
        let mut found = self.find_digest(&pinned, &digest, most)?;
        let asked = when(&pin);
        found.notes.push(format!("offline: {reference} is taken as it was {asked}, {digest}"));
        Ok(found)
    }

    /// A line if the tag of a reference isn't, any more, the digest that it has besides. Nothing is said if the registry
    /// can't be asked.
    fn moved(&self, pinned: &Reference) -> Option<String> {
        let (tag, was) = pinned.tag.as_ref().zip(pinned.digest.as_ref())?;
        if self.offline {
            return None;
        }
        let session = Session::new(pinned, Purpose::Pull, &self.access).ok()?;
        let line = match session.manifest(tag).ok()? {
            Some((now, _)) if now == *was => return None,
            Some((now, _)) => format!("the tag {tag} has moved to {now}"),
            None => format!("the tag {tag} is gone"),
        };
        Some(format!("{}: {line}; the pinned {was} is used", pinned.place()))
    }

    /// A policy from the cache.
    fn kept(&self, digest: &Digest, most: u64) -> Attempt<Option<Vec<u8>>> {
        let Some(cache) = self.cache() else { return Ok(None) };
        let Some(manifest) = cache.manifest(digest) else { return Ok(None) };
        let manifest = Manifest::read(&manifest)?;
        let (_, layer) = manifest.layer(CONFIG, COMPONENT, most)?;
        Ok(cache.blob(&layer, most))
    }

    /// Puts a policy into the cache: its bytes first, so that a manifest there is complete.
    fn keep(&self, component: Component) -> Vec<u8> {
        let Component { digest, manifest, layer, bytes } = component;
        if let Some(cache) = self.cache() {
            let kept = cache.keep(&layer, &bytes).and_then(|()| cache.keep(&digest, &manifest));
            if let Err(error) = kept {
                tracing::warn!("{error}; the policy {} is not kept", digest.short());
            }
        }
        bytes
    }
}

struct Found {
    /// With its digest.
    reference: Reference,
    bytes: Vec<u8>,
    notes: Vec<String>,
    /// Whether its registry was reached.
    fetched: bool,
}

/// How long ago a tag was looked up.
fn when(pin: &Pin) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    match now.saturating_sub(pin.asked) / DAY {
        0 => "within the last day".to_owned(),
        1 => "a day ago".to_owned(),
        days => format!("{days} days ago"),
    }
}
