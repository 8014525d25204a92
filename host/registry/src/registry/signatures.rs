//! What is asked of registries by whoever loads a policy: its bytes, and the signatures that it has.

use std::path::Path;

use host_sandbox::{FileProblem, Signatures};

use super::Registry;
use crate::error::{Attempt, Error, Problem};
use crate::reference::{Digest, Reference};
use crate::referrers::Listed;
use crate::session::{Purpose, Session};

impl Registry {
    /// The signatures of a pinned policy. `again` asks the registry even if some are known.
    pub(super) fn signatures_of(&self, pinned: &Reference, again: bool) -> Attempt<Listed> {
        let Some(digest) = &pinned.digest else { return Ok(Listed::default()) };
        let known = self.known_signatures(pinned);
        let is_known = known.as_ref().is_some_and(|listed| !listed.is_empty());
        if self.offline || (is_known && !again) {
            return Ok(known.unwrap_or_default());
        }
        let session = Session::new(pinned, Purpose::Pull, &self.access)?;
        let listed = session.signatures(digest)?;
        if let Some(cache) = self.cache()
            && let Err(error) = cache.keep_signatures(digest, &listed)
        {
            tracing::warn!("{error}; the signatures of {pinned} are not kept");
        }
        Ok(listed)
    }

    /// The signatures of a pinned policy that are in the cache; none if they were never asked for.
    pub(super) fn known_signatures(&self, pinned: &Reference) -> Option<Listed> {
        self.cache()?.signatures(pinned.digest.as_ref()?)
    }

    /// The manifest of a pinned policy, which signatures of cosign are of; empty if it was never pulled, and offline.
    fn manifest_of(&self, pinned: &Reference) -> Attempt<Vec<u8>> {
        let Some(digest) = &pinned.digest else { return Ok(Vec::new()) };
        if let Some(kept) = self.cache().and_then(|cache| cache.manifest(digest)) {
            return Ok(kept);
        }
        if self.offline {
            return Ok(Vec::new());
        }
        let session = Session::new(pinned, Purpose::Pull, &self.access)?;
        Ok(session.manifest(&digest.to_string())?.map(|(_, bytes)| bytes).unwrap_or_default())
    }

    /// The reference with the digest that its tag has, offline that which it had last.
    fn named(&self, reference: &Reference) -> Attempt<Reference> {
        let Some(tag) = reference.tag.as_ref().filter(|_| reference.digest.is_none()) else {
            return Ok(reference.clone());
        };
        if self.offline {
            let noted = self.cache().and_then(|cache| cache.pin(reference));
            return Ok(noted.map_or(reference.clone(), |(digest, _)| reference.pinned(digest)));
        }
        let session = Session::new(reference, Purpose::Pull, &self.access)?;
        let (digest, _): (Digest, _) = session.digest(tag)?;
        Ok(reference.pinned(digest))
    }
}

impl host_sandbox::Registry for Registry {
    fn open(&self, named: &Path, most: u64) -> Option<Result<Vec<u8>, FileProblem>> {
        let found = Reference::named(named)?;
        Some(found.map_err(|why| Error::named(named, &why).into()).and_then(|reference| {
            let found = self.find(&reference, most).map_err(problem)?;
            found.notes.iter().for_each(|note| tracing::warn!("{note}"));
            Ok(found.bytes)
        }))
    }

    fn signatures(&self, named: &Path, again: bool) -> Option<Result<Signatures, FileProblem>> {
        let found = Reference::named(named)?;
        Some(found.map_err(|why| Error::named(named, &why).into()).and_then(|reference| {
            let attached = || -> Attempt<Signatures> {
                let pinned = self.named(&reference)?;
                let Listed { minisign, cosign } = self.signatures_of(&pinned, again)?;
                // Nothing else is of the manifest.
                let manifest =
                    if cosign.is_empty() { Vec::new() } else { self.manifest_of(&pinned)? };
                Ok(Signatures { manifest, minisign, cosign })
            };
            attached().map_err(problem)
        }))
    }
}

fn problem(problem: Problem) -> FileProblem {
    FileProblem::new(host_files::text::line(&problem.problem), problem.action)
}
