//! Signatures: artifacts that refer to a policy's manifest, found through the registry's list of referrers or, where it
//! has none, through the tag that OCI 1.1 has for that; and those that cosign keeps under a tag of its own.

use host_files::text::name;
use host_sandbox::{Attachment, COSIGN_BUNDLE, COSIGN_SIGNED};
use serde::{Deserialize, Serialize};
use ureq::http::header;

use crate::error::{Attempt, Problem};
use crate::manifest::{self, Descriptor, EMPTY, INDEX, MINISIGN, Manifest};
use crate::reference::Digest;
use crate::session::Session;

/// Most signatures of each kind that are looked at.
const MOST: usize = 32;
/// Bytes of a signature; real ones have a few hundred.
pub const LARGEST: u64 = 16 << 10;
/// Bytes of a bundle; those with an entry of a log have a few thousand.
const LARGEST_BUNDLE: u64 = 64 << 10;
/// Characters of a signature in an annotation: an RSA key of 8192 bits has 1368.
const LONGEST_ANNOTATION: usize = 2048;
/// How a registry says that it lists what was pushed.
pub const SUBJECT: &str = "oci-subject";

/// Of an artifact with payloads of cosign's simple signing.
const SIMPLE_ARTIFACT: &str = "application/vnd.dev.cosign.artifact.sig.v1+json";
/// Of such a payload.
const SIMPLE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// Where the signature of a payload stands.
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
/// There if it is keyless.
const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";
/// Where an artifact says what its bundle is.
const PREDICATE: &str = "dev.sigstore.bundle.predicateType";

/// What refers to a manifest and may be a signature of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listed {
    /// Texts in minisign's format.
    pub minisign: Vec<String>,
    pub cosign: Vec<Attachment>,
}

impl Listed {
    pub fn is_empty(&self) -> bool {
        self.minisign.is_empty() && self.cosign.is_empty()
    }
}

impl Session<'_> {
    /// The signatures that refer to a manifest. What is none is left out, and told.
    pub fn signatures(&self, of: &Digest) -> Attempt<Listed> {
        let referrers = self.referrers(of)?.map(|index| index.manifests).unwrap_or_default();
        let of_kind = |kind: &'static str| {
            let all = referrers.iter().filter(move |it| it.artifact_type.as_deref() == Some(kind));
            if all.clone().count() > MOST {
                tracing::warn!(
                    "{}: of more than {MOST} artifacts of type {kind} the first {MOST} are looked at",
                    self.reference
                );
            }
            all.take(MOST)
        };
        let mut listed = Listed::default();
        for descriptor in of_kind(MINISIGN) {
            listed.minisign.extend(self.or_told(self.text(descriptor, of))?);
        }
        for descriptor in of_kind(COSIGN_BUNDLE) {
            listed.cosign.extend(self.or_told(self.bundle(descriptor, of))?.flatten());
        }
        for descriptor in of_kind(SIMPLE_ARTIFACT) {
            let found = self.referring(descriptor, of).and_then(|manifest| self.simple(&manifest));
            listed.cosign.extend(self.or_told(found)?.into_iter().flatten());
        }
        // A registry that has such a tag and doesn't show it costs those signatures alone.
        let under_tag = self.manifest(&format!("{}.sig", fallback(of)));
        if let Some((_, bytes)) = self.or_told(under_tag)?.flatten() {
            let found = Manifest::read(&bytes).and_then(|manifest| self.simple(&manifest));
            listed.cosign.extend(self.or_told(found)?.into_iter().flatten());
        }
        listed.cosign.truncate(2 * MOST);
        Ok(listed)
    }

    /// A signature, or none and a warning; an error that may pass is one.
    fn or_told<T>(&self, found: Attempt<T>) -> Attempt<Option<T>> {
        match found {
            Ok(found) => Ok(Some(found)),
            Err(problem) if problem.passing => Err(problem),
            Err(problem) => {
                let why = problem.problem;
                tracing::warn!("{}: a signature is left out: {why}", self.reference);
                Ok(None)
            }
        }
    }

    /// An artifact that refers to a manifest.
    fn referring(&self, descriptor: &Descriptor, of: &Digest) -> Attempt<Manifest> {
        let found = self.manifest(&descriptor.digest()?.to_string())?;
        let (_, bytes) = found.ok_or_else(|| Problem::lie("lists a signature and hasn't it"))?;
        let manifest = Manifest::read(&bytes)?;
        let subject = manifest.subject.as_ref().map(Descriptor::digest).transpose()?;
        if subject.as_ref() != Some(of) {
            return Err(Problem::lie("lists a signature of another policy"));
        }
        Ok(manifest)
    }

    /// A signature in minisign's format.
    fn text(&self, descriptor: &Descriptor, of: &Digest) -> Attempt<String> {
        let manifest = self.referring(descriptor, of)?;
        let (layer, _) = manifest.layer(EMPTY, MINISIGN, LARGEST)?;
        self.content(layer, LARGEST)
    }

    /// A bundle, unless it says that it is an attestation.
    fn bundle(&self, descriptor: &Descriptor, of: &Digest) -> Attempt<Option<Attachment>> {
        let manifest = self.referring(descriptor, of)?;
        if manifest.annotations.get(PREDICATE).is_some_and(|kind| kind != COSIGN_SIGNED) {
            return Ok(None);
        }
        match manifest.layers.as_slice() {
            [layer] if layer.media_type == COSIGN_BUNDLE => {
                Ok(Some(Attachment::Bundle(self.content(layer, LARGEST_BUNDLE)?)))
            }
            layers => {
                let count = layers.len();
                Err(Problem::lie(format!("has a bundle of {count} layers, or of another type")))
            }
        }
    }

    /// The payloads of cosign's simple signing in an artifact.
    fn simple(&self, manifest: &Manifest) -> Attempt<Vec<Attachment>> {
        let mut found = Vec::new();
        if manifest.layers.len() > MOST {
            let count = manifest.layers.len();
            tracing::warn!("{}: of {count} signatures {MOST} are looked at", self.reference);
        }
        for layer in manifest.layers.iter().take(MOST) {
            found.extend(self.or_told(self.payload(layer))?);
        }
        Ok(found)
    }

    fn payload(&self, layer: &Descriptor) -> Attempt<Attachment> {
        if layer.media_type != SIMPLE {
            let kind = name(&layer.media_type);
            return Err(Problem::lie(format!("has something of type {kind} among signatures")));
        }
        let signature = layer.annotations.get(SIGNATURE);
        let signature =
            signature.ok_or_else(|| Problem::lie("has a payload of cosign without signature"))?;
        if signature.len() > LONGEST_ANNOTATION {
            let length = signature.len();
            return Err(Problem::lie(format!("has a signature of {length} characters")));
        }
        Ok(Attachment::Simple {
            payload: self.content(layer, LARGEST)?,
            signature: signature.clone(),
            keyless: layer.annotations.contains_key(CERTIFICATE),
        })
    }

    /// The text of a layer.
    fn content(&self, layer: &Descriptor, most: u64) -> Attempt<String> {
        if layer.size > most {
            let size = layer.size;
            return Err(Problem::lie(format!(
                "has a signature of {size} bytes; {most} are allowed"
            )));
        }
        let bytes = self.blob(&layer.digest()?, layer.size, "a signature")?;
        String::from_utf8(bytes).map_err(|_| Problem::lie("has a signature that is no text"))
    }

    /// What refers to a manifest, as the registry lists it.
    fn referrers(&self, of: &Digest) -> Attempt<Option<manifest::Index>> {
        let mut response =
            self.get(&format!("referrers/{of}"), false, &[(header::ACCEPT, INDEX)])?;
        if response.status().is_success() {
            if response.headers().contains_key(header::LINK) {
                tracing::warn!(
                    "{}: the list of signatures has several pages, and the first is read",
                    self.reference
                );
            }
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
