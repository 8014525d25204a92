//! What an audit says of a run covers what the run left, and nobody who can write to its folder
//! gets its owner to sign anything.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;
use tempfile::TempDir;

use crate::program::{alone, json, lines, plugin, text, trained};

/// A run of four steps, with answers and a checkpoint of each step.
fn left(folder: &TempDir, name: &str, more: &[&str]) -> PathBuf {
    let policy = plugin("fixed-kl.wasm");
    let own = ["train", "--quiet", "--no-baseline", "--policy", &policy, "--eval-limit", "2"];
    let steps = ["--batch", "2", "--steps", "4", "--checkpoint-every", "1"];
    let kept = ["--set", "checkpoints.keep=20", "--output", name];
    let arguments = [&own[..], &steps, &kept, more].concat();
    let output = alone(folder).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    folder.path().join(name)
}

fn audit(folder: &TempDir, run: &str) -> (Option<i32>, String) {
    let key = "config/host/host.pub";
    let output = alone(folder).args(["audit", "--run", run, "--key", key]).output().unwrap();
    (output.status.code(), text(&output.stdout).to_owned())
}

fn resume(folder: &TempDir, run: &str) -> Output {
    alone(folder).args(["train", "--quiet", "--resume", run]).output().unwrap()
}

#[track_caller]
fn refused(folder: &TempDir, run: &str, part: &str) {
    refused_with(folder, run, 1, part);
}

#[track_caller]
fn refused_with(folder: &TempDir, run: &str, code: i32, part: &str) {
    let output = resume(folder, run);
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{told}");
    assert!(told.contains(part) && told.trim_end().lines().count() == 1, "{part:?} in {told}");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
        if path.is_dir() {
            copy(&path, &to.join(name));
        } else {
            fs::copy(&path, to.join(name)).unwrap();
        }
    }
}

/// As if it had been killed after step 2, by all that is left.
fn cut(folder: &TempDir, from: &Path, name: &str) -> PathBuf {
    let run = folder.path().join(name);
    copy(from, &run);
    for step in 3..=4 {
        fs::remove_dir_all(run.join(format!("checkpoints/step-{step:06}"))).unwrap();
    }
    fs::remove_file(run.join("stages.json")).unwrap();
    fs::remove_file(run.join("generations.jsonl")).unwrap();
    run
}

const ADAPTER: &str = "adapter/adapter_model.safetensors";

#[test]
fn an_audit_covers_every_file_that_a_run_left() {
    let folder = tempfile::tempdir().unwrap();
    let run = left(&folder, "run", &[]);
    let other = left(&folder, "other", &["--seed", "5"]);
    let (code, said) = audit(&folder, "run");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("4 of 4 steps") && said.contains("the run finished"), "{said}");
    let identity = &lines(&run.join("journal/records.jsonl"))[0]["entry"]["identity"];
    for part in ["config", "program", "model", "tokenizer", "policy.0", "data.0", "eval.harmful.0"]
    {
        assert_eq!(identity["parts"][part].as_str().map(str::len), Some(64), "{part}");
    }
    let found = |what: &str, part: &str| {
        let (code, said) = audit(&folder, "run");
        assert_eq!(code, Some(4), "{what}: {said}");
        assert!(said.contains(part) && said.contains("FAILED"), "{what}: {part:?} in {said}");
    };
    for name in [
        ADAPTER,
        "adapter/adapter_config.json",
        "metrics.jsonl",
        "generations.jsonl",
        "report.json",
        "manifest.json",
        "config.toml",
        "stages.json",
    ] {
        let genuine = fs::read(run.join(name)).unwrap();
        fs::copy(other.join(name), run.join(name)).unwrap();
        if fs::read(run.join(name)).unwrap() == genuine {
            // Of either run.
            fs::write(run.join(name), "{}").unwrap();
        }
        found(name, if name == "stages.json" { "different runs" } else { name });
        let mut changed = genuine.clone();
        let middle = changed.len() / 2;
        changed[middle] ^= 1;
        fs::write(run.join(name), changed).unwrap();
        found(name, name);
        fs::remove_file(run.join(name)).unwrap();
        found(name, name);
        symlink(other.join(name), run.join(name)).unwrap();
        found(name, name);
        fs::remove_file(run.join(name)).unwrap();
        fs::write(run.join(name), genuine).unwrap();
    }
    let stray = run.join("adapter/adapter_model.bin");
    fs::write(&stray, "x").unwrap();
    found("another adapter beside it", "adapter_model.bin is not of the run");
    fs::remove_file(stray).unwrap();
    // The journal of another run, and one of the same run that ended earlier.
    fs::rename(run.join("journal"), folder.path().join("own")).unwrap();
    copy(&other.join("journal"), &run.join("journal"));
    found("another journal", "different runs");
    fs::remove_dir_all(run.join("journal")).unwrap();
    fs::rename(folder.path().join("own"), run.join("journal")).unwrap();
    assert_eq!(audit(&folder, "run").0, Some(0));
    // What lies about besides is nobody's business, and a journal alone shows no result.
    fs::write(run.join("notes.txt"), "mine").unwrap();
    assert_eq!(audit(&folder, "run").0, Some(0));
    let (code, said) = audit(&folder, "run/journal");
    assert_eq!(code, Some(5), "{said}");
    assert!(said.contains("UNPROVEN: only the journal was named"), "{said}");
}

#[test]
fn a_run_that_goes_on_again_is_signed_only_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let run = left(&folder, "run", &[]);
    let signed = fs::read(run.join("stages.json")).unwrap();
    for (name, part) in [
        (ADAPTER, "is not what it was when the run left it"),
        ("generations.jsonl", "is not what it was when the run left it"),
        ("stages.json", "does not vouch for this run"),
    ] {
        let genuine = fs::read(run.join(name)).unwrap();
        let mut changed = genuine.clone();
        let last = changed.len() - 9;
        changed[last] ^= 1;
        fs::write(run.join(name), changed).unwrap();
        refused(&folder, "run", part);
        fs::write(run.join(name), genuine).unwrap();
    }
    let config = fs::read_to_string(run.join("config.toml")).unwrap();
    fs::write(run.join("config.toml"), config.replace("warmup = 0.", "warmup = 0.9")).unwrap();
    refused(&folder, "run", "config is not what it was when the run began");
    fs::write(run.join("config.toml"), config).unwrap();
    assert_eq!(fs::read(run.join("stages.json")).unwrap(), signed);
    assert!(resume(&folder, "run").status.success());
    assert_eq!(audit(&folder, "run").0, Some(0));
}

#[test]
fn forged_checkpoints_and_records_are_not_gone_on_from() {
    let folder = tempfile::tempdir().unwrap();
    let whole = left(&folder, "whole", &[]);
    let same = |run: &Path| {
        let read = |run: &Path, name: &str| fs::read(run.join(name)).unwrap();
        assert!(read(run, ADAPTER) == read(&whole, ADAPTER));
        let records = "journal/records.jsonl";
        assert!(read(run, records) == read(&whole, records));
    };
    let run = cut(&folder, &whole, "forged");
    forge(&run.join("checkpoints/step-000002"));
    let output = resume(&folder, "forged");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let told = json(&run.join("manifest.json"))["notices"].to_string();
    assert!(told.contains("does not fit") && told.contains("set aside"), "{told}");
    same(&run);
    assert_eq!(audit(&folder, "forged").0, Some(0));

    let run = cut(&folder, &whole, "all-forged");
    let records = fs::read(run.join("journal/records.jsonl")).unwrap();
    for step in 1..=2 {
        forge(&run.join(format!("checkpoints/step-{step:06}")));
    }
    refused(&folder, "all-forged", "carries the signature of key");
    assert_eq!(fs::read(run.join("journal/records.jsonl")).unwrap(), records);

    let run = cut(&folder, &whole, "record");
    let path = run.join("journal/records.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("\"kl_weight\":[0.", "\"kl_weight\":[0.0", 1)).unwrap();
    refused(&folder, "record", "damaged or cut short");
    assert_eq!(audit(&folder, "record").0, Some(4));
}

/// Puts other parameters into a checkpoint, and their digest into its manifest.
fn forge(checkpoint: &Path) {
    let (tensors, manifest) =
        (checkpoint.join("tensors.safetensors"), checkpoint.join("manifest.json"));
    let mut bytes = fs::read(&tensors).unwrap();
    let before = host_files::sha256::hex(&bytes);
    let last = bytes.len() - 1;
    bytes[last] ^= 0x40;
    fs::write(&tensors, &bytes).unwrap();
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replace(&before, &host_files::sha256::hex(&bytes))).unwrap();
}

#[test]
fn nothing_of_a_run_is_written_through_a_link_or_is_anybody_elses() {
    let folder = tempfile::tempdir().unwrap();
    let whole = left(&folder, "whole", &[]);
    let open: Vec<PathBuf> = walk(&whole)
        .into_iter()
        .filter(|path| fs::metadata(path).unwrap().mode() & 0o077 != 0)
        .collect();
    assert!(open.is_empty(), "{open:?}");
    let victim = folder.path().join("victim");
    fs::write(&victim, vec![b'x'; 100_000]).unwrap();
    for name in ["metrics.jsonl", "journal/records.jsonl", "journal/tensors.bin"] {
        for hard in [false, true] {
            let run = cut(&folder, &whole, "linked");
            fs::remove_file(run.join(name)).unwrap();
            if hard {
                fs::hard_link(&victim, run.join(name)).unwrap();
            } else {
                symlink(&victim, run.join(name)).unwrap();
            }
            refused(&folder, "linked", "link");
            assert_eq!(fs::metadata(&victim).unwrap().len(), 100_000, "{name}");
            fs::remove_dir_all(run).unwrap();
        }
    }
    let run = cut(&folder, &whole, "shared");
    fs::set_permissions(&run, fs::Permissions::from_mode(0o777)).unwrap();
    refused(&folder, "shared", "chmod -R go-w");
    fs::set_permissions(&run, fs::Permissions::from_mode(0o700)).unwrap();
    assert!(resume(&folder, "shared").status.success());
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![folder.to_owned()];
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(walk(&path));
        } else {
            found.push(path);
        }
    }
    found
}

#[test]
fn a_replay_has_the_limits_of_its_run() {
    let folder = tempfile::tempdir().unwrap();
    let policy = plugin("probe.wasm");
    let less = ["--policy", &policy, "--steps", "2", "--set", "limits.text_characters=20"];
    trained(&folder, "less", &less);
    let (code, said) = audit(&folder, "less");
    assert_eq!(code, Some(0), "{said}");
    let more = ["--policy", &policy, "--steps", "2", "--set", "limits.reasons=5000"];
    trained(&folder, "more", &more);
    let output = alone(&folder).args(["audit", "--run", "more"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let advice = "--set limits.reasons=5000";
    assert!(text(&output.stderr).contains(advice), "{}", text(&output.stderr));
    let output = alone(&folder)
        .args(["audit", "--json", "--run", "more"])
        .args(advice.split(' '))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&report["verdict"], &report["result"]["ended"]),
        (&"passed".into(), &"finished".into())
    );
    assert_eq!(json(&folder.path().join("more/manifest.json"))["status"], "finished");
}

/// As an authority would answer, made by `openssl ts` with keys of its own.
#[test]
fn an_authority_says_when_it_saw_a_run() {
    let folder = tempfile::tempdir().unwrap();
    left(&folder, "run", &[]);
    let host = |arguments: &[&str]| {
        let output = alone(&folder).args(["audit", "--run"]).args(arguments).output();
        let output = output.unwrap();
        let all = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(all).unwrap())
    };
    let (code, said) = host(&["run", "--timestamp-query", "run.tsq"]);
    assert!(code == Some(0) && said.contains("wrote run.tsq"), "{said}");
    let certified = ["run", "--timestamp", "run.tsr", "--timestamp-ca", "root.pem"];
    let (code, said) = host(&certified);
    assert!(code == Some(1) && said.contains("root.pem"), "{said}");
    if !authority(folder.path()) {
        eprintln!("skipped: there is no openssl");
        return;
    }
    let (code, said) = host(&certified);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("CN=Authority saw the run as it is at 2"), "{said}");
    let (code, said) = host(&["run", "--timestamp", "run.tsr", "--timestamp-ca", "authority.pem"]);
    assert!(code == Some(4) && said.contains("nobody whom the named certificates"), "{said}");
    left(&folder, "other", &["--seed", "5"]);
    let (code, said) = host(&["other", "--timestamp", "run.tsr", "--timestamp-ca", "root.pem"]);
    assert!(code == Some(4) && said.contains("! the timestamp is of other content"), "{said}");
    let (code, said) = host(&["run", "--timestamp", "run.tsq", "--timestamp-ca", "root.pem"]);
    assert!(code == Some(4) && said.contains("is no RFC 3161 timestamp"), "{said}");
    let (code, _) = host(&["run", "--timestamp", "run.tsr"]);
    assert_eq!(code, Some(2));
}

/// Answers run.tsq by run.tsr, under root.pem. False without openssl.
fn authority(folder: &Path) -> bool {
    let configuration = "[req]\ndistinguished_name=dn\nx509_extensions=root\nprompt=no\n\
        [dn]\nCN=Root\n[root]\nbasicConstraints=critical,CA:TRUE\n\
        [use]\nextendedKeyUsage=critical,timeStamping\n[tsa]\ndefault_tsa=t\n\
        [t]\nserial=./serial\nsigner_digest=sha256\ndefault_policy=1.2.3\ndigests=sha256\n";
    fs::write(folder.join("ts.cnf"), configuration).unwrap();
    let openssl = |arguments: &str| {
        let mut openssl = std::process::Command::new("openssl");
        openssl.current_dir(folder).args(arguments.split(' ')).output()
    };
    if openssl("version").is_err() {
        return false;
    }
    let key = "-newkey rsa:2048 -nodes -config ts.cnf";
    for arguments in [
        &format!("req -x509 {key} -keyout root.key -out root.pem -days 30"),
        &format!("req -new {key} -keyout authority.key -out authority.csr -subj /CN=Authority"),
        "x509 -req -in authority.csr -CA root.pem -CAkey root.key -set_serial 7 -days 30 \
         -extfile ts.cnf -extensions use -out authority.pem",
        "ts -reply -queryfile run.tsq -signer authority.pem -inkey authority.key -config ts.cnf \
         -section t -out run.tsr",
    ] {
        let output = openssl(arguments).unwrap();
        assert!(output.status.success(), "{arguments}: {}", text(&output.stderr));
    }
    true
}

#[test]
fn a_model_that_is_another_one_by_now_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let run = left(&folder, "run", &[]);
    let told = || {
        let arguments = ["eval", "--run", "run", "--eval-limit", "1"];
        let output = alone(&folder).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stderr).contains("trained on a model with another digest")
    };
    assert!(!told());
    let manifest = run.join("manifest.json");
    let digest = json(&manifest)["model"]["sha256"].as_str().unwrap().to_owned();
    let changed = fs::read_to_string(&manifest).unwrap().replace(&digest, &"0".repeat(64));
    fs::write(&manifest, changed).unwrap();
    assert!(told());
}

#[test]
fn the_key_of_a_run_is_named_by_who_goes_on_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let policy = plugin("fixed-kl.wasm");
    fs::copy(&policy, folder.path().join("mine.wasm")).unwrap();
    let sign = ["policy", "sign", "mine.wasm", "--new-key", "--key", "team.key"];
    assert!(alone(&folder).args(sign).output().unwrap().status.success());
    let key = ["--key", "team.key"];
    left(&folder, "run", &key);
    refused_with(&folder, "run", 2, "go on with --key team.key");
    let again = ["train", "--quiet", "--resume", "run"];
    assert!(alone(&folder).args(again).args(key).output().unwrap().status.success());
    // A key of one's own that the folder alone names, as one that came with it would be.
    let other = left(&folder, "other", &[]);
    let config = fs::read_to_string(other.join("config.toml")).unwrap();
    assert!(config.contains("[journal]\n"), "{config}");
    let named = config.replace("[journal]\n", "[journal]\nkey = \"team.key\"\n");
    fs::write(other.join("config.toml"), named).unwrap();
    refused_with(&folder, "other", 2, "may be anybody's");
}
