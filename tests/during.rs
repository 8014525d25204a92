//! Evaluations between the steps of a training: what they measure, which adapter is kept, and
//! that nothing else changes by them.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::program::{alone, json, lines, plugin, start, text};

const ADAPTER: &str = "adapter/adapter_model.safetensors";
const LAST: &str = "adapter-last/adapter_model.safetensors";

/// Plain fine-tuning on the demo data, whose poisoned rows cost refusals while the task is
/// learned, with an evaluation every 5 of 30 steps.
const WATCHED: [&str; 14] = [
    "train",
    "--quiet",
    "--no-baseline",
    "--steps",
    "30",
    "--eval-limit",
    "24",
    "--eval-every",
    "5",
    "--set",
    "eval.during.max_new_tokens=12",
    "--set",
    "eval.before=false",
    "--json",
];

#[track_caller]
fn watched(folder: &TempDir, name: &str, more: &[&str]) -> PathBuf {
    let arguments = [&WATCHED[..], &["--output", name], more].concat();
    let output = alone(folder).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    folder.path().join(name)
}

fn evaluations(run: &Path) -> Vec<Value> {
    lines(&run.join("evaluations.jsonl"))
}

fn loss(one: &Value) -> f64 {
    one["task_loss"]["mean"].as_f64().unwrap()
}

fn refused(one: &Value) -> f64 {
    one["refusal"]["hits"].as_f64().unwrap() / one["refusal"]["total"].as_f64().unwrap()
}

fn sha256(path: &Path) -> String {
    host_files::sha256::file(path).unwrap()
}

#[test]
fn the_best_adapter_that_costs_no_refusals_is_kept_and_training_is_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let run = watched(&folder, "best", &["--keep", "best"]);
    let all = evaluations(&run);
    let steps: Vec<u64> = all.iter().map(|one| one["step"].as_u64().unwrap()).collect();
    assert_eq!(steps, [0, 5, 10, 15, 20, 25, 30]);
    // By hand: the lowest loss of those that refuse as much as the reference, less a twentieth.
    let least = refused(&all[0]) - 0.05;
    let safe = all[1..].iter().filter(|one| refused(one) >= least - 1e-9);
    let best = safe.min_by(|one, other| loss(one).total_cmp(&loss(other))).expect("some are safe");
    let last = all.last().unwrap();
    assert!(refused(last) < least && loss(last) < loss(best), "the tail is poisoned: {all:#?}");
    let kept = json(&run.join("report.json"))["trained"]["evaluations"]["kept"].take();
    assert_eq!(kept["step"], best["step"]);
    assert!(kept["why"].as_str().unwrap().starts_with("safe-loss (lowest held-out loss"), "{kept}");
    assert_eq!(best["adapter_sha256"], sha256(&run.join(ADAPTER)).as_str());
    assert_eq!(last["adapter_sha256"], sha256(&run.join(LAST)).as_str());
    // What follows is asked of what was kept.
    let report = json(&run.join("report.json"));
    assert_eq!(report["after"]["refusal_margin"], best["refusal_margin"]);

    // The same training without any evaluation, and with the lowest loss.
    let without = folder.path().join("without");
    let blind: Vec<&str> =
        WATCHED.into_iter().filter(|one| !["--eval-every", "5"].contains(one)).collect();
    let output = alone(&folder).args(blind).args(["--output", "without"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(fs::read(without.join(ADAPTER)).unwrap() == fs::read(run.join(LAST)).unwrap());
    assert!(!without.join("evaluations.jsonl").exists());
    let lowest = watched(&folder, "lowest", &["--keep", "best", "--best", "loss"]);
    let kept = json(&lowest.join("report.json"))["trained"]["evaluations"]["kept"].take();
    let best = evaluations(&lowest)
        .into_iter()
        .skip(1)
        .min_by(|one, other| loss(one).total_cmp(&loss(other)));
    assert_eq!(kept["step"], best.unwrap()["step"]);
}

#[test]
fn patience_ends_a_training_that_is_no_better_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["--best", "refusal", "--patience", "2", "--steps", "60"];
    let output = alone(&folder)
        .args(WATCHED.iter().filter(|one| !["--steps", "30", "--quiet"].contains(one)))
        .args(["--output", "run"])
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let run = folder.path().join("run");
    let said = text(&output.stderr);
    assert!(said.contains("evaluation at step 0 (the reference): held-out loss"), "{said}");
    assert!(said.contains("2 without an improvement end the training"), "{said}");
    let report = json(&run.join("report.json"));
    let trained = &report["trained"];
    assert_eq!(trained["ending"], "early-stop");
    let steps = trained["steps"].as_u64().unwrap();
    assert!(steps < 60 && steps.is_multiple_of(5), "{steps}");
    assert_eq!(json(&run.join("manifest.json"))["status"], "early-stop");
    let all = evaluations(&run);
    let marked: Vec<bool> = all.iter().map(|one| one["best"].as_bool().unwrap()).collect();
    assert!(marked.ends_with(&[true, false, false]), "{marked:?}");
    assert_eq!(trained["evaluations"]["without_improvement"], 2);
    // The last one is kept, as nothing else was asked for.
    assert_eq!(trained["evaluations"]["kept"]["step"], steps);
    assert!(!run.join(LAST).exists());
    // It is over: nothing is trained again.
    let output = alone(&folder).args(["train", "--quiet", "--resume", "run"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(evaluations(&run), all);
}

#[test]
fn validation_rows_are_held_out_of_training() {
    let folder = tempfile::tempdir().unwrap();
    let more = ["--validation", "40", "--steps", "2", "--set", "eval.task=[]"];
    let arguments = WATCHED.iter().filter(|one| !["--steps", "30", "--quiet"].contains(one));
    let output = alone(&folder).args(arguments).args(["--output", "run"]).args(more).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let said = text(&output.stderr);
    assert!(
        said.contains("of 640 task rows") && said.contains("are held out of training"),
        "{said}"
    );
    let run = folder.path().join("run");
    let all = evaluations(&run);
    let held = all[0]["task_loss"]["prompts"].as_u64().unwrap();
    assert!((40..60).contains(&held), "{held}");
    assert_eq!(json(&run.join("manifest.json"))["samples"], 640 - held);
    for (arguments, part) in [
        (&["--validation", "0.1"][..], "data.validation: needs evaluations during training"),
        (&["--eval-every", "2", "--validation", "1.5"], "data.validation: must be a share"),
        (&["--eval-every", "2", "--validation", "640"], "leaves none to train on"),
        (&["--keep", "best"], "train.keep: needs evaluations during training"),
        (&["--eval-every", "2", "--best", "margin", "--set", "canary.prompts=[]"], "needs canary"),
    ] {
        let output = alone(&folder).args(["train", "--output", "no"]).args(arguments).output();
        let output = output.unwrap();
        let said = text(&output.stderr);
        assert!(!output.status.success() && said.contains(part), "{part:?} in {said}");
        assert!(!folder.path().join("no").exists());
    }
}

fn audit(folder: &TempDir, run: &str) -> (Option<i32>, String) {
    let key = "config/host/host.pub";
    let output = alone(folder).args(["audit", "--run", run, "--key", key]).output().unwrap();
    (output.status.code(), text(&output.stdout).to_owned())
}

/// Under a policy that holds on lightly.
fn governed(folder: &TempDir, name: &str) -> PathBuf {
    let policy = plugin("fixed-kl.wasm");
    let light = "policy.settings.kl_weight=0.05";
    watched(
        folder,
        name,
        &["--policy", &policy, "--set", light, "--keep", "best", "--best", "refusal"],
    )
}

#[test]
fn an_audit_goes_through_the_evaluations_and_finds_another_adapter() {
    let folder = tempfile::tempdir().unwrap();
    let run = governed(&folder, "run");
    let (code, said) = audit(&folder, "run");
    assert_eq!(code, Some(0), "{said}");
    let found = |part: &str| {
        let (code, said) = audit(&folder, "run");
        assert_eq!(code, Some(4), "{said}");
        assert!(said.contains(part), "{part:?} in {said}");
    };
    // The adapter of the last step in the place of the best one.
    let genuine = fs::read(run.join(ADAPTER)).unwrap();
    let last = fs::read(run.join(LAST)).unwrap();
    assert!(genuine != last);
    fs::write(run.join(ADAPTER), &last).unwrap();
    found(ADAPTER);
    fs::write(run.join(ADAPTER), &genuine).unwrap();
    fs::write(run.join(LAST), &genuine).unwrap();
    found(LAST);
    fs::write(run.join(LAST), &last).unwrap();
    let stray = run.join("adapter-last/adapter_model.bin");
    fs::write(&stray, "x").unwrap();
    found("adapter_model.bin is not of the run");
    fs::remove_file(stray).unwrap();
    let evaluations = fs::read_to_string(run.join("evaluations.jsonl")).unwrap();
    fs::write(
        run.join("evaluations.jsonl"),
        evaluations.replacen("\"best\":true", "\"best\":false", 1),
    )
    .unwrap();
    found("evaluations.jsonl is not what the run left");
    fs::write(run.join("evaluations.jsonl"), evaluations).unwrap();
    assert_eq!(audit(&folder, "run").0, Some(0));
}

#[test]
fn a_run_that_is_interrupted_while_it_is_evaluated_goes_on_to_the_same_result() {
    let folder = tempfile::tempdir().unwrap();
    let policy = plugin("fixed-kl.wasm");
    let more = ["--policy", &policy, "--keep", "best", "--checkpoint-every", "1"];
    let whole = watched(&folder, "whole", &more);
    let run = folder.path().join("run");
    let process = start(&folder, &[&WATCHED[..], &["--output", "run"], &more].concat());
    // Before step 10 is evaluated, or during that.
    let begun = std::time::Instant::now();
    let reached =
        || fs::read_to_string(run.join("metrics.jsonl")).map_or(0, |all| all.lines().count());
    while reached() < 10 && begun.elapsed() < std::time::Duration::from_secs(120) {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    crate::program::signal(&process, "INT");
    let output = process.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
    assert!(evaluations(&run).len() < 7);
    let output = alone(&folder).args(["train", "--quiet", "--resume", "run"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    for name in [ADAPTER, "journal/tensors.bin", "generations.jsonl"] {
        assert!(fs::read(run.join(name)).unwrap() == fs::read(whole.join(name)).unwrap(), "{name}");
    }
    let untimed = |run: &Path| {
        let mut all = evaluations(run);
        all.iter_mut().for_each(|one| drop(one["seconds"].take()));
        all
    };
    assert_eq!(untimed(&run), untimed(&whole));
    let kept = |run: &Path| json(&run.join("report.json"))["trained"]["evaluations"]["kept"].take();
    assert_eq!(kept(&run), kept(&whole));
    assert_eq!(audit(&folder, "run").0, Some(0));
}

#[test]
fn a_dry_run_counts_the_evaluations() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = [&WATCHED[..], &["--dry-run", "--keep", "best"]].concat();
    let output = alone(&folder).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let evaluations = &told["evaluations"];
    assert_eq!(evaluations["count"], 7);
    let all = 7.0 * evaluations["seconds"].as_f64().unwrap();
    assert!(all > 0.0 && told["time"]["total"].as_f64().unwrap() > all);
    let blind: Vec<&str> =
        WATCHED.into_iter().filter(|one| !["--eval-every", "5"].contains(one)).collect();
    let output = alone(&folder).args(blind).arg("--dry-run").output().unwrap();
    let plain: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(plain.get("evaluations").is_none());
    let adapter = |told: &Value| told["memory"]["adapter"].as_u64().unwrap();
    assert!(adapter(&told) > adapter(&plain), "the best one is kept beside it");
}
