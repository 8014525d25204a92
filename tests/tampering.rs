//! What runs is what was signed and what was compiled: signatures of policies, and the
//! cache of compiled ones.

use crate::program::{alone, plugin, train};

#[test]
fn only_policies_signed_by_the_named_key_are_run() {
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("mine.wasm");
    std::fs::copy(plugin("fixed-kl.wasm"), &policy).unwrap();
    let sign = |key: &str| {
        let arguments = ["policy", "sign", "mine.wasm", "--new-key", "--key", key];
        alone(&folder).args(arguments).assert().success();
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

#[test]
fn a_signature_is_of_a_policy_with_its_name_and_its_days_until_it_is_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("mine.wasm");
    std::fs::copy(plugin("fixed-kl.wasm"), &policy).unwrap();
    let run = |arguments: &[&str]| {
        let output = alone(&folder).arg("policy").args(arguments).output().unwrap();
        let all = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(all).unwrap())
    };
    // A misspelt key makes none.
    let sign = ["sign", "mine.wasm", "--key", "team.key"];
    let (code, said) = run(&sign);
    assert!(code == Some(1) && said.contains("--new-key"), "{said}");
    assert!(!folder.path().join("team.key").exists());
    assert_eq!(run(&[&sign[..], &["--new-key"]].concat()).0, Some(0));
    let (code, said) = run(&[&sign[..], &["--new-key"]].concat());
    assert!(code == Some(1) && said.contains("leave --new-key out"), "{said}");
    let (code, said) = run(&["verify", "mine.wasm", "--key", "team.pub"]);
    assert!(code == Some(0) && said.contains("fixed-kl") && said.contains("until"), "{said}");
    // Nothing but a policy, whatever it says.
    std::fs::write(folder.path().join("head"), "risk-journal 2 records 1 head 00").unwrap();
    std::fs::write(folder.path().join("head.wasm"), b"\0asm, or so").unwrap();
    for file in ["head", "head.wasm", "team.pub"] {
        let (code, said) = run(&["sign", file, "--key", "team.key"]);
        assert!(code == Some(1) && said.starts_with("error: policy"), "{said}");
        assert!(!folder.path().join(format!("{file}.minisig")).exists());
    }
    let (code, said) = run(&[&sign[..], &["--expires", "2020-01-01"]].concat());
    assert!(code == Some(2) && said.contains("over already"), "{said}");
    // Taken back, by the file and by the key.
    let digest = host_files::sha256::hex(std::fs::read(&policy).unwrap());
    let public = std::fs::read_to_string(folder.path().join("team.pub")).unwrap();
    let number = public.lines().next().unwrap().rsplit(' ').next().unwrap().to_owned();
    let list = folder.path().join("revoked.txt");
    for (line, what) in [
        (format!("policy {digest} lets go"), "this file"),
        (format!("key {number} lost"), "the key"),
    ] {
        std::fs::write(&list, line).unwrap();
        let verify = ["verify", "mine.wasm", "--key", "team.pub", "--revoked", "revoked.txt"];
        let (code, said) = run(&verify);
        assert!(code == Some(4) && said.contains(what) && said.contains("revoked"), "{said}");
        let set = ["--require-signature", "team.pub", "--set", "trust.revoked=\"revoked.txt\""];
        let output = train(&folder, "run", &[&["--policy", "mine.wasm"], &set[..]].concat());
        assert_eq!(output.status.code(), Some(1));
        assert!(!folder.path().join("run").exists());
    }
    std::fs::write(&list, "polizy x").unwrap();
    let (code, said) =
        run(&["verify", "mine.wasm", "--key", "team.pub", "--revoked", "revoked.txt"]);
    assert!(code == Some(1) && said.contains("line 1"), "{said}");
}
