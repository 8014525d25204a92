//! The whole job on a real model, SmolLM2-135M-Instruct as GGUF:
//! `HOST_TEST_SMOLLM2=FILE cargo test --release --workspace smollm2 -- --ignored`

use assert_cmd::Command;
use serde_json::Value;

use crate::program::plugin;

#[test]
#[ignore = "needs HOST_TEST_SMOLLM2"]
fn smollm2_is_calibrated_on_and_trained_under_the_probe() {
    let model = std::env::var("HOST_TEST_SMOLLM2").expect("HOST_TEST_SMOLLM2 names the file");
    let folder = tempfile::tempdir().unwrap();
    let host = |arguments: &[&str]| {
        let mut command = Command::cargo_bin("host").unwrap();
        command.current_dir(folder.path()).args(arguments);
        command.assert().success().get_output().stdout.clone()
    };
    let report = host(&[
        "train",
        "--policy",
        &plugin("probe.wasm"),
        "--model",
        &model,
        "--steps",
        "3",
        "--no-baseline",
        "--eval-limit",
        "4",
        "--json",
        "--output",
        "run",
    ]);
    let report: Value = serde_json::from_slice(&report).unwrap();
    assert_eq!(report["after"]["refusal"]["total"], 4);

    let text = std::fs::read_to_string(folder.path().join("run/calibration.json")).unwrap();
    let calibration: Value = serde_json::from_str(&text).unwrap();
    let candidates = calibration["candidates"].as_array().unwrap();
    let chosen = candidates.iter().find(|one| one["chosen"] == true).unwrap();
    let metrics = chosen["metrics"].as_array().unwrap();
    let auroc = metrics.iter().find(|metric| metric["name"] == "test.auroc").unwrap();
    assert!(auroc["value"].as_f64().unwrap() > 0.8, "{chosen}");

    let metrics = std::fs::read_to_string(folder.path().join("run/metrics.jsonl")).unwrap();
    let losses: Vec<f64> = metrics
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["loss"].as_f64().unwrap())
        .collect();
    assert!(losses.len() == 3 && losses.iter().all(|loss| loss.is_finite()), "{losses:?}");

    let answer = host(&["generate", "--model", &model, "What is the capital of France?"]);
    assert!(String::from_utf8(answer).unwrap().contains("Paris"));
}

#[test]
#[ignore = "needs HOST_TEST_SMOLLM2"]
fn smollm2_trains_to_the_same_bytes_from_the_blocks_of_its_file() {
    let model = std::env::var("HOST_TEST_SMOLLM2").expect("HOST_TEST_SMOLLM2 names the file");
    let folder = tempfile::tempdir().unwrap();
    let train = |weights: &str| {
        let mut command = Command::cargo_bin("host").unwrap();
        command.current_dir(folder.path()).args(["train", "--policy", &plugin("fixed-kl.wasm")]);
        command.args(["--model", &model, "--weights", weights, "--output", weights]);
        command.args(["--steps", "2", "--no-baseline", "--eval-limit", "1"]);
        command.args(["--set", "eval.before=false"]);
        command.assert().success();
        let run = folder.path().join(weights);
        let adapter = std::fs::read(run.join("adapter/adapter_model.safetensors")).unwrap();
        let report = std::fs::read_to_string(run.join("report.json")).unwrap();
        let report: Value = serde_json::from_str(&report).unwrap();
        (adapter, report["peak_memory"].as_u64().unwrap())
    };
    let (dense, stored) = (train("dense"), train("stored"));
    assert!(dense.0 == stored.0);
    // 538 MB in f32, 87 MB as Q4_1.
    assert!(stored.1 + (350 << 20) < dense.1, "{} and {} bytes", stored.1, dense.1);
}
