//! Policies that come with the program, named `builtin:NAME`.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::program::{json, plugins, run, text};

fn list(arguments: &[&str], folder: &std::path::Path) -> Value {
    let output = run(folder, &[&["policy", "list", "--json"], arguments].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn every_shipped_policy_comes_with_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let listed = list(&["--output", "out"], folder.path());
    let rows = listed.as_array().unwrap();
    let names: BTreeSet<String> =
        rows.iter().map(|row| row["policy"].as_str().unwrap().replace("builtin:", "")).collect();
    let files = plugins().read_dir().unwrap().map(|entry| entry.unwrap().path());
    let shipped: BTreeSet<String> = files
        .filter(|path| path.extension().is_some_and(|end| end == "wasm"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, shipped);
    let sums = std::fs::read_to_string(plugins().join("SHA256SUMS")).unwrap();
    for row in rows {
        assert!(sums.contains(row["sha256"].as_str().unwrap()), "{row}");
    }
    for name in &names {
        let file = format!("{name}.wasm");
        let written = std::fs::read(folder.path().join("out").join(&file)).unwrap();
        assert!(written == std::fs::read(plugins().join(&file)).unwrap(), "{name}");
    }
    let table = run(folder.path(), &["policy", "list"]);
    assert!(text(&table.stdout).contains("builtin:probe"), "{}", text(&table.stdout));
}

#[test]
fn a_run_under_one_is_trained_resumed_audited_and_inspected_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let here = |arguments: &[&str], code: i32| {
        let output = run(folder.path(), arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?} {}", text(&output.stderr));
        format!("{}{}", text(&output.stdout), text(&output.stderr))
    };
    let train = ["train", "--policy", "builtin:probe", "--steps", "4", "--no-baseline", "--quiet"];
    here(&[&train[..], &["--output", "named"]].concat(), 0);
    let file = plugins().join("probe.wasm").display().to_string();
    let filed = ["train", "--policy", &file, "--steps", "4", "--no-baseline", "--quiet"];
    here(&[&filed[..], &["--output", "filed"]].concat(), 0);
    let digest = |run: &str| {
        json(&folder.path().join(run).join("manifest.json"))["policies"][0]["sha256"].clone()
    };
    assert_eq!(digest("named"), digest("filed"));
    here(&["audit", "--run", "named"], 0);
    here(&["train", "--resume", "named"], 0);
    here(&["calibrate", "--policy", "builtin:probe", "--output", "probe.json"], 0);
    here(&["audit", "builtin:fixed-kl"], 0);
    assert!(here(&["policy", "inspect", "builtin:judge"], 0).contains("judge"));
    let typo = here(&["train", "--policy", "builtin:prob", "--output", "typo"], 1);
    assert!(typo.contains("the nearest is builtin:probe; host policy list"), "{typo}");
    assert!(!folder.path().join("typo").exists());
    // A digest can be pinned, a signature lies beside a file only.
    let sign = here(&["policy", "sign", "builtin:probe"], 1);
    assert!(sign.contains("host policy list --output DIR"), "{sign}");
    let pinned =
        ["--set", "policy.sha256=0000000000000000000000000000000000000000000000000000000000000000"];
    let wrong = here(&[&train[..], &["--output", "pinned"], &pinned].concat(), 1);
    assert!(wrong.contains("is pinned"), "{wrong}");
}
