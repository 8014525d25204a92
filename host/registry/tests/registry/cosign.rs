//! Signatures of cosign, in both of its formats, genuine and not.

use std::sync::Arc;

use host_sandbox::{Endorsed, Engine, Limits, PolicyKey, check_signature};
use hostile::{Answer, Asked, Cosign};
use serde_json::{Value, json};

use super::*;

const BYTES: &[u8] = b"\0asm a policy";

/// A registry with a policy.
struct Place {
    registry: hostile::Registry,
    digest: String,
    cache: tempfile::TempDir,
}

impl Place {
    fn new(lists: bool) -> Self {
        Self::changed(lists, |_, answer| answer)
    }

    fn changed(
        lists: bool,
        change: impl Fn(&Asked, Answer) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let registry = hostile::Registry::changed(lists, change).unwrap();
        let named = reference(&registry, "policy:1");
        let digest = client(None).push(&named, &artifact(BYTES)).unwrap().digest;
        Self { registry, digest, cache: tempfile::tempdir().unwrap() }
    }

    /// What comes of checking the policy with a key.
    fn check(&self, key: &str) -> Result<Endorsed, String> {
        self.check_by(client(Some(self.cache.path())), key)
    }

    fn check_by(&self, client: Registry, key: &str) -> Result<Endorsed, String> {
        let key = PolicyKey::read(key).unwrap();
        let engine = Engine::new(&Limits::default()).unwrap().with_registry(Arc::new(client));
        let path = format!("oci://{}/policy@{}", self.registry.host(), self.digest);
        check_signature(&engine, path.as_ref(), BYTES, &key).map_err(|error| {
            let line = error.to_string();
            assert!(!line.contains(['\n', '\u{1b}']) && line.len() < 1000, "{line}");
            line
        })
    }

    fn simple(&self, signed: &[(String, String)]) {
        self.registry.attach_simple("policy", &self.digest, signed);
    }

    /// What is said of one payload with a signature over it.
    fn payload(&self, signer: &Cosign, payload: &str) -> String {
        self.simple(&[(payload.to_owned(), signer.sign(payload.as_bytes()).unwrap())]);
        self.check(&signer.public()).unwrap_err()
    }
}

/// What is said of a bundle, changed.
fn bundle(change: impl Fn(&mut Value)) -> Result<Endorsed, String> {
    let signer = Cosign::p256().unwrap();
    let place = Place::new(true);
    let mut bundle = signer.bundle(&Cosign::statement(&place.digest).to_string()).unwrap();
    change(&mut bundle);
    place.registry.attach_bundle("policy", &place.digest, &bundle.to_string());
    place.check(&signer.public())
}

/// What is said of a bundle whose statement was changed before it was signed.
fn statement(change: impl Fn(&mut Value)) -> Result<Endorsed, String> {
    let signer = Cosign::p256().unwrap();
    let place = Place::new(true);
    let mut statement = Cosign::statement(&place.digest);
    change(&mut statement);
    let bundle = signer.bundle(&statement.to_string()).unwrap();
    place.registry.attach_bundle("policy", &place.digest, &bundle.to_string());
    place.check(&signer.public())
}

#[test]
fn both_formats_hold_by_the_key_that_made_them_and_by_no_other() {
    for signer in [Cosign::p256().unwrap(), Cosign::ed25519().unwrap()] {
        let other = Cosign::p256().unwrap();
        for is_bundle in [false, true] {
            let place = Place::new(true);
            let missing = place.check(&signer.public()).unwrap_err();
            assert!(missing.contains("no signature of cosign's"), "{missing}");
            if is_bundle {
                let bundle = signer.bundle(&Cosign::statement(&place.digest).to_string()).unwrap();
                place.registry.attach_bundle("policy", &place.digest, &bundle.to_string());
            } else {
                let payload = Cosign::payload(&place.digest);
                let signature = signer.sign(payload.as_bytes()).unwrap();
                place.simple(&[(payload, signature)]);
            }
            let said = place.check(&signer.public()).unwrap();
            assert_eq!(said.sha256(), host_sandbox::digest(BYTES));
            assert!(said.to_string().contains(&place.digest), "{said}");
            let line = place.check(&other.public()).unwrap_err();
            assert!(line.contains("isn't by key "), "{line}");
            // The registry is gone: what is here is enough.
            let asked = place.registry.asked().len();
            place.check_by(offline(place.cache.path()), &signer.public()).unwrap_err();
            let named = format!("oci://{}/policy@{}", place.registry.host(), place.digest);
            client(Some(place.cache.path())).pull(&named.parse().unwrap(), MOST).unwrap();
            assert!(place.registry.asked().len() > asked);
            place.check_by(offline(place.cache.path()), &signer.public()).unwrap();
        }
    }
}

#[test]
fn a_signature_is_of_the_manifest_and_so_of_the_one_component_that_it_names() {
    let signer = Cosign::p256().unwrap();
    let place = Place::new(false);
    // Of another policy: as a whole, and as what a manifest of this digest would have.
    let other = reference(&place.registry, "policy:2");
    let other = client(None).push(&other, &artifact(b"\0asm another")).unwrap().digest;
    let line = place.payload(&signer, &Cosign::payload(&other));
    assert!(line.contains(&format!("is of another manifest, {other}")), "{line}");
    let payload = Cosign::payload(&place.digest);
    place.simple(&[(payload.clone(), signer.sign(payload.as_bytes()).unwrap())]);
    let key = PolicyKey::read(&signer.public()).unwrap();
    let registry = Arc::new(client(Some(place.cache.path())));
    let engine = Engine::new(&Limits::default()).unwrap().with_registry(registry);
    let path = format!("oci://{}/policy@{}", place.registry.host(), place.digest);
    let line = check_signature(&engine, path.as_ref(), b"\0asm other bytes", &key).unwrap_err();
    assert!(line.to_string().contains("holds something else than this policy"), "{line}");
    check_signature(&engine, path.as_ref(), BYTES, &key).unwrap();
    // A tag that moved has no part in the signature of what it was.
    let moved = reference(&place.registry, "policy:1");
    client(None).push(&moved, &artifact(b"\0asm another")).unwrap();
    let path = format!("oci://{}/policy:1", place.registry.host());
    let line = check_signature(&engine, path.as_ref(), b"\0asm another", &key).unwrap_err();
    assert!(line.to_string().contains("no signature of cosign's"), "{line}");
    // A file has no manifest.
    let line = check_signature(&engine, "policy.wasm".as_ref(), BYTES, &key).unwrap_err();
    assert!(line.to_string().contains("and this is a file; name it as oci://"), "{line}");
}

#[test]
fn of_several_signatures_one_that_holds_is_enough() {
    let (signer, other) = (Cosign::p256().unwrap(), Cosign::p256().unwrap());
    let place = Place::new(true);
    let payload = Cosign::payload(&place.digest);
    let by = |signer: &Cosign| (payload.clone(), signer.sign(payload.as_bytes()).unwrap());
    let elsewhere = Cosign::payload(&format!("sha256:{}", "ab".repeat(32)));
    let wrong = (elsewhere.clone(), signer.sign(elsewhere.as_bytes()).unwrap());
    let garbage = [("{}", "!"), ("", "MEUC"), ("x", "MAA="), ("{", "")];
    let garbage = garbage.map(|(payload, signature)| (payload.to_owned(), signature.to_owned()));
    let mut all = vec![by(&other), wrong];
    all.extend(garbage);
    place.simple(&all);
    // By this key, though of something else: that is what is told.
    let line = place.check(&signer.public()).unwrap_err();
    assert!(line.contains("is of another manifest") && line.contains("(none of "), "{line}");
    all.push(by(&signer));
    place.simple(&all);
    place.check(&signer.public()).unwrap();
    // Only so many are looked at.
    let many: Vec<_> = std::iter::repeat_n(by(&other), 40).chain([by(&signer)]).collect();
    let place = Place { digest: place.digest, ..Place::new(true) };
    place.simple(&many);
    assert!(place.check(&signer.public()).unwrap_err().contains("(none of 32 fits)"));
}

#[test]
fn payloads_that_are_no_signature_of_an_artifact_are_refused() {
    let signer = Cosign::p256().unwrap();
    let place = Place::new(false);
    let good = Cosign::payload(&place.digest);
    let kind = good.replace("cosign container image signature", "something\u{1b}[2J");
    assert!(
        place.payload(&signer, &kind.replace('\u{1b}', "\\u001b")).contains("is of something else")
    );
    let twice = good.replace(
        "\"docker-manifest-digest\"",
        "\"docker-manifest-digest\":\"sha256:00\",\"docker-manifest-digest\"",
    );
    assert!(place.payload(&signer, &twice).contains("duplicate field"), "{twice}");
    let twice = good.replacen('{', "{\"critical\":null,", 1);
    assert!(place.payload(&signer, &twice).contains("in no known form"));
    for odd in ["", "[]", "{}", "null", &"[".repeat(10_000), "{\"critical\": {}}"] {
        assert!(place.payload(&signer, odd).contains("in no known form"), "{odd:.20}");
    }
    // Whatever else it says is signed, and nothing of it is asked.
    let more = good.replace("\"optional\":null", "\"optional\":{\"a\":1,\"a\":2}");
    place.simple(&[(more.clone(), signer.sign(more.as_bytes()).unwrap())]);
    place.check(&signer.public()).unwrap();
}

#[test]
fn signatures_are_strict_base64_of_strict_der() {
    let signer = Cosign::p256().unwrap();
    let place = Place::new(false);
    let payload = Cosign::payload(&place.digest);
    let good = signer.sign(payload.as_bytes()).unwrap();
    let unpadded = good.trim_end_matches('=').to_owned();
    let odd = [
        format!("{good}\n"),
        format!(" {good}"),
        format!("{good}===="),
        format!("{unpadded}A"),
        good.replace(['+', '/'], "-"),
        "A".repeat(3000),
        "A".repeat(1 << 20),
        String::new(),
        "MEQCIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAiAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==".into(),
    ];
    for odd in odd.into_iter().filter(|odd| *odd != good) {
        place.simple(&[(payload.clone(), odd.clone())]);
        place.check(&signer.public()).unwrap_err();
    }
    place.simple(&[(payload.clone(), good)]);
    place.check(&signer.public()).unwrap();
    // Too large to be one.
    let place = Place::new(false);
    let large = payload.replace("localhost", &"x".repeat(17 << 10));
    assert!(place.payload(&signer, &large).contains("no signature of cosign's"));
}

#[test]
fn a_keyless_signature_is_told_as_one() {
    let signer = Cosign::p256().unwrap();
    let other = Cosign::p256().unwrap();
    let place = Place::new(false);
    let payload = Cosign::payload(&place.digest);
    place.simple(&[(payload.clone(), other.sign(payload.as_bytes()).unwrap())]);
    let tag = format!("{}.sig", place.digest.replace(':', "-"));
    let path = format!("/v2/policy/manifests/{tag}");
    let keyless = Place::changed(false, move |asked, mut answer| {
        if asked.path == path && answer.status == 200 {
            let mut manifest: Value = serde_json::from_slice(&answer.body).unwrap();
            manifest["layers"][0]["annotations"]["dev.sigstore.cosign/certificate"] = "x".into();
            answer = Answer::new(200, manifest.to_string());
        }
        answer
    });
    keyless.simple(&[(payload.clone(), other.sign(payload.as_bytes()).unwrap())]);
    let line = keyless.check(&signer.public()).unwrap_err();
    assert!(line.contains("is keyless (by a certificate)"), "{line}");
    let line = bundle(|bundle| {
        bundle["verificationMaterial"] = json!({"certificate": {"rawBytes": "MAA="}});
        bundle["dsseEnvelope"]["signatures"][0]["sig"] = "MAA=".into();
    });
    assert!(line.unwrap_err().contains("is keyless (by a certificate)"));
}

#[test]
fn a_bundle_is_a_statement_that_this_manifest_is_signed() {
    bundle(|_| {}).unwrap();
    let refused = |words: &str, change: &dyn Fn(&mut Value)| {
        let line = bundle(change).unwrap_err();
        assert!(line.contains(words), "{words}: {line}");
    };
    refused("of type application/x", &|bundle| bundle["mediaType"] = "application/x".into());
    refused("without a DSSE envelope", &|bundle| bundle["dsseEnvelope"] = Value::Null);
    refused("in no known form", &|bundle| *bundle = json!([1]));
    refused("payload is no base64", &|bundle| bundle["dsseEnvelope"]["payload"] = "?".into());
    refused("that nobody signed", &|bundle| bundle["dsseEnvelope"]["signatures"] = json!([]));
    refused("isn't by key", &|bundle| bundle["dsseEnvelope"]["payload"] = "e30=".into());
    refused("isn't by key", &|bundle| bundle["dsseEnvelope"]["payloadType"] = "x".into());
    let refused = |words: &str, change: &dyn Fn(&mut Value)| {
        let line = statement(change).unwrap_err();
        assert!(line.contains(words), "{words}: {line}");
    };
    refused("is no signature but an attestation, https://slsa.dev", &|said| {
        said["predicateType"] = "https://slsa.dev/provenance/v1".into();
    });
    refused("is a statement of type x", &|said| said["_type"] = "x".into());
    refused("is of nothing", &|said| said["subject"] = json!([]));
    refused("is of another manifest, sha256:ab", &|said| {
        said["subject"][0]["digest"]["sha256"] = "ab".into();
    });
    refused("is of another manifest, sha256:none", &|said| {
        said["subject"][0]["digest"] = json!({"sha512": "ab"});
    });
    // Several subjects, several signatures: one is enough.
    statement(|said| {
        let own = said["subject"][0].clone();
        said["subject"] = json!([{"digest": {"sha256": "ab"}}, own]);
    })
    .unwrap();
    bundle(|bundle| {
        let own = bundle["dsseEnvelope"]["signatures"][0].clone();
        bundle["dsseEnvelope"]["signatures"] = json!([{"sig": "MAA="}, own]);
    })
    .unwrap();
}

#[test]
fn keys_are_told_apart_by_what_they_hold() {
    let signer = Cosign::p256().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cosign.pub");
    std::fs::write(&file, signer.public()).unwrap();
    let read = PolicyKey::read(file.to_str().unwrap()).unwrap();
    assert_eq!(read.id(), PolicyKey::read(&signer.public().replace('\n', "\r\n")).unwrap().id());
    assert!(read.minisign().is_none() && read.id().len() == 16);
    let pem = |label: &str, body: &str| {
        format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
    };
    // Of RSA (1024 bits would do: nothing of it is read), and of ECDSA on P-384.
    let rsa = "MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAMSzq1IJ";
    for (text, words) in [
        (pem("PUBLIC KEY", rsa), "neither ECDSA on P-256 nor Ed25519"),
        (pem("PUBLIC KEY", "MAA="), "neither ECDSA on P-256 nor Ed25519"),
        (pem("PUBLIC KEY", "?"), "is damaged"),
        (signer.public() + "more", "is damaged"),
        (signer.public().replace("-----END", "-----"), "is damaged"),
        (pem("ENCRYPTED SIGSTORE PRIVATE KEY", "AA=="), "is a secret one; name its public half"),
        (pem("CERTIFICATE", "AA=="), "as keyless signatures have"),
        (pem("X\u{1b}[2J", "AA=="), "is of a kind that isn't read"),
    ] {
        std::fs::write(&file, &text).unwrap();
        for given in [file.to_str().unwrap(), &text] {
            let line = PolicyKey::read(given).unwrap_err().to_string();
            assert!(line.contains(words) && !line.contains(['\n', '\u{1b}']), "{words}: {line}");
        }
    }
    std::fs::write(&file, signer.public()).unwrap();
    let journal = host_sandbox::PublicKey::read(file.to_str().unwrap()).unwrap_err().to_string();
    assert!(journal.contains("signs policies in registries and nothing else"), "{journal}");
}
