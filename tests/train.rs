//! The main job on the embedded default, and what it leaves.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::program::{alone, json, lines, plugin, signal, trained};
use serde_json::Value;
use tempfile::TempDir;

/// Trains without evaluation and returns the adapter's bytes.
fn adapter(folder: &TempDir, name: &str, arguments: &[&str]) -> Vec<u8> {
    let run = trained(folder, name, arguments);
    std::fs::read(run.join("adapter/adapter_model.safetensors")).unwrap()
}

#[test]
fn checkpointing_activations_changes_no_byte_of_the_adapter() {
    let folder = tempfile::tempdir().unwrap();
    let fixed = plugin("fixed-kl.wasm");
    let arguments = ["--policy", &fixed, "--steps", "4"];
    let kept = adapter(&folder, "kept", &arguments);
    let flag = [&arguments[..], &["--checkpoint-activations"]].concat();
    assert!(kept == adapter(&folder, "again", &flag));
    let config = std::fs::read_to_string(folder.path().join("again/config.toml")).unwrap();
    assert!(config.contains("checkpoint_activations = true"), "{config}");
}

#[test]
fn the_model_is_not_measured_before_a_run_that_does_without() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["--steps", "2", "--eval-limit", "4", "--json"];
    let without = ["--no-baseline", "--set", "eval.before=false"];
    let output = alone(folder.path())
        .args(["train", "--quiet", "--output", "run"])
        .args(arguments)
        .args(without)
        .assert()
        .success()
        .get_output()
        .stdout
        .clone();
    let report: Value = serde_json::from_slice(&output).unwrap();
    assert!(report["before"].is_null(), "{report}");
    assert_eq!(report["after"]["refusal"]["total"], 4);
    let generations = lines(&folder.path().join("run/generations.jsonl"));
    assert!(generations.iter().all(|one| one["model"] == "after"));
}

#[test]
fn a_run_under_the_probe_leaves_everything_a_reader_needs() {
    let folder = tempfile::tempdir().unwrap();
    let probe = plugin("probe.wasm");
    let arguments = [
        "train",
        "--policy",
        &probe,
        "--steps",
        "6",
        "--eval-limit",
        "8",
        "--json",
        "--output",
        "run",
    ];
    let output =
        alone(folder.path()).args(arguments).assert().success().get_output().stdout.clone();
    let report: Value = serde_json::from_slice(&output).unwrap();
    let run = folder.path().join("run");
    assert_eq!(report, json(&run.join("report.json")));
    for column in ["before", "baseline_after", "after"] {
        assert_eq!(report[column]["refusal"]["total"], 8, "{column}");
        assert_eq!(report[column]["exact_match"]["total"], 8, "{column}");
    }

    let metrics = lines(&run.join("metrics.jsonl"));
    let journal = lines(&run.join("journal/records.jsonl"));
    // Around the assessments stand the run and its end.
    assert_eq!((metrics.len(), journal.len()), (6, 8));
    let assessments = journal[1..7].iter().map(|line| &line["entry"]);
    for (step, (metric, record)) in metrics.iter().zip(assessments).enumerate() {
        assert_eq!(
            (metric["step"].as_u64(), record["step"].as_u64()),
            (Some(step as u64), Some(step as u64))
        );
        let assessment = &record["answer"]["assessment"]["assessment"];
        let (risk, regularization) = (&assessment["risk"], &assessment["regularization"]);
        assert_eq!(risk.as_array().unwrap().len(), 8);
        for (sample, risk) in risk.as_array().unwrap().iter().enumerate() {
            let kl = regularization["kl_weight"][sample].as_f64().unwrap();
            let task = regularization["task_weight"][sample].as_f64().unwrap();
            assert!((kl - (0.1 + 0.8 * risk.as_f64().unwrap())).abs() < 1e-9);
            assert!((task + kl - 1.0).abs() < 1e-9);
        }
        assert!(
            metric["kl"].as_f64().unwrap() >= -1e-6 && metric["loss"].as_f64().unwrap().is_finite()
        );
    }
    assert!(lines(&run.join("baseline/metrics.jsonl")).iter().all(|metric| metric["kl"].is_null()));

    let manifest = json(&run.join("manifest.json"));
    assert_eq!(manifest["status"], "finished");
    let digest = host_files::sha256::hex(std::fs::read(&probe).unwrap());
    assert_eq!(manifest["policies"][0]["sha256"], Value::from(digest.clone()));
    let calibration = json(&run.join("calibration.json"));
    assert_eq!(calibration["policy_sha256"], Value::from(digest));
    let chosen = calibration["candidates"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| one["chosen"] == true)
        .count();
    assert_eq!(chosen, 1);
    assert!(
        lines(&run.join("generations.jsonl"))
            .iter()
            .any(|answer| answer["model"] == "after" && answer["set"] == "harmful")
    );

    // The resolved configuration gives the same run again.
    let again = alone(folder.path())
        .args(["train", "--quiet", "--config", "run/config.toml", "--output", "again"])
        .assert();
    again.success();
    let same = |file: &str| {
        std::fs::read(run.join(file)).unwrap()
            == std::fs::read(folder.path().join("again").join(file)).unwrap()
    };
    assert!(same("adapter/adapter_model.safetensors") && same("journal/records.jsonl"));

    // What the run left can be used.
    alone(folder.path())
        .args(["generate", "--quiet", "--run", "run", "Say hello."])
        .assert()
        .success();
    alone(folder.path())
        .args(["export", "--quiet", "--run", "run", "--merged", "--output", "merged"])
        .assert()
        .success();
    let merged = alone(folder.path())
        .args(["eval", "--quiet", "--model", "merged", "--json", "--eval-limit", "8"])
        .assert()
        .success();
    let merged: Value = serde_json::from_slice(&merged.get_output().stdout).unwrap();
    assert_eq!(merged["before"]["refusal"], report["after"]["refusal"]);
}

#[test]
fn the_sft_policy_is_no_policy_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let none = adapter(&folder, "none", &["--steps", "5"]);
    let sft = adapter(&folder, "sft", &["--steps", "5", "--policy", &plugin("sft.wasm")]);
    let kl = adapter(&folder, "kl", &["--steps", "5", "--policy", &plugin("fixed-kl.wasm")]);
    assert_eq!(none, sft);
    assert_ne!(none, kl, "a KL term must change the run");
}

#[test]
fn accumulation_does_not_change_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let probe = plugin("probe.wasm");
    let under = ["--steps", "4", "--policy", &probe];
    let load = |name: &str, micro: &str| {
        let bytes = adapter(&folder, name, &[&under[..], &["--micro-batch", micro]].concat());
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let mut values: Vec<(String, Vec<f32>)> = tensors
            .tensors()
            .into_iter()
            .map(|(name, view)| {
                (
                    name,
                    view.data()
                        .chunks(4)
                        .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
                        .collect(),
                )
            })
            .collect();
        values.sort_by(|a, b| a.0.cmp(&b.0));
        (values, lines(&folder.path().join(name).join("metrics.jsonl")))
    };
    let (whole, metrics) = load("whole", "8");
    let (split, split_metrics) = load("split", "1");
    for (a, b) in metrics.iter().zip(&split_metrics) {
        for key in ["loss", "task_loss", "kl", "gradient_norm"] {
            let (a, b) = (a[key].as_f64().unwrap(), b[key].as_f64().unwrap());
            assert!((a - b).abs() <= 1e-6 * a.abs().max(1.0), "{key}: {a} {b}");
        }
    }
    let (mut error, mut norm) = (0f64, 0f64);
    for ((name, a), (_, b)) in whole.iter().zip(&split) {
        assert!(!a.is_empty(), "{name}");
        for (a, b) in a.iter().zip(b) {
            error += f64::from(a - b).powi(2);
            norm += f64::from(*a).powi(2);
        }
    }
    assert!(norm > 0.0 && (error / norm).sqrt() < 1e-4, "{}", (error / norm).sqrt());
}

#[test]
fn ctrl_c_finishes_the_step_saves_and_exits_130() {
    let folder = tempfile::tempdir().unwrap();
    let binary = assert_cmd::cargo::cargo_bin("host");
    let mut child: Child = std::process::Command::new(binary)
        .current_dir(folder.path())
        .args([
            "train",
            "--epochs",
            "1000",
            "--no-baseline",
            "--output",
            "run",
            "--set",
            "eval.harmful=[]",
        ])
        .args(["--set", "eval.harmless=[]", "--set", "eval.task=[]"])
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let metrics = folder.path().join("run/metrics.jsonl");
    let started = Instant::now();
    while std::fs::metadata(&metrics).map_or(0, |file| file.len()) == 0 {
        assert!(started.elapsed() < Duration::from_secs(60), "no step was made");
        std::thread::sleep(Duration::from_millis(50));
    }
    signal(&child, "INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let run = folder.path().join("run");
    assert_eq!(json(&run.join("manifest.json"))["status"], "interrupted");
    assert!(run.join("adapter/adapter_model.safetensors").exists());
    assert!(!lines(&metrics).is_empty());
}

#[test]
fn a_policy_fault_ends_the_run_before_the_update_with_exit_code_3() {
    let folder = tempfile::tempdir().unwrap();
    let probe = plugin("probe.wasm");
    // Enough for configure, too little for assess.
    let starve = "limits.fuel_per_call=300000";
    let output = alone(folder.path())
        .args(["train", "--policy", &probe])
        .args(["--no-baseline", "--set", starve, "--output", "run"])
        .args(["--set", "eval.harmful=[]", "--set", "eval.harmless=[]"])
        .args(["--set", "eval.task=[]"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    let stderr = String::from_utf8(output.stderr).unwrap();
    let last = stderr.lines().last().unwrap();
    for part in ["policy probe", "assess at step 0", "300000 instructions"] {
        assert!(last.contains(part), "no {part:?} in {last}");
    }
    let run = folder.path().join("run");
    let manifest = json(&run.join("manifest.json"));
    assert_eq!(manifest["status"], "failed");
    assert!(manifest["error"].as_str().unwrap().contains("assess at step 0"));
    assert!(lines(&run.join("metrics.jsonl")).is_empty());
    assert!(!run.join("adapter").exists());
}

#[test]
fn another_seed_is_another_run_and_the_same_seed_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let one = adapter(&folder, "one", &["--steps", "3", "--seed", "1"]);
    let two = adapter(&folder, "two", &["--steps", "3", "--seed", "2"]);
    let again = adapter(&folder, "again", &["--steps", "3", "--seed", "1"]);
    assert_ne!(one, two);
    assert_eq!(one, again);
}
