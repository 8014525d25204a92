//! Manifests, lists, signatures and challenges, damaged at random: one line, and never a panic.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use host_sandbox::{Engine, Limits, PolicyKey, check_signature};
use hostile::mutation::mutate;
use hostile::{Answer, Cosign};

use super::*;

const BYTES: &[u8] = b"\0asm a policy";
const SEED: u64 = 17;
/// Damages of each kind of answer.
const TIMES: u64 = 150;

/// Damages the body of whatever has a path with `part`, in another way each time. Counts the pulls that fail.
fn damaged(part: &'static str, lists: bool) -> u64 {
    let number = Arc::new(AtomicU64::new(u64::MAX));
    let now = number.clone();
    let registry = hostile::Registry::changed(lists, move |asked, mut answer| {
        let number = now.load(Ordering::Relaxed);
        if number != u64::MAX && asked.path.contains(part) && answer.status == 200 {
            answer.headers.retain(|(name, _)| *name != "docker-content-digest");
            answer.body = mutate(&answer.body, &[b"{\"a\":[1,{}]}"], SEED, number).1;
        }
        answer
    })
    .unwrap();
    let named = reference(&registry, "policy:1");
    let sent = Artifact { signatures: vec!["one".into(), "two".into()], ..artifact(BYTES) };
    let digest = client(None).push(&named, &sent).unwrap().digest;
    let signer = Cosign::p256().unwrap();
    let payload = Cosign::payload(&digest);
    let signature = signer.sign(payload.as_bytes()).unwrap();
    registry.attach_simple("policy", &digest, &[(payload, signature)]);
    let bundle = signer.bundle(&Cosign::statement(&digest).to_string()).unwrap();
    registry.attach_bundle("policy", &digest, &bundle.to_string());
    let mut failed = 0;
    for one in 0..TIMES {
        number.store(one, Ordering::Relaxed);
        match client(None).pull(&named, MOST) {
            // Of bytes that no digest names, a tag may be anything; what it is has been checked.
            Ok(pulled) => assert_eq!(pulled.bytes, BYTES, "{one}"),
            Err(error) => {
                let line = error.to_string();
                assert!(!line.contains(['\n', '\u{1b}']) && line.contains("; "), "{one}: {line}");
                failed += 1;
            }
        }
    }
    failed
}

#[test]
fn damaged_manifests_lists_and_blobs_are_told_in_one_line() {
    // Named by a digest, nothing damaged passes but what wasn't changed.
    assert!(damaged("/blobs/", true) > TIMES * 3 / 4);
    assert!(damaged("/manifests/1", true) > TIMES / 2);
    // What isn't a list of referrers is no answer; what is may leave signatures out.
    assert!(damaged("/referrers/", true) > TIMES / 4);
    assert!(damaged("/manifests/sha256-", false) > 0);
}

#[test]
fn damaged_signatures_of_cosign_hold_only_where_nothing_that_counts_was_changed() {
    let signer = Cosign::p256().unwrap();
    let key = PolicyKey::read(&signer.public()).unwrap();
    let PolicyKey::Cosign(key) = key else { panic!("a key of cosign") };
    let registry = hostile::Registry::start().unwrap();
    let named = reference(&registry, "policy:1");
    let cache = tempfile::tempdir().unwrap();
    let digest = client(None).push(&named, &artifact(BYTES)).unwrap().digest;
    let put = registry.asked().into_iter().rfind(|it| it.method == "PUT").unwrap();
    let payload = Cosign::payload(&digest);
    let signature = signer.sign(payload.as_bytes()).unwrap();
    let bundle = signer.bundle(&Cosign::statement(&digest).to_string()).unwrap().to_string();
    drop(cache);
    for number in 0..4000 {
        let damage = |text: &str| {
            let (_, bytes) = mutate(text.as_bytes(), &[b"AAAA", b"\"}]"], SEED, number);
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let simple = |payload: &str, signature: &str| host_sandbox::Attachment::Simple {
            payload: payload.to_owned(),
            signature: signature.to_owned(),
            keyless: false,
        };
        let changed = damage(&payload);
        let held = key.verify(BYTES, &put.body, &[simple(&changed, &signature)]);
        assert_eq!(held.is_ok(), changed == payload, "{number}");
        let changed = damage(&signature);
        let held = key.verify(BYTES, &put.body, &[simple(&payload, &changed)]);
        assert_eq!(held.is_ok(), changed == signature, "{number}");
        let said =
            key.verify(BYTES, &put.body, &[host_sandbox::Attachment::Bundle(damage(&bundle))]);
        if let Err(line) = said {
            assert!(!line.contains(['\n', '\u{1b}']) && line.len() < 400, "{number}: {line}");
        }
        let manifest = mutate(&put.body, &[b"{}"], SEED, number).1;
        let held = key.verify(BYTES, &manifest, &[simple(&payload, &signature)]);
        assert_eq!(held.is_ok(), manifest == put.body, "{number}");
        // Keys as well.
        let _ = PolicyKey::read(&damage(&signer.public()));
    }
}

#[test]
fn damaged_challenges_and_tokens_are_told_in_one_line() {
    let number = Arc::new(AtomicU64::new(0));
    let now = number.clone();
    let registry = hostile::Registry::changed(true, move |asked, answer| {
        let number = now.load(Ordering::Relaxed);
        let host = asked.headers.get("host").cloned().unwrap_or_default();
        if asked.path.starts_with("/token") {
            let token = br#"{"token": "abc", "access_token": "abc", "expires_in": 300}"#;
            return Answer::new(200, mutate(token, &[b"\\u0000"], SEED, number).1);
        }
        if asked.headers.contains_key("authorization") {
            return answer;
        }
        let challenge = format!(
            "Bearer realm=\"http://{host}/token\",service=\"registry\",scope=\"repository:policy:pull\""
        );
        let challenge = if number.is_multiple_of(2) {
            let bytes = mutate(challenge.as_bytes(), &[b"=\",,", b"Basic "], SEED, number).1;
            // What a header can hold.
            let held = |byte: &u8| (0x20..0x7f).contains(byte);
            String::from_utf8(bytes.into_iter().filter(held).collect()).unwrap()
        } else {
            challenge
        };
        Answer::new(401, "{}").with("www-authenticate", challenge)
    })
    .unwrap();
    let named = reference(&registry, "policy:1");
    let mut outcomes: BTreeMap<String, u64> = BTreeMap::new();
    for one in 0..TIMES {
        number.store(one, Ordering::Relaxed);
        let line = problem(client(None).pull(&named, MOST));
        assert!(!line.contains('\u{1b}'), "{one}: {line}");
        let words = line.split("; ").next().unwrap_or_default();
        *outcomes.entry(words.rsplit(": ").next().unwrap_or_default().to_owned()).or_default() += 1;
    }
    // There is no policy there: that is what an undamaged token comes to know.
    assert!(outcomes.len() > 2, "{outcomes:?}");
}

#[test]
fn a_damaged_policy_of_a_registry_never_gets_as_far_as_its_signature() {
    let registry = hostile::Registry::changed(true, |asked, mut answer| {
        if asked.method == "GET" && asked.path.contains("/blobs/") {
            answer.body.reverse();
        }
        answer
    })
    .unwrap();
    let named = reference(&registry, "policy:1");
    client(None).push(&named, &artifact(BYTES)).unwrap();
    let engine = Engine::new(&Limits::default()).unwrap().with_registry(Arc::new(client(None)));
    let path = PathBuf::from(named.to_string());
    assert!(host_sandbox::read(&engine, &path).is_err());
    let key = PolicyKey::read(&Cosign::ed25519().unwrap().public()).unwrap();
    assert!(check_signature(&engine, &path, BYTES, &key).is_err());
}
