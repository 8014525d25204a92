//! Signatures: artifacts that refer to a policy's manifest, found through the registry's list of referrers or, where it
//! has none, through the tag that OCI 1.1 has for that.

use ureq::http::header;

use crate::error::{Attempt, Problem};
use crate::manifest::{self, Descriptor, EMPTY, INDEX, MINISIGN, Manifest};
use crate::reference::Digest;
use crate::session::Session;

/// Most signatures of one policy that are looked at.
const MOST: usize = 32;
/// Bytes of a signature; real ones have a few hundred.
pub const LARGEST: u64 = 16 << 10;
/// How a registry says that it lists what was pushed.
pub const SUBJECT: &str = "oci-subject";

impl Session<'_> {
    /// The texts of the signatures that refer to a manifest, in minisign's format. What refers to it and is no such
    /// signature is left out, and told.
    pub fn signatures(&self, of: &Digest) -> Attempt<Vec<String>> {
        let Some(index) = self.referrers(of)? else { return Ok(Vec::new()) };
        let signatures =
            index.manifests.iter().filter(|it| it.artifact_type.as_deref() == Some(MINISIGN));
        let mut texts = Vec::new();
        for descriptor in signatures.take(MOST) {
            match self.signature(descriptor, of) {
                Ok(text) => texts.push(text),
                Err(problem) if problem.passing => return Err(problem),
                Err(problem) => tracing::warn!(
                    "{}: a signature is left out: {}",
                    self.reference,
                    problem.problem
                ),
            }
        }
        Ok(texts)
    }

    fn signature(&self, descriptor: &Descriptor, of: &Digest) -> Attempt<String> {
        let found = self.manifest(&descriptor.digest()?.to_string())?;
        let (_, bytes) = found.ok_or_else(|| Problem::lie("lists a signature and hasn't it"))?;
        let manifest = Manifest::read(&bytes)?;
        let subject = manifest.subject.as_ref().map(Descriptor::digest).transpose()?;
        if subject.as_ref() != Some(of) {
            return Err(Problem::lie("lists a signature of another policy"));
        }
        let (layer, digest) = manifest.layer(EMPTY, MINISIGN, LARGEST)?;
        let bytes = self.blob(&digest, layer.size, "a signature")?;
        String::from_utf8(bytes).map_err(|_| Problem::lie("has a signature that is no text"))
    }

    /// What refers to a manifest, as the registry lists it.
    fn referrers(&self, of: &Digest) -> Attempt<Option<manifest::Index>> {
        let path = format!("referrers/{of}?artifactType={MINISIGN}");
        let mut response = self.get(&path, false, &[(header::ACCEPT, INDEX)])?;
        if response.status().is_success() {
            let bytes = self.body(&mut response, "a list of referrers", manifest::LARGEST)?;
            return read(&bytes).map(Some);
        }
        // Registries from before OCI 1.1.
        match self.manifest(&fallback(of))? {
            Some((_, bytes)) => read(&bytes).map(Some),
            None => Ok(None),
        }
    }

    /// Adds an artifact to the list that a registry without one of its own keeps under a tag.
    pub fn list(&self, of: &Digest, added: Descriptor) -> Attempt<()> {
        let tag = fallback(of);
        let mut index = match self.manifest(&tag)? {
            Some((_, bytes)) => read(&bytes)?,
            None => manifest::Index {
                schema_version: 2,
                media_type: Some(INDEX.to_owned()),
                manifests: Vec::new(),
                annotations: Default::default(),
            },
        };
        if index.manifests.iter().any(|it| it.digest == added.digest) {
            return Ok(());
        }
        index.manifests.push(added);
        let bytes = serde_json::to_vec(&index)
            .map_err(|error| Problem::new(error.to_string(), "report this"))?;
        self.put_manifest(&tag, INDEX, &bytes).map(|_| ())
    }
}

fn read(bytes: &[u8]) -> Attempt<manifest::Index> {
    let odd = |error| Problem::lie(format!("lists referrers in no known form ({error})"));
    serde_json::from_slice(bytes).map_err(odd)
}

/// The tag under which a registry without a list of referrers has one.
fn fallback(of: &Digest) -> String {
    format!("sha256-{}", of.hex())
}
