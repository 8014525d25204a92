//! Signatures as cosign makes them with a key, without cosign.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

use crate::{Error, Registry, Result};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Of payloads of simple signing.
const SIMPLE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// Of bundles.
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// How the SubjectPublicKeyInfo of either key begins.
const P256: &[u8] = b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00";
const ED25519: &[u8] = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";

/// A key, and what it signs.
pub struct Cosign {
    pair: Pair,
    random: SystemRandom,
}

enum Pair {
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Cosign {
    /// A new key of ECDSA on P-256, as `cosign generate-key-pair` makes it.
    ///
    /// # Errors
    /// If there are no random numbers.
    pub fn p256() -> Result<Self> {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let made = EcdsaKeyPair::generate_pkcs8(algorithm, &random).map_err(odd)?;
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, made.as_ref(), &random).map_err(odd)?;
        Ok(Self { pair: Pair::P256(pair), random })
    }

    /// A new key of Ed25519, as `cosign import-key-pair` takes it.
    ///
    /// # Errors
    /// If there are no random numbers.
    pub fn ed25519() -> Result<Self> {
        let random = SystemRandom::new();
        let made = Ed25519KeyPair::generate_pkcs8(&random).map_err(odd)?;
        let pair = Ed25519KeyPair::from_pkcs8(made.as_ref()).map_err(odd)?;
        Ok(Self { pair: Pair::Ed25519(pair), random })
    }

    /// The public half, as in `cosign.pub`.
    pub fn public(&self) -> String {
        let info = match &self.pair {
            Pair::P256(pair) => [P256, pair.public_key().as_ref()].concat(),
            Pair::Ed25519(pair) => [ED25519, pair.public_key().as_ref()].concat(),
        };
        let text = STANDARD.encode(info);
        let lines: Vec<&str> =
            (0..text.len()).step_by(64).map(|at| &text[at..text.len().min(at + 64)]).collect();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
    }

    /// A signature in base64.
    ///
    /// # Errors
    /// If there are no random numbers.
    pub fn sign(&self, bytes: &[u8]) -> Result<String> {
        Ok(STANDARD.encode(match &self.pair {
            Pair::P256(pair) => pair.sign(&self.random, bytes).map_err(odd)?.as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.sign(bytes).as_ref().to_vec(),
        }))
    }

    /// The payload of simple signing about a manifest.
    pub fn payload(digest: &str) -> String {
        json!({
            "critical": {
                "identity": {"docker-reference": "localhost/policy"},
                "image": {"docker-manifest-digest": digest},
                "type": "cosign container image signature",
            },
            "optional": null,
        })
        .to_string()
    }

    /// The statement of a bundle about a manifest.
    pub fn statement(digest: &str) -> Value {
        json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"digest": {"sha256": digest.trim_start_matches("sha256:")}}],
            "predicateType": "https://sigstore.dev/cosign/sign/v1",
            "predicate": {},
        })
    }

    /// A bundle around a statement.
    ///
    /// # Errors
    /// As of [`Cosign::sign`].
    pub fn bundle(&self, statement: &str) -> Result<Value> {
        let kind = "application/vnd.in-toto+json";
        let signed = format!("DSSEv1 {} {kind} {} {statement}", kind.len(), statement.len());
        Ok(json!({
            "mediaType": BUNDLE,
            "verificationMaterial": {"publicKey": {"hint": "x"}, "tlogEntries": []},
            "dsseEnvelope": {
                "payload": STANDARD.encode(statement),
                "payloadType": kind,
                "signatures": [{"sig": self.sign(signed.as_bytes())?, "keyid": ""}],
            },
        }))
    }
}

impl Registry {
    /// Keeps payloads and their signatures under the tag that cosign has for those of a manifest.
    pub fn attach_simple(&self, repository: &str, of: &str, signed: &[(String, String)]) {
        let layers: Vec<Value> = signed
            .iter()
            .map(|(payload, signature)| {
                let mut layer = self.layer(SIMPLE, payload.as_bytes());
                layer["annotations"] = json!({"dev.cosignproject.cosign/signature": signature});
                layer
            })
            .collect();
        let config = self.layer("application/vnd.oci.image.config.v1+json", b"{}");
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers,
        });
        let tag = format!("{}.sig", of.replace(':', "-"));
        self.put(repository, &tag, MANIFEST, manifest.to_string().as_bytes());
    }

    /// Keeps a bundle as an artifact that refers to a manifest; of use where referrers are listed.
    pub fn attach_bundle(&self, repository: &str, of: &str, bundle: &str) {
        let config = self.layer("application/vnd.oci.empty.v1+json", b"{}");
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": BUNDLE, "config": config,
            "layers": [self.layer(BUNDLE, bundle.as_bytes())],
            "subject": {"mediaType": MANIFEST, "digest": of, "size": 1},
        });
        let bytes = manifest.to_string();
        let named = format!("sha256:{}", host_sandbox::digest(bytes.as_bytes()));
        self.put(repository, &named, MANIFEST, bytes.as_bytes());
    }

    /// Keeps bytes, and names them.
    fn layer(&self, kind: &str, bytes: &[u8]) -> Value {
        self.keep(bytes);
        let digest = format!("sha256:{}", host_sandbox::digest(bytes));
        json!({"mediaType": kind, "digest": digest, "size": bytes.len()})
    }
}

fn odd(error: impl std::fmt::Display) -> Error {
    Error::policy("a key of cosign", error.to_string())
}
