//! What `--dry-run` tells before a run, and that it leaves nothing.

use crate::program::{alone, plugin, text, train};
use serde_json::Value;
use tempfile::TempDir;

fn dry_run(folder: &TempDir, arguments: &[&str]) -> Value {
    let more = [&["--dry-run", "--json"], arguments].concat();
    let output = train(folder, "run", &more);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(!folder.path().join("run").exists());
    serde_json::from_slice(&output.stdout).unwrap()
}

fn bytes(forecast: &Value, key: &str) -> f64 {
    let value = forecast["memory"][key].as_f64();
    value.unwrap_or_else(|| panic!("{key}: {forecast}"))
}

/// The allocator gives back at once what is freed: else what it keeps for reuse, which
/// differs from run to run, weighs as much as so small a model.
fn peak_of_a_run(folder: &TempDir, name: &str, arguments: &[&str]) -> f64 {
    let mut command = alone(folder);
    command
        .env("MIMALLOC_PURGE_DELAY", "0")
        .args(["train", "--quiet", "--no-baseline", "--output", name])
        .args(["--set", "eval.harmful=[]", "--set", "eval.harmless=[]"])
        .args(["--set", "eval.task=[]"])
        .args(arguments)
        .assert()
        .success();
    let report = std::fs::read(folder.path().join(name).join("report.json")).unwrap();
    let report: Value = serde_json::from_slice(&report).unwrap();
    report["peak_memory"].as_f64().unwrap()
}

/// Steps of so many rows that the training outweighs the program.
#[test]
fn the_memory_of_a_run_is_what_was_told() {
    let folder = tempfile::tempdir().unwrap();
    let large = ["--batch", "200", "--steps", "3"];
    let cases: [&[&str]; 3] =
        [&[], &["--set", "train.checkpoint_activations=true"], &["--micro-batch", "100"]];
    let mut told = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let arguments = [&large, *case].concat();
        let forecast = dry_run(&folder, &arguments);
        let (peak, loaded) = (bytes(&forecast, "peak"), bytes(&forecast, "loaded"));
        assert!(peak > 1.5 * loaded, "too small to tell: {forecast}");
        let name = format!("run-{number}");
        let found = peak_of_a_run(&folder, &name, &arguments);
        let ratio = peak / found;
        assert!((0.7..1.25).contains(&ratio), "{ratio:.2}: {found} found, {forecast}");
        told.push(peak);
    }
    assert!(told[1] < 0.8 * told[0] && told[2] < 0.8 * told[0], "{told:?}");
}

#[test]
fn a_policy_costs_what_it_asks_for_and_no_key_or_calibration_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let plain = dry_run(&folder, &["--epochs", "2"]);
    assert_eq!(plain["time"]["first_held_step"], Value::Null);
    assert_eq!(bytes(&plain, "reference_cache"), 0.0);
    let probe = plugin("probe.wasm");
    let held = dry_run(&folder, &["--epochs", "2", "--policy", &probe]);
    assert!(bytes(&held, "reference_cache") > 0.0);
    for key in ["plain_step", "first_held_step", "later_held_step", "total"] {
        assert!(held["time"][key].as_f64().unwrap() > 0.0, "{held}");
    }
    let steps = held["steps_per_epoch"].as_u64().unwrap();
    assert_eq!(held["steps"].as_u64(), Some(2 * steps));
    assert!(!folder.path().join("config/host/host.key").exists());

    let output = train(&folder, "run", &["--dry-run", "--policy", &probe]);
    let table = text(&output.stdout);
    for part in ["| memory at its highest", "| time of the training", "MiB"] {
        assert!(table.contains(part), "no {part:?} in {table}");
    }
}

#[test]
fn what_a_run_refuses_a_dry_run_refuses() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("there")).unwrap();
    let rows = "data.train=[\"demo:train.jsonl\"]";
    let (probe, missing) = (plugin("probe.wasm"), "missing.jsonl");
    let cases: [&[&str]; 4] = [
        &["--output", "there"],
        &["--data", missing],
        &["--policy", &probe, "--set", rows],
        &["--policy", &probe, "--set", "policy.settings.no_such=1"],
    ];
    for case in cases {
        let run = |more: &[&str]| {
            let output = alone(&folder).args(["train", "--quiet"]).args(case).args(more).output();
            let output = output.unwrap();
            let last = text(&output.stderr).lines().last().unwrap_or_default().to_owned();
            assert!(output.stdout.is_empty() && !output.status.success(), "{case:?}");
            (output.status.code(), last)
        };
        assert_eq!(run(&["--dry-run"]), run(&[]));
    }
    assert!(!folder.path().join("runs").exists());
}
