//! What makes a run something that others can sign off: several policies, the journal
//! and its audit.

use std::path::Path;

use crate::program::{alone, plugin, text, train, trained};
use crate::support::Guest;
use host_contract::{Action, Needs, Position, Source, Tap, TokenNeeds};
use serde_json::Value;
use tempfile::TempDir;

fn records(run: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(run.join("journal/records.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.map(|line: Value| line["entry"].clone()).collect()
}

fn numbers(value: &Value) -> Vec<f64> {
    let list = value.as_array().unwrap().iter();
    list.map(|one| one.as_f64().unwrap()).collect()
}

/// Exit code, stdout and stderr of an audit.
fn audit(folder: &TempDir, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = alone(folder).arg("audit").args(arguments).output().unwrap();
    (output.status.code(), text(&output.stdout).to_owned(), text(&output.stderr).to_owned())
}

#[test]
fn of_several_policies_the_strictest_wins_and_each_is_on_record() {
    let folder = tempfile::tempdir().unwrap();
    let (probe, fixed) = (plugin("probe.wasm"), plugin("fixed-kl.wasm"));
    let policies = ["--policy", &probe, "--policy", &fixed];
    let setting = ["--set", "policy.1.settings.kl_weight=0.3", "--steps", "4"];
    let run = trained(&folder, "run", &[&policies[..], &setting].concat());
    let records = records(&run);
    // The run, three records a step, the end.
    assert_eq!(records.len(), 1 + 3 * 4 + 1);
    assert_eq!(records[0]["policies"][1]["settings"], r#"{"kl_weight":0.3}"#);
    let metrics = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    for (step, metric) in records[1..13].chunks(3).zip(metrics.lines()) {
        let [first, second, all] = step else { panic!("three records") };
        assert_eq!((&first["policy"], &second["policy"]), (&0.into(), &1.into()));
        let weights =
            |assessment: &Value, field: &str| numbers(&assessment["regularization"][field]);
        let of = |record: &Value, field: &str| {
            weights(&record["answer"]["assessment"]["assessment"], field)
        };
        for (field, pick) in
            [("kl_weight", f64::max as fn(f64, f64) -> f64), ("task_weight", f64::min)]
        {
            let (a, b) = (of(first, field), of(second, field));
            let expected: Vec<f64> = a.iter().zip(&b).map(|(a, b)| pick(*a, *b)).collect();
            assert_eq!(weights(&all["assessment"], field), expected);
            assert!(expected != a || expected != b, "both policies have a say");
        }
        let metric: Value = serde_json::from_str(metric).unwrap();
        let kl = weights(&all["assessment"], "kl_weight");
        let mean = kl.iter().sum::<f64>() / kl.len() as f64;
        assert!((metric["kl_weight"].as_f64().unwrap() - mean).abs() < 1e-9);
    }
    let (code, stdout, _) = audit(&folder, &["--run", "run"]);
    assert_eq!(code, Some(0), "{stdout}");
    assert!(stdout.contains("8 of 8 assessments gave the same bytes (100%)"), "{stdout}");
}

/// A policy with fixed answers, on disk, that reads one tap.
fn tapping(folder: &TempDir, name: &str, source: Source, layer: u32) -> String {
    let mut guest = Guest::new();
    guest.descriptor.name = name.into();
    guest.configure = Ok(Needs {
        taps: vec![Tap { source, position: Position::AnswerMean, layers: vec![layer] }],
        tokens: TokenNeeds::CURRENT,
        ..Needs::new()
    });
    let path = folder.path().join(format!("{name}.wasm"));
    std::fs::write(&path, guest.component()).unwrap();
    path.display().to_string()
}

#[test]
fn policies_that_read_different_models_and_layers_work_together() {
    let folder = tempfile::tempdir().unwrap();
    let one = tapping(&folder, "one", Source::Reference, 1);
    let two = tapping(&folder, "two", Source::Current, 2);
    let arguments = ["--policy", &one, "--policy", &two, "--batch", "2", "--steps", "3"];
    let run = trained(&folder, "run", &arguments);
    let records = records(&run);
    let tap = |record: &Value| record["signals"]["activations"][0]["tap"].clone();
    for step in records[1..10].chunks(3) {
        assert_eq!(tap(&step[0])["source"], "Reference");
        assert_eq!(tap(&step[0])["layers"], serde_json::json!([1]));
        assert_eq!(tap(&step[1])["source"], "Current");
        assert_eq!(tap(&step[1])["layers"], serde_json::json!([2]));
    }
    assert_eq!(audit(&folder, &["--run", "run"]).0, Some(0));
}

#[test]
fn the_strongest_action_of_any_policy_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let mut guest = Guest::answering(|assessment| {
        assessment.regularization.action = Action::Skip;
    });
    guest.configure = Ok(Needs::new());
    let skip = folder.path().join("skip.wasm");
    std::fs::write(&skip, guest.component()).unwrap();
    let fixed = plugin("fixed-kl.wasm");
    let arguments = ["--policy", &fixed, "--policy", skip.to_str().unwrap()];
    // A run in which nothing was learned is no success, and leaves all its records.
    let output =
        train(&folder, "run", &[&arguments[..], &["--batch", "2", "--steps", "2"]].concat());
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("none of the 2 steps changed the model"));
    let run = folder.path().join("run");
    let metrics = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    for line in metrics.lines() {
        let metric: Value = serde_json::from_str(line).unwrap();
        assert_eq!(metric["learning_rate"], 0.0, "no update");
    }
    let last = records(&run).pop().unwrap();
    assert_eq!((&last["kind"], &last["last"]["action"]), (&"end".into(), &"Skip".into()));
}

const WEIGHT: &str = "\"kl_weight\":[0.";

#[test]
fn an_audit_replays_a_run_and_finds_what_was_changed() {
    let folder = tempfile::tempdir().unwrap();
    let probe = plugin("probe.wasm");
    let run = trained(&folder, "run", &["--policy", &probe, "--steps", "5"]);
    let (code, stdout, _) = audit(&folder, &["--run", "run", "--json"]);
    let report: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &report["passed"]), (Some(0), &Value::from(true)));
    assert_eq!(report["replay"]["replayed"], 5);
    assert_eq!(report["records"], 7);

    // The key that made it, by name; and another one.
    let key = folder.path().join("config/host/host.pub");
    let (code, stdout, _) = audit(&folder, &["--run", "run", "--key", key.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{stdout}");
    std::fs::copy(&probe, folder.path().join("mine.wasm")).unwrap();
    alone(&folder)
        .args(["policy", "sign", "mine.wasm", "--key", "other.key", "--new-key"])
        .assert()
        .success();
    let (code, stdout, _) = audit(&folder, &["--run", "run", "--key", "other.pub"]);
    assert_eq!(code, Some(4));
    assert!(stdout.contains("is by key") && stdout.contains("FAILED"), "{stdout}");

    // One digit of one weight.
    let path = run.join("journal/records.jsonl");
    let genuine = std::fs::read_to_string(&path).unwrap();
    let at = genuine.rfind(WEIGHT).unwrap() + WEIGHT.len();
    let mut forged = genuine.clone().into_bytes();
    forged[at] = if forged[at] == b'9' { b'8' } else { b'9' };
    std::fs::write(&path, forged).unwrap();
    let (code, stdout, _) = audit(&folder, &["--run", "run"]);
    assert_eq!(code, Some(4));
    assert!(stdout.contains("does not follow") && stdout.contains("kl_weight[0]"), "{stdout}");

    // The last record is missing.
    let lines: Vec<&str> = genuine.lines().collect();
    std::fs::write(&path, lines[..6].join("\n") + "\n").unwrap();
    let (code, stdout, _) = audit(&folder, &["--run", "run"]);
    assert_eq!(code, Some(4));
    assert!(stdout.contains("7 records were signed and 6 are here"), "{stdout}");

    // Tensors are gone.
    std::fs::write(&path, &genuine).unwrap();
    std::fs::write(run.join("journal/tensors.bin"), "").unwrap();
    let (code, stdout, _) = audit(&folder, &["--run", "run"]);
    assert_eq!(code, Some(4));
    assert!(stdout.contains("something was removed"), "{stdout}");

    let (code, _, stderr) = audit(&folder, &["--run", "cache"]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("is no folder of a run"), "{stderr}");
}

#[test]
fn an_audit_tells_what_another_policy_would_have_said() {
    let folder = tempfile::tempdir().unwrap();
    let (probe, fixed) = (plugin("probe.wasm"), plugin("fixed-kl.wasm"));
    trained(&folder, "run", &["--policy", &probe, "--steps", "4"]);
    let what_if = |policy: &str, more: &[&str]| {
        let arguments = [&["--run", "run", "--policy", policy, "--json"], more].concat();
        let (code, stdout, stderr) = audit(&folder, &arguments);
        assert_eq!(code, Some(0), "{stderr}");
        let report: Value = serde_json::from_str(&stdout).unwrap();
        report["what_if"].clone()
    };
    let other = what_if(&fixed, &["--settings", "kl_weight=0.25"]);
    assert_eq!(other["other"], "fixed-kl");
    assert_eq!(other["steps"].as_array().unwrap().len(), 4);
    assert_eq!(other["steps"][3]["other"]["kl_weight"], 0.25);
    // The run's own policy says what it said, and less under a lower ceiling.
    let same = what_if(&probe, &[]);
    assert_eq!(same["steps"][2]["recorded"], same["steps"][2]["other"]);
    let lower = what_if(&probe, &["--settings", "b_max=0.5"]);
    assert_ne!(lower["steps"][2]["recorded"], lower["steps"][2]["other"]);

    // The other way round, the run has not recorded what the policy needs.
    trained(&folder, "fixed", &["--policy", &fixed, "--steps", "2"]);
    let (code, _, stderr) = audit(&folder, &["--run", "fixed", "--policy", &probe]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("--calibration"), "{stderr}");
}

/// Everything that a run measured can be asked about afterwards, by the very policies that
/// made the run to begin with.
#[test]
fn a_run_can_be_asked_what_if_about_the_policy_that_made_it() {
    let folder = tempfile::tempdir().unwrap();
    let alignment = ["--alignment", "demo:alignment.jsonl"];
    for (name, more) in [("safegrad", &alignment[..]), ("safepred", &[]), ("self-guard", &[])] {
        let policy = plugin(&format!("{name}.wasm"));
        trained(&folder, name, &[&["--policy", &policy, "--steps", "3"], more].concat());
        let arguments = ["--run", name, "--policy", &policy, "--json"];
        let (code, stdout, stderr) = audit(&folder, &arguments);
        assert_eq!(code, Some(0), "{name}: {stderr}");
        let report: Value = serde_json::from_str(&stdout).unwrap();
        let steps = report["what_if"]["steps"].as_array().unwrap();
        assert_eq!(steps.len(), 3, "{name}");
        for step in steps {
            assert_eq!(step["recorded"], step["other"], "{name}");
        }
    }
    let (safegrad, fixed) = (plugin("safegrad.wasm"), plugin("fixed-kl.wasm"));
    trained(&folder, "plain", &["--policy", &fixed, "--steps", "2"]);
    let (code, _, stderr) = audit(&folder, &["--run", "plain", "--policy", &safegrad]);
    assert_eq!(code, Some(1));
    let said = "the conflict of task and alignment gradient, which this run did not record";
    assert!(stderr.contains(said), "{stderr}");
}

#[test]
fn a_light_journal_holds_digests_and_the_same_assessments() {
    let folder = tempfile::tempdir().unwrap();
    let probe = plugin("probe.wasm");
    let run = |name: &str, mode: &str| {
        let arguments = ["--policy", &probe, "--steps", "3", "--journal", mode];
        trained(&folder, name, &arguments)
    };
    let (full, light) = (run("full", "full"), run("light", "light"));
    assert_eq!(records(&full)[1..4], records(&light)[1..4]);
    let size = |run: &Path| std::fs::metadata(run.join("journal/tensors.bin")).unwrap().len();
    assert_eq!(size(&light), 0);
    assert!(size(&full) > 0 && !light.join("journal/policies").exists());
    let (code, stdout, stderr) = audit(&folder, &["--run", "light"]);
    assert_eq!(code, Some(5), "{stdout}");
    assert!(stdout.contains("0 of 3") && stdout.contains("3 can't be replayed"), "{stdout}");
    assert!(stdout.contains("UNPROVEN: 3 of 3"), "{stdout}");
    assert!(stderr.contains("isn't shown to be right"), "{stderr}");
}
