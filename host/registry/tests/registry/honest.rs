//! There and back, tags that move, signatures.

use serde_json::Value;

use super::*;

#[test]
fn what_is_pushed_is_pulled_and_is_an_artifact_of_the_layout_for_webassembly() {
    let registry = hostile::Registry::start().unwrap();
    let named = reference(&registry, "team/probe:1.0.0");
    let mut sent = artifact(b"\0asm policy");
    sent.annotations.insert("org.opencontainers.image.title".into(), "probe".into());
    let pushed = client(None).push(&named, &sent).unwrap();
    let pulled = client(None).pull(&named, MOST).unwrap();
    assert_eq!(pulled.bytes, sent.component);
    assert_eq!(pulled.reference.to_string(), pushed.reference);
    assert!(pulled.signatures.is_empty());
    assert!(pulled.notes[0].contains(&pushed.digest), "{:?}", pulled.notes);
    // The same file again is the same manifest.
    assert_eq!(client(None).push(&named, &sent).unwrap().digest, pushed.digest);

    let mut puts = registry.asked().into_iter().filter(|it| it.method == "PUT");
    let manifest = puts.rfind(|it| it.path.ends_with("/manifests/1.0.0")).unwrap();
    assert_eq!(manifest.headers["content-type"], "application/vnd.oci.image.manifest.v1+json");
    let manifest: Value = serde_json::from_slice(&manifest.body).unwrap();
    assert_eq!(manifest["config"]["mediaType"], "application/vnd.wasm.config.v0+json");
    assert_eq!(manifest["layers"][0]["mediaType"], "application/wasm");
    assert_eq!(manifest["layers"][0]["size"], 11);
    assert_eq!(manifest["annotations"]["org.opencontainers.image.title"], "probe");
    let config =
        registry.asked().into_iter().find(|it| it.body.starts_with(b"{\"created\"")).unwrap();
    let config: Value = serde_json::from_slice(&config.body).unwrap();
    assert_eq!(config["architecture"], "wasm");
    assert_eq!(config["os"], "wasip2");
    assert_eq!(config["layerDigests"][0], manifest["layers"][0]["digest"]);
    assert_eq!(config["component"]["exports"][0], "x");
}

#[test]
fn a_push_names_a_tag_and_no_digest() {
    let registry = hostile::Registry::start().unwrap();
    let push =
        |rest: &str| problem(client(None).push(&reference(&registry, rest), &artifact(b"x")));
    assert!(push("probe").contains("names no tag; add one"));
    assert!(push(&format!("probe@sha256:{}", "ab".repeat(32))).contains("leave @sha256"));
    assert!(registry.asked().is_empty());
}

#[test]
fn signatures_refer_to_the_policy_with_and_without_a_list_of_referrers() {
    for lists in [false, true] {
        let registry = hostile::Registry::changed(lists, |_, answer| answer).unwrap();
        let named = reference(&registry, "probe:1");
        let signatures = vec!["one".to_owned(), "two".to_owned()];
        let sent = Artifact { signatures: signatures.clone(), ..artifact(b"policy") };
        client(None).push(&named, &sent).unwrap();
        // Pushed again, nothing is there twice.
        client(None).push(&named, &sent).unwrap();
        let mut pulled = client(None).pull(&named, MOST).unwrap();
        pulled.signatures.sort();
        assert_eq!(pulled.signatures, signatures, "{lists}");
        let fallback = registry
            .asked()
            .iter()
            .any(|it| it.method == "PUT" && it.path.contains("/manifests/sha256-"));
        assert_eq!(fallback, !lists);
        // The tag comes last: whoever finds it finds the signatures.
        let first =
            registry.asked().iter().position(|it| it.path.ends_with("/manifests/1")).unwrap();
        let before = &registry.asked()[..first];
        assert!(before.iter().any(|it| it.body == b"two"));
        // Those of another policy are its own.
        let other = reference(&registry, "probe:2");
        client(None).push(&other, &artifact(b"other")).unwrap();
        assert!(client(None).pull(&other, MOST).unwrap().signatures.is_empty());
    }
}

#[test]
fn a_list_that_names_others_signatures_is_not_believed() {
    let registry = hostile::Registry::start().unwrap();
    let (one, two) = (reference(&registry, "probe:1"), reference(&registry, "probe:2"));
    let sent = Artifact { signatures: vec!["one".into()], ..artifact(b"one") };
    let first = client(None).push(&one, &sent).unwrap();
    let second = client(None).push(&two, &artifact(b"two")).unwrap();
    let tag = |digest: &str| digest.replace(':', "-");
    let asked = registry.asked();
    let list =
        asked.iter().rfind(|it| it.path.ends_with(&tag(&first.digest)) && it.method == "PUT");
    registry.put(
        "probe",
        &tag(&second.digest),
        "application/vnd.oci.image.index.v1+json",
        &list.unwrap().body,
    );
    assert_eq!(client(None).pull(&one, MOST).unwrap().signatures, ["one"]);
    assert!(client(None).pull(&two, MOST).unwrap().signatures.is_empty());
}
