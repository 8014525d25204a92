//! Who asks: passwords, token services, and what is never sent where.

use std::path::PathBuf;

use base64::Engine as _;
use hostile::{Answer, Asked};

use super::*;

/// A file with one login, and the folder that it is in.
pub fn file(host: &str, user: &str, password: &str) -> (tempfile::TempDir, Vec<PathBuf>) {
    let auth = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    written(&format!(r#"{{"auths": {{"{host}": {{"auth": "{auth}"}}}}}}"#))
}

fn written(text: &str) -> (tempfile::TempDir, Vec<PathBuf>) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("auth.json");
    std::fs::write(&file, text).unwrap();
    (folder, vec![file])
}

fn shown(asked: &Asked) -> &str {
    asked.headers.get("authorization").map_or("", String::as_str)
}

#[test]
fn a_password_is_shown_to_a_registry_that_asks() {
    let registry = hostile::Registry::changed(false, |asked, answer| match shown(asked) {
        "Basic YTpi" => answer,
        _ => Answer::new(401, "").with("www-authenticate", "Basic realm=\"x\""),
    })
    .unwrap();
    let named = reference(&registry, "team/probe:1");
    let (_folder, places) = file(&registry.host(), "a", "b");
    let known = client(None).with_logins(places);
    known.push(&named, &artifact(b"policy")).unwrap();
    assert_eq!(known.pull(&named, MOST).unwrap().bytes, b"policy");
    // Nobody, and somebody else.
    let error = problem(client(None).pull(&named, MOST));
    assert!(error.contains("log in: docker login 127.0.0.1"), "{error}");
    let (_folder, places) = file(&registry.host(), "a", "wrong");
    let error = problem(client(None).with_logins(places.clone()).pull(&named, MOST));
    assert!(error.contains("refuses the login in") && error.contains("auth.json"), "{error}");
    assert!(!error.contains("wrong"), "{error}");
    // The login of another registry stays here.
    let (_folder, places) = file("registry.example", "a", "b");
    let before = registry.asked().len();
    assert!(client(None).with_logins(places.clone()).pull(&named, MOST).is_err());
    assert!(registry.asked()[before..].iter().all(|asked| shown(asked).is_empty()));
    std::fs::write(&places[0], "{").unwrap();
    let error = problem(client(None).with_logins(places).pull(&named, MOST));
    assert!(error.contains("the login for the registry can't be read"), "{error}");
}

/// A registry that names a token service, and takes the token `t`.
fn with_tokens(realm: String) -> hostile::Registry {
    hostile::Registry::changed(true, move |asked, answer| {
        if shown(asked) == "Bearer t" {
            return answer;
        }
        let challenge = format!("Bearer realm=\"{realm}\",service=\"the registry\",scope=\"x\"");
        Answer::new(401, "").with("www-authenticate", challenge)
    })
    .unwrap()
}

#[test]
fn a_token_is_got_from_the_service_that_the_registry_names() {
    let service = hostile::Registry::changed(false, |asked, _| match shown(asked) {
        "Basic YTpi" => Answer::new(200, r#"{"access_token": "t", "expires_in": 60}"#),
        _ => Answer::new(401, ""),
    })
    .unwrap();
    let registry = with_tokens(format!("http://{}/token?x=1", service.host()));
    let named = reference(&registry, "team/probe:1");
    let (_folder, places) = file(&registry.host(), "a", "b");
    let known = client(None).with_logins(places);
    known.push(&named, &artifact(b"policy")).unwrap();
    assert_eq!(known.pull(&named, MOST).unwrap().bytes, b"policy");
    let paths: Vec<_> = service.asked().into_iter().map(|asked| asked.path).collect();
    let asked = |actions: &str| {
        format!("/token?x=1&service=the%20registry&scope=repository:team/probe:{actions}")
    };
    assert_eq!(paths, [asked("pull,push"), asked("pull")]);
    // The password went to the service alone.
    assert!(registry.asked().iter().all(|asked| !shown(asked).starts_with("Basic")));
    let error = problem(client(None).pull(&named, MOST));
    assert!(
        error.contains("token service http://127.0.0.1") && error.contains("status 401"),
        "{error}"
    );
}

#[test]
fn an_identity_token_is_exchanged_for_one_that_the_registry_takes() {
    let service = hostile::Registry::changed(false, |asked, _| {
        let form = String::from_utf8_lossy(&asked.body).into_owned();
        match (asked.method.as_str(), form.contains("refresh_token=i%26d")) {
            ("POST", true) => Answer::new(200, r#"{"token": "t"}"#),
            _ => Answer::new(401, ""),
        }
    })
    .unwrap();
    let registry = with_tokens(format!("http://{}/token", service.host()));
    let text = format!(r#"{{"auths": {{"{}": {{"identitytoken": "i&d"}}}}}}"#, registry.host());
    let (_folder, places) = written(&text);
    let named = reference(&registry, "probe:1");
    client(None).with_logins(places).push(&named, &artifact(b"policy")).unwrap();
    assert!(service.asked()[0].headers["content-type"].contains("x-www-form-urlencoded"));
}

#[test]
fn a_realm_that_is_hostile_gets_nothing() {
    let (_folder, places) = written(r#"{"auths": {}}"#);
    for (realm, words) in [
        ("http://tokens.example/x", "names a token service that is not reached by https"),
        ("ftp://tokens.example", "is not reached by https"),
        ("https://a:b@tokens.example", "an address with a password in it"),
        ("nonsense", "is not reached by https"),
    ] {
        let registry = with_tokens(realm.into());
        let known = client(None).with_logins(places.clone());
        let error = problem(known.pull(&reference(&registry, "probe:1"), MOST));
        assert!(error.contains(words), "{realm}: {error}");
        assert!(!error.contains("a:b@"), "{error}");
    }
    // Whatever answers on this machine doesn't send its user's login elsewhere.
    let registry = with_tokens("https://tokens.example/x".into());
    let (_folder, places) = file(&registry.host(), "a", "b");
    let known = client(None).with_logins(places);
    let error = problem(known.pull(&reference(&registry, "probe:1"), MOST));
    assert!(error.contains("would have a login sent to https://tokens.example"), "{error}");
}

#[test]
fn a_token_service_that_redirects_or_sends_no_token_is_told() {
    for (answer, words) in [
        (
            Answer::new(302, "").with("location", "http://127.0.0.1:1/x"),
            "which redirects (status 302)",
        ),
        (Answer::new(200, "{}"), "which sends none"),
        (Answer::new(200, r#"{"token": ""}"#), "which sends none"),
        (Answer::new(200, r#"{"token": "a\nb: c"}"#), "whose token can't be one"),
        (Answer::new(404, ""), "answers with status 404"),
        (Answer::new(200, vec![b'x'; 1 << 19]), "sends more than the 262144 bytes"),
    ] {
        let service = hostile::Registry::changed(false, move |_, _| answer.clone()).unwrap();
        let registry = with_tokens(format!("http://{}/token", service.host()));
        let error = problem(client(None).pull(&reference(&registry, "probe:1"), MOST));
        assert!(error.contains(words), "{words}: {error}");
        assert_eq!(service.asked().len(), 1, "{words}");
    }
}
