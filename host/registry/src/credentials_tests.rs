#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn at(text: &str, registry: &str, repository: &str) -> Result<Option<Login>, String> {
    let here = tempfile::tempdir().unwrap();
    let file = here.path().join("config.json");
    fs::write(&file, text).unwrap();
    let places = [here.path().join("absent.json"), file];
    Ok(find(&places, registry, repository)?.map(|found| found.login))
}

fn password(user: &str, password: &str) -> Option<Login> {
    Some(Login::Password { user: user.into(), password: password.into() })
}

#[test]
fn logins_are_found_by_host_and_by_the_nearest_repository() {
    let of = |text: &str| STANDARD.encode(text);
    let text = format!(
        r#"{{"auths": {{
            "registry.example": {{"auth": "{}"}},
            "registry.example/team": {{"auth": "{}"}},
            "https://index.docker.io/v1/": {{"username": "d", "password": "e"}},
            "localhost:5000": {{"identitytoken": "t"}},
            "empty.example": {{}}
        }}, "other": 1}}"#,
        of("a:b:c"),
        of("team:x\0\0"),
    );
    let find = |registry, repository| at(&text, registry, repository).unwrap();
    assert!(find("registry.example", "probe") == password("a", "b:c"));
    assert!(find("registry.example", "team/probe") == password("team", "x"));
    assert!(find("registry.example", "teams/probe") == password("a", "b:c"));
    assert!(find("docker.io", "library/probe") == password("d", "e"));
    assert!(find("localhost:5000", "a") == Some(Login::Identity("t".into())));
    for other in ["localhost", "example", "registry.example.org", "empty.example"] {
        assert!(find(other, "team").is_none(), "{other}");
    }
    assert_eq!(
        find("registry.example", "p").unwrap().basic().unwrap(),
        format!("Basic {}", of("a:b:c"))
    );
}

#[test]
fn a_file_that_is_none_is_told_without_what_is_in_it() {
    for text in ["secret", r#"{"auths": {"r.example": "secret"}}"#] {
        let error = at(text, "r.example", "p").err().unwrap();
        assert!(error.contains("config.json: is no file of logins"), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
    let error = at(r#"{"auths": {"r.example": {"auth": "!"}}}"#, "r.example", "p").err().unwrap();
    assert!(error.contains("log in again"), "{error}");
}

#[test]
fn a_helper_is_asked_if_nobody_else_can_have_named_it() {
    let here = tempfile::tempdir().unwrap();
    let file = here.path().join("config.json");
    let write = |helper: &str| {
        let text = format!(r#"{{"credHelpers": {{"r.example": "{helper}"}}}}"#);
        fs::write(&file, text).unwrap();
    };
    let find = || find(std::slice::from_ref(&file), "r.example", "p");
    for odd in ["../../x", "a b", ""] {
        write(odd);
        assert!(find().err().unwrap().contains("can't be one"), "{odd}");
    }
    write("that-nobody-has");
    let error = find().err().unwrap();
    assert!(error.contains("docker-credential-that-nobody-has, which can't be run"), "{error}");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    assert!(find().err().unwrap().contains("chmod go-w"));
}
