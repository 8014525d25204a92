//! Registries that send something else, too much, too little, too late, or elsewhere.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use hostile::{Answer, Asked, Then};
use serde_json::{Value, json};

use super::*;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// What comes of a pull by tag and by digest from a registry whose answers to GET are changed so.
fn pulled(change: impl Fn(&Asked, Answer) -> Answer + Send + Sync + Copy + 'static) -> [String; 2] {
    let registry =
        hostile::Registry::changed(true, move |asked, answer| match asked.method.as_str() {
            "GET" => change(asked, answer),
            _ => answer,
        })
        .unwrap();
    let named = reference(&registry, "probe:1");
    let pushed = client(None).push(&named, &artifact(b"a policy of some bytes")).unwrap();
    let cache = tempfile::tempdir().unwrap();
    let pinned: Reference = pushed.reference.parse().unwrap();
    let both = [named, pinned].map(|one| problem(client(Some(cache.path())).pull(&one, MOST)));
    // Nothing of it is kept.
    for folder in ["blobs", "pins", "signatures"] {
        let kept = std::fs::read_dir(cache.path().join(folder)).unwrap().count();
        assert_eq!(kept, 0, "{folder}");
    }
    both
}

fn is_blob(asked: &Asked) -> bool {
    asked.path.contains("/blobs/sha256:")
}

fn is_manifest(asked: &Asked) -> bool {
    asked.path.contains("/manifests/")
}

fn all(lines: &[String], words: &str) {
    lines.iter().for_each(|line| assert!(line.contains(words), "{line}"));
}

#[test]
fn other_bytes_than_a_digest_says_are_not_taken() {
    let same_length = pulled(|asked, mut answer| {
        if is_blob(asked) {
            answer.body[0] ^= 1;
        }
        answer
    });
    all(&same_length, "sends other bytes of the policy than their digest says");
    let manifest = pulled(|asked, mut answer| {
        if is_manifest(asked) {
            answer.body.push(b' ');
        }
        answer
    });
    assert!(manifest[0].contains("sends other bytes of the manifest than it says"), "{manifest:?}");
    assert!(manifest[1].contains("sends other bytes of the manifest than their digest"));
}

#[test]
fn other_sizes_are_told_before_and_while_they_are_read() {
    all(
        &pulled(|asked, mut answer| {
            if is_blob(asked) {
                answer.body.push(0);
            }
            answer
        }),
        "announces 22 bytes of the policy and sends 23",
    );
    all(
        &pulled(|asked, mut answer| {
            if is_blob(asked) {
                answer.then = Then::Endless;
            }
            answer
        }),
        "sends more than the 22 bytes expected of the policy",
    );
    all(
        &pulled(|asked, mut answer| {
            if is_manifest(asked) {
                answer.body = vec![b' '; 1 << 16];
                answer.then = Then::Endless;
            }
            answer
        }),
        "sends more than the 4194304 bytes expected of a manifest",
    );
    all(
        &pulled(|asked, answer| {
            if is_manifest(asked) { answer.with("content-length", "99999999999") } else { answer }
        }),
        "has 99999999999 bytes of a manifest; 4194304 are allowed",
    );
}

#[test]
fn what_is_no_policy_is_named_before_it_is_fetched() {
    let registry = hostile::Registry::start().unwrap();
    let genuine = json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": {"mediaType": "application/vnd.wasm.config.v0+json", "digest": "sha256:00", "size": 2},
        "layers": [{"mediaType": "application/wasm", "digest": format!("sha256:{}", "ab".repeat(32)), "size": 9}],
    });
    let pull = |change: &dyn Fn(&mut Value)| {
        let mut manifest = genuine.clone();
        change(&mut manifest);
        registry.put("probe", "1", MANIFEST, manifest.to_string().as_bytes());
        problem(client(None).pull(&reference(&registry, "probe:1"), MOST))
    };
    let layer = genuine["layers"][0].clone();
    assert!(pull(&|it| it["layers"] = json!([layer, layer])).contains("has 2 layers"));
    assert!(pull(&|it| it["layers"] = json!([])).contains("has 0 layers"));
    assert!(
        pull(&|it| it["layers"][0]["mediaType"] = "application/tar".into())
            .contains("a layer of type application/tar")
    );
    assert!(
        pull(&|it| it["config"]["mediaType"] = "application/x".into())
            .contains("a configuration of type application/x")
    );
    assert!(
        pull(&|it| it["layers"][0]["size"] = (MOST + 1).into()).contains("1048576 are allowed")
    );
    assert!(
        pull(&|it| *it = json!({"schemaVersion": 2, "manifests": []}))
            .contains("is a list of manifests")
    );
    assert!(pull(&|it| *it = json!("x\u{1b}[2J")).contains("no known form"));
    assert!(pull(&|_| ()).contains("there is no such policy"), "the blob isn't there");
    let blobs = registry.asked().iter().filter(|it| is_blob(it)).count();
    assert_eq!(blobs, 1, "no other blob was asked for");
}

#[test]
fn a_redirect_to_plain_http_elsewhere_or_in_a_circle_is_not_followed() {
    for (target, words) in [
        ("http://registry.example/x", "is not reached by https (http://registry.example)"),
        ("https://name:secret@registry.example/x", "an address with a password in it"),
        ("/v2/probe/blobs/again", "redirects more than 8 times"),
        ("", "redirects to what is no URL"),
    ] {
        let target: &'static str = target;
        let lines = pulled(move |asked, answer| {
            if asked.path.contains("/blobs/") {
                Answer::new(307, "").with("location", target)
            } else {
                answer
            }
        });
        all(&lines, words);
        assert!(!lines.concat().contains("secret@"), "{lines:?}");
    }
}

#[test]
fn a_redirect_to_another_server_carries_no_login() {
    let store = hostile::Registry::changed(false, |asked, _| {
        assert!(!asked.headers.contains_key("authorization"));
        Answer::new(200, "policy")
    })
    .unwrap();
    let to = format!("http://{}/store", store.host());
    let registry = hostile::Registry::changed(false, move |asked, answer| {
        if asked.headers.get("authorization").is_none_or(|it| it != "Basic YTpi") {
            return Answer::new(401, "").with("www-authenticate", "Basic realm=\"x\"");
        }
        if asked.method == "GET" && is_blob(asked) {
            Answer::new(307, "").with("location", &to)
        } else {
            answer
        }
    })
    .unwrap();
    let (_folder, places) = logins::file(&registry.host(), "a", "b");
    let client = client(None).with_logins(places);
    let named = reference(&registry, "probe:1");
    client.push(&named, &artifact(b"policy")).unwrap();
    assert_eq!(client.pull(&named, MOST).unwrap().bytes, b"policy");
    assert_eq!(store.asked().len(), 1);
    assert!(!store.asked()[0].headers.contains_key("authorization"));
}

#[test]
fn a_busy_registry_is_asked_again_when_it_says_and_not_for_ever() {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let registry = hostile::Registry::changed(true, move |asked, answer| {
        if asked.method == "GET" && counted.fetch_add(1, Ordering::Relaxed) < 2 {
            return Answer::new(429, "").with("retry-after", "0.05");
        }
        answer
    })
    .unwrap();
    let named = reference(&registry, "probe:1");
    client(None).push(&named, &artifact(b"policy")).unwrap();
    assert_eq!(client(None).pull(&named, MOST).unwrap().bytes, b"policy");
    let late = pulled(|_, _| Answer::new(503, "").with("retry-after", "3600"));
    all(&late, "answers with status 503, and asks for 3600 s of rest; try again later");
    let broken = pulled(|_, _| {
        let words = r#"{"errors": [{"code": "UNAVAILABLE", "message": "disk\u001b[2J"}]}"#;
        Answer::new(500, words).with("retry-after", "0.01")
    });
    all(&broken, "answers with status 500 (UNAVAILABLE disk), 5 times in a row; try again later");
}

#[test]
fn a_registry_that_is_slow_or_down_is_told_and_costs_a_bounded_time() {
    let started = std::time::Instant::now();
    let slow = pulled(|_, mut answer| {
        answer.then = Then::Stalls(Duration::from_secs(30));
        answer
    });
    all(
        &slow,
        "can't be reached (no answer in time), 3 times in a row; check the name and the network",
    );
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    let registry = hostile::Registry::start().unwrap();
    let named = reference(&registry, "probe:1");
    drop(registry);
    assert!(problem(client(None).pull(&named, MOST)).contains("can't be reached"));
}

#[test]
fn a_push_that_breaks_off_leaves_no_tag() {
    let puts = Arc::new(Mutex::new(Vec::new()));
    let seen = puts.clone();
    let registry = hostile::Registry::changed(false, move |asked, answer| {
        if asked.method == "PUT" && asked.path.contains("/blobs/") {
            seen.lock().unwrap().push(asked.path.clone());
            if asked.body.starts_with(b"{") {
                return Answer::new(403, "");
            }
        }
        answer
    })
    .unwrap();
    let named = reference(&registry, "probe:1");
    let error = problem(client(None).push(&named, &artifact(b"policy")));
    assert!(error.contains("refuses access"), "{error}");
    assert_eq!(puts.lock().unwrap().len(), 2);
    assert!(problem(client(None).pull(&named, MOST)).contains("there is no such policy"));
}
