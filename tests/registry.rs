//! Policies of a registry, from the command line: pushed, pulled, named in a run, resumed, audited.

use std::path::Path;

use hostile::{Answer, Cosign, Registry};
use serde_json::Value;

use crate::program::{SHORT, alone, json, plugin, text};

/// Exit code, stdout and stderr.
fn host(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = alone(folder)
        .env("REGISTRY_AUTH_FILE", folder.join("no-logins.json"))
        .args(arguments)
        .output()
        .unwrap();
    (output.status.code(), text(&output.stdout).to_owned(), text(&output.stderr).to_owned())
}

fn done(folder: &Path, arguments: &[&str]) -> (String, String) {
    let (code, out, err) = host(folder, arguments);
    assert_eq!(code, Some(0), "{arguments:?}: {out}{err}");
    (out, err)
}

/// The one line of an error, and its exit code.
fn fails(folder: &Path, arguments: &[&str]) -> (i32, String) {
    let (code, _, err) = host(folder, arguments);
    let errors: Vec<_> = err.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "{arguments:?}: {err}");
    (code.unwrap(), errors[0].to_owned())
}

#[test]
fn a_policy_of_a_registry_is_pinned_by_its_run_and_needs_the_registry_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let registry = Registry::start().unwrap();
    let named = format!("oci://{}/team/sft:1.0.0", registry.host());
    let (out, err) = done(here, &["policy", "push", &plugin("sft.wasm"), &named]);
    assert!(err.contains("without a signature"), "{err}");
    let pinned = out.trim().to_owned();
    assert!(pinned.starts_with(&format!("{named}@sha256:")), "{pinned}");

    let run = ["--quiet", "--steps", "4", "--checkpoint-every", "2", "--output", "run"];
    let train = [&SHORT[..], &run, &["--policy", &named]].concat();
    let (_, err) = done(here, &train);
    assert!(err.contains(&format!("note: {named} is sha256:")), "{err}");
    let config = std::fs::read_to_string(here.join("run/config.toml")).unwrap();
    assert!(config.contains(&format!("path = \"{pinned}\"")), "{config}");
    let sha256 = host_sandbox::digest(&std::fs::read(plugin("sft.wasm")).unwrap());
    let manifest = json(&here.join("run/manifest.json"));
    assert_eq!(manifest["policies"][0]["sha256"], sha256);
    assert_eq!(manifest["policies"][0]["file"], pinned);

    // The tag is another policy now, and then its registry is gone.
    done(here, &["policy", "push", &plugin("fixed-kl.wasm"), &named]);
    let (_, err) = done(here, &["policy", "inspect", &named]);
    assert!(err.contains("has moved"), "{err}");
    let (out, err) = done(here, &["policy", "pull", &pinned, "--json"]);
    let pulled: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&pulled["name"], &pulled["sha256"]), (&"sft".into(), &sha256.into()));
    assert!(err.contains("the tag 1.0.0 has moved to sha256:"), "{err}");
    drop(registry);
    done(here, &["audit", "--run", "run"]);
    done(here, &["policy", "inspect", &pinned]);
    done(here, &["policy", "bench", &pinned, "--calls", "2", "--batch", "1"]);
    let cases = plugin("sft/cases");
    done(here, &["policy", "test", &pinned, &cases]);
    std::fs::remove_dir_all(here.join("again")).ok();
    let again = [&SHORT[..], &["--quiet", "--steps", "2", "--output", "again"]].concat();
    done(here, &[&again[..], &["--policy", &pinned]].concat());
    let (code, line) = fails(here, &[&again[..], &["--policy", &named]].concat());
    assert!(code == 1 && line.contains("can't be reached"), "{line}");
    let (_, err) = done(here, &["policy", "inspect", &named, "--offline"]);
    assert!(err.contains("offline: ") && err.contains("is taken as it was"), "{err}");
}

#[test]
fn a_run_goes_on_under_the_pinned_policy_whatever_became_of_the_tag() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let registry = Registry::start().unwrap();
    let named = format!("oci://{}/sft:1", registry.host());
    done(here, &["policy", "push", &plugin("sft.wasm"), &named]);
    let config = format!("[[policy]]\npath = \"{named}\"\n");
    std::fs::write(here.join("host.toml"), config).unwrap();
    let run = ["--quiet", "--steps", "2", "--set", "train.epochs=4", "--output", "run"];
    done(here, &[&SHORT[..], &run, &["--config", "host.toml"]].concat());
    let before = std::fs::read(here.join("run/config.toml")).unwrap();
    assert!(String::from_utf8_lossy(&before).contains("@sha256:"));
    done(here, &["policy", "push", &plugin("fixed-kl.wasm"), &named]);
    let asked = registry.asked().len();
    done(here, &["train", "--quiet", "--resume", "run"]);
    assert_eq!(registry.asked().len(), asked, "a pinned policy that is here asks nobody");
    done(here, &["audit", "--run", "run"]);
}

#[test]
fn signatures_go_with_a_policy_and_are_checked_by_the_rules_of_trust() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let registry = Registry::changed(true, |_, answer| answer).unwrap();
    let named = format!("oci://{}/sft:1", registry.host());
    std::fs::copy(plugin("sft.wasm"), here.join("sft.wasm")).unwrap();
    for key in ["team", "other"] {
        done(here, &["policy", "sign", "sft.wasm", "--key", &format!("{key}.key"), "--new-key"]);
        std::fs::rename(here.join("sft.wasm.minisig"), here.join(format!("{key}.minisig")))
            .unwrap();
    }
    // Unsigned, then signed by another, then by the team: the same manifest all the time.
    let (out, _) = done(here, &["policy", "push", "sft.wasm", &named]);
    let pull = ["policy", "pull", &named, "--signed-by", "team.pub", "-o", "pulled.wasm"];
    let (code, line) = fails(here, &pull);
    assert!(code == 1 && line.contains("the registry has no signature of it"), "{line}");
    std::fs::copy(here.join("other.minisig"), here.join("sft.wasm.minisig")).unwrap();
    assert_eq!(done(here, &["policy", "push", "sft.wasm", &named]).0, out);
    let (_, line) = fails(here, &pull);
    assert!(line.contains("is by key"), "{line}");
    assert!(!here.join("pulled.wasm").exists() && !here.join("pulled.wasm.minisig").exists());
    let train = [&SHORT[..], &["--quiet", "--steps", "2", "--output", "run"]].concat();
    let signed = [&train[..], &["--policy", &named, "--require-signature", "team.pub"]].concat();
    let (_, line) = fails(here, &signed);
    assert!(line.contains("is by key"), "{line}");
    let (code, _) = fails(here, &["policy", "verify", &named, "--key", "team.pub"]);
    assert_eq!(code, 4);

    std::fs::copy(here.join("team.minisig"), here.join("sft.wasm.minisig")).unwrap();
    let (_, err) = done(here, &["policy", "push", "sft.wasm", &named]);
    assert!(err.contains("with a signature by key"), "{err}");
    let (out, err) = done(here, &pull);
    assert!(out.contains("sft ") && out.contains("signed by key"), "{out}");
    assert!(err.contains("wrote pulled.wasm"), "{err}");
    for (pulled, sent) in [("pulled.wasm", "sft.wasm"), ("pulled.wasm.minisig", "team.minisig")] {
        let read = |name: &str| std::fs::read(here.join(name)).unwrap();
        assert!(read(pulled) == read(sent), "{pulled}");
    }
    done(here, &signed);
    done(here, &["policy", "verify", &named, "--key", "team.pub"]);
    let (out, _) = done(here, &["audit", &named, "--signed-by", "team.pub", "--repeats", "5"]);
    assert!(out.contains("valid, by key"), "{out}");
    // Revoked since; and as a configuration has it.
    let sha256 = host_sandbox::digest(&std::fs::read(here.join("sft.wasm")).unwrap());
    std::fs::write(here.join("revoked.txt"), format!("policy {sha256} lets go\n")).unwrap();
    std::fs::write(here.join("trust.toml"), "[trust]\nrevoked = \"revoked.txt\"\n").unwrap();
    let (_, line) = fails(here, &["policy", "pull", &named, "--config", "trust.toml"]);
    assert!(line.contains("was revoked: lets go"), "{line}");
    // Another file of that name stays.
    std::fs::write(here.join("pulled.wasm"), "mine").unwrap();
    let (_, line) = fails(here, &pull);
    assert!(line.contains("exists already"), "{line}");
    assert_eq!(std::fs::read(here.join("pulled.wasm")).unwrap(), b"mine");
}

#[test]
fn signatures_of_cosign_are_checked_wherever_those_of_minisign_are() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let registry = Registry::changed(true, |_, answer| answer).unwrap();
    let named = format!("oci://{}/sft:1", registry.host());
    let pinned = done(here, &["policy", "push", &plugin("sft.wasm"), &named]).0.trim().to_owned();
    let digest = pinned.split_once('@').unwrap().1;
    let (signer, other) = (Cosign::p256().unwrap(), Cosign::p256().unwrap());
    std::fs::write(here.join("cosign.pub"), signer.public()).unwrap();
    std::fs::write(here.join("other.pub"), other.public()).unwrap();
    let train = |key: &str, output: &str| {
        let run = ["--quiet", "--steps", "2", "--set", "train.epochs=4", "--output", output];
        let key = ["--policy", &named, "--require-signature", key];
        [&SHORT[..], &run, &key].concat().into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let words = |list: &[String]| -> Vec<String> { list.to_vec() };
    let run = |list: Vec<String>| done(here, &list.iter().map(String::as_str).collect::<Vec<_>>());
    let refused =
        |list: Vec<String>| fails(here, &list.iter().map(String::as_str).collect::<Vec<_>>());

    let (code, line) = refused(words(&train("cosign.pub", "run")));
    assert!(code == 1 && line.contains("no signature of cosign's of it"), "{line}");
    let statement = Cosign::statement(digest).to_string();
    registry.attach_bundle("sft", digest, &signer.bundle(&statement).unwrap().to_string());
    let (out, _) = done(here, &["policy", "pull", &named]);
    assert!(out.contains("says it is signed by cosign; not checked"), "{out}");
    let (out, _) = done(here, &["policy", "inspect", &named]);
    assert!(out.contains("there is one of cosign"), "{out}");
    let pull = ["policy", "pull", &named, "--signed-by", "cosign.pub", "-o", "sft.wasm"];
    let (out, err) = done(here, &pull);
    assert!(out.contains("signed by key ") && err.contains("none lies beside the file"), "{err}");
    assert!(here.join("sft.wasm").is_file() && !here.join("sft.wasm.minisig").exists());
    // The file by itself has no manifest.
    let (code, line) = fails(here, &["policy", "verify", "sft.wasm", "--key", "cosign.pub"]);
    assert!(code == 4 && line.contains("and this is a file; name it as oci://"), "{line}");
    let (out, _) = done(here, &["policy", "verify", &named, "--key", "cosign.pub", "--json"]);
    let said: Value = serde_json::from_str(&out).unwrap();
    assert!(said["valid"] == true && said["expires"].is_null(), "{said}");
    let key = said["key_id"].as_str().unwrap().to_owned();
    let (code, line) = fails(here, &["policy", "verify", &named, "--key", "other.pub"]);
    assert!(code == 4 && line.contains("isn't by key"), "{line}");
    assert!(refused(train("other.pub", "run")).1.contains("isn't by key"));
    run(train("cosign.pub", "run"));
    let (out, _) = done(here, &["audit", &named, "--signed-by", "cosign.pub", "--repeats", "5"]);
    assert!(out.contains("valid, by key"), "{out}");

    // The registry is gone: the run goes on, and what is here is enough.
    drop(registry);
    done(here, &["train", "--quiet", "--resume", "run"]);
    done(here, &["audit", "--run", "run"]);
    let verify = ["policy", "verify", &pinned, "--key", "cosign.pub", "--offline"];
    done(here, &verify);
    // Taken back: the key by its number, the policy by its digest.
    let sha256 = host_sandbox::digest(&std::fs::read(plugin("sft.wasm")).unwrap());
    for line in [format!("key {key} lost"), format!("policy {sha256} lost")] {
        std::fs::write(here.join("revoked.txt"), line).unwrap();
        let (code, line) = fails(here, &[&verify[..], &["--revoked", "revoked.txt"]].concat());
        assert!(code == 4 && line.contains("was revoked: lost"), "{line}");
    }
}

#[test]
fn a_study_has_arms_of_a_registry_by_their_digests() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let registry = Registry::start().unwrap();
    let named = format!("oci://{}/team/policy:1", registry.host());
    let push =
        |file: &str| done(here, &["policy", "push", &plugin(file), &named]).0.trim().to_owned();
    let pinned = push("fixed-kl.wasm") + ":kl_weight=0.3";
    let arms = format!("sft,{named}:kl_weight=0.3");
    let small = ["--attacks", "10%", "--seeds", "17", "--prompts", "4", "--rows", "64", "--json"];
    let study = [&["study", "--out", "study", "--policies", &arms][..], &small].concat();
    let (out, err) = done(here, &study);
    assert!(err.contains(&format!("note: {named} is sha256:")), "{err}");
    let arms_of = |out: &str| -> Vec<String> {
        let summary: Value = serde_json::from_str(out).unwrap();
        let groups = summary["groups"].as_array().unwrap().iter();
        groups.map(|group| group["policy"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(arms_of(&out), ["sft", &pinned]);
    let cells = || {
        let runs = std::fs::read_dir(here.join("study/runs")).unwrap();
        let names = runs.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with(".cell.json")).collect::<Vec<_>>()
    };
    let own = cells().into_iter().find(|name| name.contains("team_policy_1_")).unwrap();
    let cell = json(&here.join("study/runs").join(&own));
    assert_eq!(cell["arm"], pinned);
    let run = here.join("study/runs").join(own.trim_end_matches(".cell.json"));
    let config = std::fs::read_to_string(run.join("config.toml")).unwrap();
    assert!(config.contains(&pinned.replace(":kl_weight=0.3", "")), "{config}");
    let page = std::fs::read_to_string(here.join("study/summary.md")).unwrap();
    assert!(page.contains("team/policy:1@") && !page.contains("oci://"), "{page}");
    // The tag is another policy now, and so another arm.
    let other = push("sft.wasm");
    let again = [&["study", "--out", "study", "--policies", &named][..], &small].concat();
    assert_eq!(arms_of(&done(here, &again).0), [&other, &pinned, "sft"]);
    // Without its registry the study goes on from what is here.
    drop(registry);
    let (code, line) = fails(here, &again);
    assert!(code == 1 && line.contains("can't be reached"), "{line}");
    let (out, err) = done(here, &[&again[..], &["--offline"]].concat());
    assert_eq!(arms_of(&out).len(), 3);
    assert!(err.contains("is taken as it was"), "{err}");
    assert_eq!(cells().len(), 3);
}

#[test]
fn a_command_asks_for_one_token() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::changed(true, |asked, answer| {
        if asked.path.starts_with("/token") {
            return Answer::new(200, r#"{"token": "t"}"#);
        }
        let host = &asked.headers["host"];
        let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"x\"");
        match asked.headers.get("authorization") {
            Some(_) => answer,
            None => Answer::new(401, "").with("www-authenticate", challenge),
        }
    })
    .unwrap();
    let named = format!("oci://{}/sft:1", registry.host());
    let tokens = || registry.asked().iter().filter(|it| it.path.starts_with("/token")).count();
    done(folder.path(), &["policy", "push", &plugin("sft.wasm"), &named]);
    for (command, arguments) in [("pull", &[][..]), ("inspect", &["--signed-by", "key.pub"])] {
        let before = tokens();
        let sft = folder.path().join("sft.wasm");
        std::fs::copy(plugin("sft.wasm"), &sft).unwrap();
        let key = ["policy", "sign", "sft.wasm", "--key", "key.key", "--new-key"];
        if !folder.path().join("key.pub").exists() {
            done(folder.path(), &key);
        }
        done(folder.path(), &[&["policy", command, &named], arguments].concat());
        assert_eq!(tokens() - before, 1, "{command}");
    }
}

#[test]
fn what_is_no_policy_of_a_registry_is_told_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let registry = Registry::start().unwrap();
    let at = |rest: &str| format!("oci://{}/{rest}", registry.host());
    std::fs::write(here.join("x.txt"), "x").unwrap();
    let fails = |arguments: &[&str], words: &str| {
        let (_, line) = self::fails(here, arguments);
        assert!(line.contains(words), "{line}");
    };
    fails(&["policy", "inspect", &at("absent:1")], "there is no such policy in the registry");
    fails(&["policy", "inspect", &at("Absent:1")], "write oci://REGISTRY/NAME:TAG");
    fails(&["policy", "inspect", &at("absent")], "names neither a tag nor a digest");
    fails(&["policy", "test", &at("absent:1")], "name the folder with them as well");
    fails(&["policy", "pull", "x.txt"], "is no name in a registry");
    fails(&["policy", "push", "x.txt", &at("x:1")], "it is not WebAssembly");
    fails(&["policy", "push", &at("x:1"), &at("x:2")], "is in a registry; pull it to a file");
    fails(&["policy", "sign", &at("x:1")], "is in a registry; pull it to a file");
    let sft = plugin("sft.wasm");
    fails(&["policy", "push", &sft, &at("x")], "names no tag; add one");
    // Trusted no further than a file: it is looked into like one.
    let core = wat::parse_str("(module)").unwrap();
    let layer = host_sandbox::digest(&core);
    registry.keep(&core);
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": kind,
        "config": {"mediaType": "application/vnd.wasm.config.v0+json", "digest": format!("sha256:{layer}"), "size": 2},
        "layers": [{"mediaType": "application/wasm", "digest": format!("sha256:{layer}"), "size": core.len()}],
    });
    registry.put("core", "1", kind, manifest.to_string().as_bytes());
    fails(
        &["policy", "inspect", &at("core:1")],
        "it is a WebAssembly core module, not a component",
    );
    assert!(!here.join("x.wasm").exists());
}

#[test]
fn the_contract_is_sent_as_a_package_that_component_tools_read() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::start().unwrap();
    let named = format!("oci://{}/risk/policy:0.2.0", registry.host());
    let wit = crate::program::root().join("wit/v0.2");
    let (_, err) = done(folder.path(), &["policy", "push", "--wit", wit.to_str().unwrap(), &named]);
    assert!(err.contains("as a package of WIT"), "{err}");
    let sent = registry.asked().into_iter().find(|it| it.body.starts_with(b"\0asm")).unwrap();
    let wit_component::DecodedWasm::WitPackage(resolve, id) =
        wit_component::decode(&sent.body).unwrap()
    else {
        panic!("a package");
    };
    assert_eq!(resolve.packages[id].name.to_string(), "risk:policy@0.2.0");
    assert!(resolve.packages[id].worlds.contains_key("policy"));
    let manifest = registry.asked().into_iter().rfind(|it| it.path.ends_with("/manifests/0.2.0"));
    let manifest: Value = serde_json::from_slice(&manifest.unwrap().body).unwrap();
    assert_eq!(manifest["config"]["mediaType"], "application/vnd.wasm.config.v0+json");
    assert_eq!(manifest["annotations"]["org.opencontainers.image.version"], "0.2.0");
    // No policy, though a component.
    let (_, line) = fails(folder.path(), &["policy", "inspect", &named]);
    assert!(line.contains("so it is no policy"), "{line}");
}
