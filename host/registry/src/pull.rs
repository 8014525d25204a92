//! Manifests and what they name, as a registry sends them: checked before anybody looks at them.

use ureq::http::header;

use crate::error::{Attempt, Problem};
use crate::manifest::{self, COMPONENT, CONFIG, FOREIGN, INDEX, MANIFEST, Manifest};
use crate::reference::Digest;
use crate::session::{Session, checked};

/// What a registry says the digest of its answer is.
pub const CONTENT_DIGEST: &str = "docker-content-digest";

/// A policy, as a registry has it.
pub struct Component {
    /// Of the manifest.
    pub digest: Digest,
    pub manifest: Vec<u8>,
    /// Of the bytes.
    pub layer: Digest,
    pub bytes: Vec<u8>,
}

impl Session<'_> {
    /// The manifest that a tag or a digest names, and its digest; none if there is none.
    pub fn manifest(&self, named: &str) -> Attempt<Option<(Digest, Vec<u8>)>> {
        let accepted = [MANIFEST, INDEX, FOREIGN[0], FOREIGN[1]].join(", ");
        let path = format!("manifests/{named}");
        let mut response = self.get(&path, false, &[(header::ACCEPT, &accepted)])?;
        if response.status() == 404 {
            return Ok(None);
        }
        if !response.status().is_success() {
            return Err(self.refusal(&mut response));
        }
        let said = response.headers().get(CONTENT_DIGEST).cloned();
        let bytes = self.body(&mut response, "a manifest", manifest::LARGEST)?;
        let digest = match named.parse::<Digest>() {
            Ok(digest) => {
                let bytes = checked(bytes, &digest, "the manifest")?;
                return Ok(Some((digest, bytes)));
            }
            Err(()) => Digest::of(&bytes),
        };
        let said = said.as_ref().and_then(|said| said.to_str().ok()?.parse::<Digest>().ok());
        match said {
            Some(said) if said != digest => Err(Problem::lie(format!(
                "sends other bytes of the manifest than it says: {digest} for {said}"
            ))),
            _ => Ok(Some((digest, bytes))),
        }
    }

    /// The digest that the reference has, or that its tag has now.
    pub fn digest(&self, tag: &str) -> Attempt<(Digest, Vec<u8>)> {
        self.manifest(tag)?.ok_or_else(absent)
    }

    /// The policy that a digest names, of at most `most` bytes.
    pub fn component(&self, digest: &Digest, most: u64) -> Attempt<Component> {
        let found = self.manifest(&digest.to_string())?;
        let (digest, manifest) = found.ok_or_else(absent)?;
        self.component_of(digest, manifest, most)
    }

    /// The policy of a manifest.
    pub fn component_of(&self, digest: Digest, manifest: Vec<u8>, most: u64) -> Attempt<Component> {
        let read = Manifest::read(&manifest)?;
        let (layer, named) = read.layer(CONFIG, COMPONENT, most)?;
        let bytes = self.blob(&named, layer.size, "the policy")?;
        Ok(Component { digest, manifest, layer: named, bytes })
    }
}

fn absent() -> Problem {
    Problem::new("there is no such policy in the registry", "check repository, tag and digest")
}
