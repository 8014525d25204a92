//! Signatures of cosign, by a key: of the manifest of an artifact in a registry, and so of the one component that this
//! names.
//!
//! | format | what is signed |
//! |---|---|
//! | simple signing, of `cosign sign` before 3.0 | the bytes of a payload that names the manifest's digest |
//! | Sigstore's bundle 0.3, of `cosign sign` since | a DSSE envelope (v1) around an in-toto statement whose subject is the manifest |
//!
//! Nothing is read before its signature holds but what is needed to check that. Signatures by certificates (Fulcio), the
//! log (Rekor) and timestamps are not looked at.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ECDSA_P256_SHA256_ASN1, ED25519, UnparsedPublicKey, VerificationAlgorithm};
use serde::{Deserialize, Serialize};

use host_files::sha256::hex as digest;
use host_files::text::clean;

/// Media type, and type of the artifact, of a bundle.
pub const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// Kind of payload that is a signature of an artifact.
const SIMPLE: &str = "cosign container image signature";
/// What a DSSE envelope holds.
const STATEMENT: &str = "application/vnd.in-toto+json";
/// Versions of that.
const STATEMENTS: [&str; 2] =
    ["https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1"];
/// What such a statement says: the artifact is signed. Others are attestations, as of flaws that were found in it.
pub const SIGNED: &str = "https://sigstore.dev/cosign/sign/v1";
/// Signatures of one envelope that are looked at.
const MOST: usize = 8;

/// How the SubjectPublicKeyInfo of a key begins (RFC 5480, RFC 8410), and what has the rest: a point, not compressed, and
/// 32 bytes.
const KINDS: [(&[u8], usize, &dyn VerificationAlgorithm); 2] = [
    (
        b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00",
        65,
        &ECDSA_P256_SHA256_ASN1,
    ),
    (b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00", 32, &ED25519),
];

/// What a registry has beside an artifact, and what may be a signature of cosign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Attachment {
    /// In the format of simple signing.
    Simple {
        /// As it was signed.
        payload: String,
        /// In base64.
        signature: String,
        /// Whether a certificate is there in place of a key.
        keyless: bool,
    },
    /// The text of a bundle.
    Bundle(String),
}

/// A public key as `cosign generate-key-pair` writes it: ECDSA on P-256, or Ed25519.
#[derive(Debug, Clone)]
pub struct CosignKey {
    key: UnparsedPublicKey<Vec<u8>>,
    id: String,
}

/// Why something is no signature that counts.
struct Refusal {
    /// Whether it is by the key: then it says more than those by others.
    ours: bool,
    why: String,
}

#[derive(Deserialize)]
struct Payload {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    image: Image,
    r#type: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Image {
    docker_manifest_digest: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    media_type: String,
    verification_material: Option<Material>,
    dsse_envelope: Option<Envelope>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Material {
    certificate: Option<serde::de::IgnoredAny>,
    x509_certificate_chain: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<Signature>,
}

#[derive(Deserialize)]
struct Signature {
    sig: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    #[serde(rename = "_type")]
    version: String,
    subject: Vec<Subject>,
    predicate_type: String,
}

#[derive(Deserialize)]
struct Subject {
    digest: Digests,
}

#[derive(Deserialize)]
struct Digests {
    sha256: Option<String>,
}

impl CosignKey {
    /// Reads the text of a public key in PEM; none if it is no PEM at all.
    ///
    /// # Errors
    /// What else it is; in words that continue "the key ...".
    pub fn parse(text: &str) -> Option<Result<Self, String>> {
        let rest = text.trim().strip_prefix("-----BEGIN ")?;
        let (label, rest) = rest.split_once("-----")?;
        Some(Self::labelled(label, rest))
    }

    fn labelled(label: &str, rest: &str) -> Result<Self, String> {
        match label {
            "PUBLIC KEY" => {}
            secret if secret.ends_with("PRIVATE KEY") => {
                return Err("is a secret one; name its public half, such as cosign.pub".into());
            }
            "CERTIFICATE" => {
                return Err("is a certificate, as keyless signatures have; those aren't checked, \
                            so sign with a key (cosign sign --key)"
                    .into());
            }
            other => {
                let other = clean(other, 40);
                return Err(format!("is of a kind that isn't read, {other}; name cosign.pub"));
            }
        }
        let odd = || "is damaged; name cosign.pub as cosign wrote it".to_owned();
        let (body, after) = rest.split_once("-----END PUBLIC KEY-----").ok_or_else(odd)?;
        let body: String = body.split_ascii_whitespace().collect();
        let info = STANDARD.decode(body).ok().filter(|_| after.trim().is_empty());
        let info = info.ok_or_else(odd)?;
        let mut kinds = KINDS.into_iter();
        let found = kinds.find_map(|(begins, length, algorithm)| {
            let point = info.strip_prefix(begins).filter(|point| point.len() == length)?;
            Some((point, algorithm))
        });
        let Some((point, algorithm)) = found else {
            return Err("is neither ECDSA on P-256 nor Ed25519; make one with cosign \
                        generate-key-pair"
                .into());
        };
        let key = UnparsedPublicKey::new(algorithm, point.to_vec());
        Ok(Self { key, id: digest(&info)[..16].to_ascii_uppercase() })
    }

    /// Its number: the first 16 digits of the SHA-256 of the key (SubjectPublicKeyInfo).
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Checks what a registry has beside the artifact that a component lies in, and returns the digest of its manifest.
    ///
    /// # Errors
    /// No signature by this key, or one of something else; in words that continue "its signature ...".
    pub fn verify(
        &self,
        component: &[u8],
        manifest: &[u8],
        attached: &[Attachment],
    ) -> Result<String, String> {
        holds(manifest, component)?;
        let named = format!("sha256:{}", digest(manifest));
        let mut best: Option<Refusal> = None;
        for one in attached {
            let checked = match one {
                Attachment::Simple { payload, signature, keyless } => {
                    self.simple(payload, signature, *keyless, &named)
                }
                Attachment::Bundle(text) => self.bundle(text, &named),
            };
            match checked {
                Ok(()) => return Ok(named),
                Err(why) if best.as_ref().is_none_or(|best| why.ours && !best.ours) => {
                    best = Some(why);
                }
                Err(_) => {}
            }
        }
        let others = match attached.len() {
            0 | 1 => String::new(),
            all => format!(" (none of {all} fits)"),
        };
        match best {
            Some(Refusal { why, .. }) => Err(why + &others),
            None => Err("is missing: the registry has none of cosign's of it".into()),
        }
    }

    /// A payload of simple signing, about the manifest of this digest.
    fn simple(
        &self,
        payload: &str,
        signature: &str,
        keyless: bool,
        named: &str,
    ) -> Result<(), Refusal> {
        self.signed(payload.as_bytes(), signature, keyless)?;
        let read: Payload = serde_json::from_str(payload).map_err(no_form)?;
        let Critical { image, r#type } = read.critical;
        if r#type != SIMPLE {
            return Err(ours(format!("is of something else, `{}`", clean(&r#type, 60))));
        }
        about(&image.docker_manifest_digest, named)
    }

    /// A bundle about that manifest.
    fn bundle(&self, text: &str, named: &str) -> Result<(), Refusal> {
        let others = |why: String| Refusal { ours: false, why };
        let read: Bundle = serde_json::from_str(text)
            .map_err(|error| others(format!("is a bundle in no known form ({})", shown(&error))))?;
        if read.media_type != BUNDLE {
            let found = clean(&read.media_type, 60);
            return Err(others(format!("is a bundle of type {found}, and not {BUNDLE}")));
        }
        let Some(Envelope { payload, payload_type, signatures }) = read.dsse_envelope else {
            return Err(others("is a bundle without a DSSE envelope".into()));
        };
        let material = read.verification_material;
        let keyless = material
            .is_some_and(|it| it.certificate.is_some() || it.x509_certificate_chain.is_some());
        let Ok(payload) = STANDARD.decode(&payload) else {
            return Err(others("is a bundle whose payload is no base64".into()));
        };
        let authenticated = authenticated(&payload_type, &payload);
        let mut failed = others("is an envelope that nobody signed".into());
        let by = signatures.iter().take(MOST).any(|one| {
            self.signed(&authenticated, &one.sig, keyless).map_err(|why| failed = why).is_ok()
        });
        if !by {
            return Err(failed);
        }
        if payload_type != STATEMENT {
            return Err(ours(format!("is of something else, {}", clean(&payload_type, 60))));
        }
        let said: Statement = serde_json::from_slice(&payload).map_err(no_form)?;
        if !STATEMENTS.contains(&said.version.as_str()) {
            return Err(ours(format!("is a statement of type {}", clean(&said.version, 60))));
        }
        if said.predicate_type != SIGNED {
            let kind = clean(&said.predicate_type, 60);
            return Err(ours(format!("is no signature but an attestation, {kind}")));
        }
        let mut failed = ours("is of nothing".into());
        let is_about = said.subject.iter().any(|subject| {
            let digest = subject.digest.sha256.as_deref().unwrap_or("none");
            about(&format!("sha256:{digest}"), named).map_err(|why| failed = why).is_ok()
        });
        if is_about { Ok(()) } else { Err(failed) }
    }

    /// Whether these bytes are signed by this key.
    fn signed(&self, bytes: &[u8], signature: &str, keyless: bool) -> Result<(), Refusal> {
        let others = |why: String| Refusal { ours: false, why };
        let Ok(signature) = STANDARD.decode(signature) else {
            return Err(others("is no base64".into()));
        };
        self.key.verify(bytes, &signature).map_err(|_| {
            others(if keyless {
                "is keyless (by a certificate), and those aren't checked".into()
            } else {
                format!("isn't by key {}, or something was changed since", self.id)
            })
        })
    }
}

/// What DSSE signs of a payload: its pre-authentication encoding.
fn authenticated(kind: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).into_bytes();
    bytes.extend(payload);
    bytes
}

/// Whether a component is the one thing that a manifest names.
fn holds(manifest: &[u8], component: &[u8]) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Manifest {
        layers: Vec<Layer>,
    }
    #[derive(Deserialize)]
    struct Layer {
        digest: String,
    }
    let read: Manifest = serde_json::from_slice(manifest)
        .map_err(|_| "is of a manifest that isn't here".to_owned())?;
    match &read.layers[..] {
        [layer] if layer.digest == format!("sha256:{}", digest(component)) => Ok(()),
        _ => Err("is of a manifest that holds something else than this policy".into()),
    }
}

fn about(said: &str, named: &str) -> Result<(), Refusal> {
    if said == named {
        return Ok(());
    }
    Err(ours(format!("is of another manifest, {}", clean(said, 71))))
}

fn ours(why: String) -> Refusal {
    Refusal { ours: true, why }
}

fn no_form(error: serde_json::Error) -> Refusal {
    ours(format!("is of something in no known form ({})", shown(&error)))
}

fn shown(error: &serde_json::Error) -> String {
    clean(&error.to_string(), 100)
}
