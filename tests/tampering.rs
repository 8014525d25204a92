//! What runs is what was signed and what was compiled: signatures of policies, and the
//! cache of compiled ones.

use crate::program::{alone, plugin, train};

#[test]
fn only_policies_signed_by_the_named_key_are_run() {
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("mine.wasm");
    std::fs::copy(plugin("fixed-kl.wasm"), &policy).unwrap();
    let sign = |key: &str| {
        alone(&folder).args(["policy", "sign", "mine.wasm", "--key", key]).assert().success();
    };
    let verify = |key: &str| {
        let arguments = ["policy", "verify", "mine.wasm", "--key", key];
        alone(&folder).args(arguments).output().unwrap().status.code()
    };
    let run = |name: &str, key: &str| {
        let required = ["--require-signature", key, "--steps", "1"];
        let output = train(&folder, name, &[&["--policy", "mine.wasm"], &required[..]].concat());
        let stderr = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), stderr.lines().last().unwrap_or("").to_owned())
    };
    sign("other.key");
    std::fs::remove_file(folder.path().join("mine.wasm.minisig")).unwrap();
    sign("team.key");
    assert_eq!(verify("team.pub"), Some(0));
    assert_eq!(verify("other.pub"), Some(4));
    assert_eq!(run("signed", "team.pub").0, Some(0));
    let (code, stderr) = run("another", "other.pub");
    assert_eq!(code, Some(1));
    assert!(stderr.contains("mine.wasm: its signature is by key"), "{stderr}");

    let mut bytes = std::fs::read(&policy).unwrap();
    bytes.extend([0, 2, 1, b'x']);
    std::fs::write(&policy, bytes).unwrap();
    let (code, stderr) = run("changed", "team.pub");
    assert_eq!(code, Some(1));
    assert!(stderr.contains("changed after it was signed"), "{stderr}");
    assert!(!folder.path().join("changed").exists());
    std::fs::remove_file(folder.path().join("mine.wasm.minisig")).unwrap();
    let (code, stderr) = run("unsigned", "team.pub");
    assert_eq!(code, Some(1));
    assert!(stderr.contains("host policy sign"), "{stderr}");
    assert_eq!(run("no-key", "nobody.pub").0, Some(1));
}

#[test]
fn a_compiled_policy_that_was_tampered_with_is_compiled_again() {
    let folder = tempfile::tempdir().unwrap();
    let fixed = plugin("fixed-kl.wasm");
    let run = |name: &str| {
        let output = train(&folder, name, &["--policy", &fixed, "--steps", "1"]);
        assert!(output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(!run("first").contains("compiled again"));
    let cache = folder.path().join("cache/host/policies");
    let entry = std::fs::read_dir(&cache).unwrap().next().unwrap().unwrap().path();
    assert!(!run("second").contains("compiled again"));
    let genuine = std::fs::read(&entry).unwrap();
    let mut tampered = genuine.clone();
    let middle = tampered.len() / 2;
    tampered[middle] ^= 0xff;
    std::fs::write(&entry, &tampered).unwrap();
    assert!(run("third").contains("changed by someone else"));
    assert_eq!(std::fs::read_dir(&cache).unwrap().count(), 1);
    assert!(!run("fourth").contains("compiled again"), "a good entry is back");
}
