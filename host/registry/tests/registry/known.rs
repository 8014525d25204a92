//! The cache: what needs no network, tags that have moved, and folders that aren't believed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::*;

#[test]
fn a_pinned_policy_needs_its_registry_once() {
    let cache = tempfile::tempdir().unwrap();
    let registry = hostile::Registry::start().unwrap();
    let named = reference(&registry, "probe:1");
    let sent = Artifact { signatures: vec!["s".into()], ..artifact(b"policy") };
    client(None).push(&named, &sent).unwrap();
    let pinned = client(Some(cache.path())).pull(&named, MOST).unwrap().reference;
    let asked = registry.asked().len();
    let again = client(Some(cache.path())).pin(&pinned, MOST).unwrap();
    assert!(again.reference == pinned && again.notes.is_empty(), "{:?}", again.notes);
    assert_eq!(registry.asked().len(), asked, "nothing was asked");
    drop(registry);
    let known = offline(cache.path()).pull(&pinned, MOST).unwrap();
    assert_eq!(
        (known.bytes.as_slice(), known.signatures.as_slice()),
        (&b"policy"[..], &["s".to_owned()][..])
    );
    // The tag as it was, which is said.
    let known = offline(cache.path()).pin(&named, MOST).unwrap();
    assert_eq!(known.reference, pinned);
    assert!(
        known.notes[0].starts_with("offline: ") && known.notes[0].contains("within the last day")
    );
    // With the registry down and no --offline, a tag is no guess.
    let down = problem(client(Some(cache.path())).pin(&named, MOST));
    assert!(
        down.contains("can't be reached") && down.contains("--offline uses what it was"),
        "{down}"
    );
    // A pinned one is pulled from the cache, which is said.
    let pulled = client(Some(cache.path())).pull(&pinned, MOST).unwrap();
    assert_eq!(pulled.signatures, ["s"]);
    assert!(pulled.notes[0].contains("are those pulled before"), "{:?}", pulled.notes);
    // What was never pulled is nowhere.
    let other = named.pinned(host_registry::Digest::of(b"x"));
    assert!(problem(offline(cache.path()).pin(&other, MOST)).contains("host policy pull oci://"));
    let other: Reference = "oci://localhost:1/other:1".parse().unwrap();
    assert!(
        problem(offline(cache.path()).pin(&other, MOST)).contains("nothing is known of the tag 1")
    );
}

#[test]
fn a_tag_that_moved_is_told_with_both_digests() {
    let cache = tempfile::tempdir().unwrap();
    let registry = hostile::Registry::start().unwrap();
    let named = reference(&registry, "probe:1");
    let old = client(None).push(&named, &artifact(b"old")).unwrap().digest;
    let pinned = client(Some(cache.path())).pin(&named, MOST).unwrap().reference;
    let new = client(None).push(&named, &artifact(b"new")).unwrap().digest;
    // A bare tag is what it is now.
    let found = client(Some(cache.path())).pull(&named, MOST).unwrap();
    assert_eq!(found.bytes, b"new");
    let note = &found.notes[0];
    assert!(note.contains(&old) && note.contains(&new) && note.contains("has moved"), "{note}");
    // One that is pinned stays: from the cache, and from the registry.
    for cache in [Some(cache.path()), None] {
        let found = client(cache).pull(&pinned, MOST).unwrap();
        assert_eq!(found.bytes, b"old");
        let note = found.notes.concat();
        assert!(note.contains(&format!("moved to {new}; the pinned {old} is used")), "{note}");
    }
}

#[test]
fn what_was_changed_in_the_cache_is_pulled_again() {
    let cache = tempfile::tempdir().unwrap();
    let registry = hostile::Registry::start().unwrap();
    let named = reference(&registry, "probe:1");
    client(None).push(&named, &artifact(b"policy")).unwrap();
    let pinned = client(Some(cache.path())).pin(&named, MOST).unwrap().reference;
    for entry in fs::read_dir(cache.path().join("blobs")).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(path, "changed").unwrap();
    }
    assert!(problem(offline(cache.path()).pin(&pinned, MOST)).contains("was never pulled"));
    assert_eq!(client(Some(cache.path())).pull(&pinned, MOST).unwrap().bytes, b"policy");
    assert_eq!(offline(cache.path()).pull(&pinned, MOST).unwrap().bytes, b"policy");
}

#[test]
fn a_cache_that_others_can_write_to_is_not_used() {
    let here = tempfile::tempdir().unwrap();
    let cache = here.path().join("registry");
    let registry = hostile::Registry::start().unwrap();
    let named = reference(&registry, "probe:1");
    client(None).push(&named, &artifact(b"policy")).unwrap();
    let pinned = client(Some(&cache)).pin(&named, MOST).unwrap().reference;
    assert!(offline(&cache).pin(&pinned, MOST).is_ok());
    for folder in [cache.clone(), cache.join("pins")] {
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(problem(offline(&cache).pin(&pinned, MOST)).contains("never pulled"));
        assert!(problem(offline(&cache).pin(&named, MOST)).contains("nothing is known"));
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
    }
    // Another user's, where this is root and can give it away.
    if std::os::unix::fs::chown(cache.join("blobs"), Some(12345), None).is_ok() {
        assert!(problem(offline(&cache).pin(&pinned, MOST)).contains("never pulled"));
    }
    assert_eq!(client(Some(&cache)).pull(&named, MOST).unwrap().bytes, b"policy");
}

#[test]
fn the_cache_is_made_when_a_policy_is_looked_for() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("registry");
    let client = offline(&folder);
    assert!(!folder.exists());
    let reference = "oci://localhost:1/team/probe:1".parse().unwrap();
    assert!(client.pin(&reference, MOST).is_err());
    assert!(folder.join("pins").is_dir());
}
