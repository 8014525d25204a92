//! Trackers are told of a run while it goes on, and change nothing about it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::event_file::{inner, numbers, records, step};
use crate::program::{SHORT, alone, json, lines, signal, start, text, trained};

/// All event files of a training, in the order in which TensorBoard reads them.
fn event_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// What TensorBoard shows of a training: each number once by tag and step, without what a later
/// file says is void. A number that is there twice is an error.
fn shown(folder: &Path) -> BTreeMap<(String, u64), f32> {
    let mut shown = BTreeMap::new();
    for file in event_files(folder) {
        for record in records(&file) {
            if inner(&record, 7).is_some() {
                shown.retain(|(_, at), _| *at < step(&record));
            }
            for (step, tag, value) in numbers(&[record]) {
                let twice = shown.insert((tag.clone(), step), value);
                assert_eq!(twice, None, "{tag} of step {step}");
            }
        }
    }
    shown
}

/// Every number of metrics.jsonl, as TensorBoard gets it.
fn measured(metrics: &Path) -> BTreeMap<(String, u64), f32> {
    let mut measured = BTreeMap::new();
    for line in lines(metrics) {
        let step = line["step"].as_u64().unwrap();
        for (name, value) in line.as_object().unwrap().iter().filter(|(name, _)| *name != "step") {
            let value = value.as_f64().map(|value| value as f32);
            measured.extend(value.map(|value| ((format!("train/{name}"), step), value)));
        }
    }
    measured
}

#[test]
fn tensorboard_gets_every_number_of_both_trainings_and_what_was_measured() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = [
        "train",
        "--policy",
        "builtin:fixed-kl",
        "--steps",
        "3",
        "--eval-limit",
        "2",
        "--quiet",
        "--track",
        "tensorboard",
        "--output",
        "run",
    ];
    let output = alone(&folder).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let run = folder.path().join("run");
    let report = json(&run.join("report.json"));
    for (arm, metrics, after) in [
        ("plain", "baseline/metrics.jsonl", "baseline_after"),
        ("policy", "metrics.jsonl", "after"),
    ] {
        let mut shown = shown(&run.join("tensorboard").join(arm));
        for (name, value) in measured(&run.join(metrics)) {
            assert_eq!(shown.remove(&name), Some(value), "{arm}: {name:?}");
        }
        for (step, evaluation) in [(0, "before"), (3, after)] {
            let share = report[evaluation]["refusal"]["share"].as_f64().unwrap() as f32;
            assert_eq!(shown.remove(&("eval/refusal".into(), step)), Some(share), "{arm}");
        }
        assert!(shown.keys().all(|(tag, _)| tag.starts_with("eval/")), "{shown:?}");
    }
    let files = event_files(&run.join("tensorboard/policy"));
    let all = std::fs::read(&files[0]).unwrap();
    let all = String::from_utf8_lossy(&all);
    for part in ["| train.max_steps | 3 |", "| policy.0.path | builtin:fixed-kl |", "finished"] {
        assert!(all.contains(part), "{part}");
    }
    let manifest = json(&run.join("manifest.json"));
    assert!(!manifest["notices"].to_string().contains("tensorboard"), "{manifest}");
    // What its owner signed is what is there.
    let audit = alone(&folder).args(["audit", "--run", "run"]).output().unwrap();
    assert!(audit.status.success(), "{}{}", text(&audit.stdout), text(&audit.stderr));
}

#[test]
fn a_run_that_was_killed_and_goes_on_is_one_curve() {
    let folder = tempfile::tempdir().unwrap();
    let arguments =
        ["--quiet", "--track", "tensorboard", "--checkpoint-every", "7", "--output", "run"];
    let arguments = [&SHORT[..], &arguments].concat();
    let mut process = start(&folder, &arguments);
    let metrics = folder.path().join("run/metrics.jsonl");
    let count = || std::fs::read_to_string(&metrics).unwrap_or_default().lines().count();
    let begun = Instant::now();
    while count() < 10 {
        assert!(begun.elapsed() < Duration::from_secs(120));
        std::thread::sleep(Duration::from_millis(5));
    }
    signal(&process, "KILL");
    process.wait().unwrap();
    let output = alone(&folder).args(["train", "--resume", "run", "--quiet"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let arm = folder.path().join("run/tensorboard/plain");
    assert_eq!(event_files(&arm).len(), 2);
    assert_eq!(shown(&arm), measured(&metrics));
}

#[test]
fn trackers_change_nothing_about_what_is_learnt() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("all");
    let track = format!("tensorboard={}", dir.display());
    let (plain, tracked) = (
        trained(&folder, "a", &["--steps", "3"]),
        trained(&folder, "b", &["--steps", "3", "--track", &track]),
    );
    let adapter =
        |run: &Path| std::fs::read(run.join("adapter/adapter_model.safetensors")).unwrap();
    assert_eq!(adapter(&plain), adapter(&tracked));
    assert_eq!(event_files(&dir.join("b/plain")).len(), 1);
    assert!(!tracked.join("tensorboard").exists());
    let config = |run: &Path| std::fs::read_to_string(run.join("config.toml")).unwrap();
    assert!(!config(&plain).contains("[trackers"));
    assert!(config(&tracked).contains("[trackers.tensorboard]"));
}

#[test]
fn a_run_that_goes_on_may_have_other_trackers_and_writes_where_its_user_says() {
    let folder = tempfile::tempdir().unwrap();
    let victim = folder.path().join("victim");
    let run = trained(&folder, "run", &["--steps", "2"]);
    let go_on = |more: &[&str]| {
        let arguments = [&["train", "--resume", "run", "--quiet"][..], more].concat();
        let output = alone(&folder).args(arguments).output().unwrap();
        (output.status.code(), text(&output.stderr).to_owned())
    };
    // A folder that only the run names may be anybody's choice.
    let config = run.join("config.toml");
    let before = std::fs::read_to_string(&config).unwrap();
    let strange = format!("{before}\n[trackers.tensorboard]\ndir = {victim:?}\n");
    std::fs::write(&config, &strange).unwrap();
    let (code, said) = go_on(&[]);
    assert_eq!(code, Some(2), "{said}");
    let flag = format!("--track tensorboard={}", victim.display());
    assert!(said.contains(&flag) && said.matches("error: ").count() == 1, "{said}");
    assert!(!victim.exists());
    assert_eq!(go_on(&["--track", "none"]).0, Some(0));
    assert!(!std::fs::read_to_string(&config).unwrap().contains("trackers"));
    std::fs::write(&config, &strange).unwrap();
    let flag = format!("tensorboard={}", victim.display());
    assert_eq!(go_on(&["--track", &flag]).0, Some(0));
}

#[test]
fn a_tracker_that_cannot_write_is_told_once_and_the_run_succeeds() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let arguments = ["--steps", "2", "--output", "run", "--track", "tensorboard=file"];
    let output = alone(&folder).args([&SHORT[..], &arguments].concat()).output().unwrap();
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    // A log has each once.
    let noted = |what: &str| {
        said.lines().filter(|line| line.starts_with("note: ") && line.contains(what)).count()
    };
    assert_eq!(noted("the run goes on without it"), 1, "{said}");
    assert_eq!(noted("records were left out"), 1, "{said}");
    let notices = json(&folder.path().join("run/manifest.json"))["notices"].to_string();
    assert!(notices.contains("tensorboard: 3 of 3 records were left out"), "{notices}");
}
