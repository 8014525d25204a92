//! `host policy test`, `bench`, `inspect` and `run` from outside.

use crate::program::{plugins, run, text};
use serde_json::Value;

/// A project with the policy `fixed-kl` and its cases, to be changed.
fn project() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let project = folder.path().join("fixed-kl");
    std::fs::create_dir_all(project.join("cases")).unwrap();
    std::fs::copy(plugins().join("fixed-kl.wasm"), project.join("fixed-kl.wasm")).unwrap();
    for entry in plugins().join("fixed-kl/cases").read_dir().unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), project.join("cases").join(entry.file_name())).unwrap();
    }
    folder
}

#[test]
fn recorded_cases_are_met_wherever_they_are_asked_for() {
    for name in ["probe", "fixed-kl", "sft"] {
        let file = plugins().join(format!("{name}.wasm"));
        for path in [file, plugins().join(name)] {
            let output = run(&plugins(), &["policy", "test", path.to_str().unwrap()]);
            let report = text(&output.stdout);
            assert_eq!(output.status.code(), Some(0), "{report}");
            assert!(report.contains("answers: assessment "), "{report}");
        }
    }
    let output = run(&plugins().join("probe"), &["policy", "test", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["passed"], true);
    assert!(report["coverage"]["reasons"]["harmful-prompt"].as_u64().unwrap() > 0);
    assert!(report["coverage"]["answers"]["error"].as_u64().unwrap() > 0);
}

#[test]
fn a_differing_answer_is_shown_and_recorded_only_on_demand() {
    let folder = project();
    let path = folder.path().join("fixed-kl/cases/assess.json");
    let good = std::fs::read_to_string(&path).unwrap();
    let mut case: Value = serde_json::from_str(&good).unwrap();
    let weight = &mut case["expected"]["assessment"]["regularization"]["kl_weight"][1];
    *weight = 0.75.into();
    let wrong = serde_json::to_string_pretty(&case).unwrap();
    std::fs::write(&path, &wrong).unwrap();

    let output = run(folder.path(), &["policy", "test", "fixed-kl"]);
    assert_eq!(output.status.code(), Some(1));
    let report = text(&output.stdout);
    assert!(report.contains("DIFFERS  assess"), "{report}");
    assert!(report.contains("first at .assessment.regularization.kl_weight[1]"), "{report}");
    assert!(report.contains("--- expected") && report.contains("0.75"), "{report}");
    assert!(text(&output.stderr).contains("1 of 5 cases"), "{}", text(&output.stderr));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), wrong);

    let output = run(folder.path(), &["policy", "test", "fixed-kl", "--record"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("recorded assess"));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), good);
}

#[test]
fn what_is_no_project_or_no_case_is_said() {
    let folder = project();
    let fails = |arguments: &[&str], part: &str| {
        let output = run(folder.path(), arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(part) && said.lines().count() == 1, "{said}");
    };
    std::fs::create_dir(folder.path().join("empty")).unwrap();
    fails(&["policy", "test", "empty"], "host policy build");
    fails(&["policy", "test", "fixed-kl", "empty"], "no cases");
    std::fs::write(folder.path().join("fixed-kl/cases/bad.json"), "{").unwrap();
    fails(&["policy", "test", "fixed-kl"], "bad.json");
    fails(&["policy", "run", "fixed-kl/fixed-kl.wasm", "none.json"], "none.json");
}

#[test]
fn one_case_is_answered_with_its_cost() {
    let folder = project();
    let file = "fixed-kl/fixed-kl.wasm";
    let output = run(folder.path(), &["policy", "run", file, "fixed-kl/cases/assess.json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(answer["assessment"]["risk"].is_array());
    assert!(text(&output.stderr).contains(" fuel, "));
    let refused = "fixed-kl/cases/misspelt-setting.json";
    let output = run(folder.path(), &["policy", "run", file, refused]);
    assert_eq!(output.status.code(), Some(0));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(answer["error"].is_string());
}

#[test]
fn a_bench_measures_every_batch_size() {
    let file = plugins().join("probe.wasm");
    let arguments = ["policy", "bench", file.to_str().unwrap(), "--calls", "5", "--hidden", "32"];
    let output = run(&plugins(), &[&arguments[..], &["--json"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let bench: Value = serde_json::from_slice(&output.stdout).unwrap();
    let rows = bench["assess"].as_array().unwrap();
    let of =
        |key: &str| -> Vec<u64> { rows.iter().map(|row| row[key].as_u64().unwrap()).collect() };
    assert_eq!(of("samples"), [1, 8, 32]);
    assert!(of("fuel").windows(2).all(|pair| pair[0] < pair[1]));
    for row in rows {
        let time = |key: &str| row[key].as_f64().unwrap();
        assert!(time("p50_ms") > 0.0 && time("p50_ms") <= time("p95_ms"));
        assert!(time("p95_ms") <= time("max_ms"));
    }
    assert!(bench["load_cold_ms"].as_f64().unwrap() > 0.0);
    assert!(bench["calibrate_ms"].as_f64().unwrap() > 0.0);
}

#[test]
fn an_inspection_shows_what_is_in_the_file() {
    let file = plugins().join("probe.wasm");
    let file = file.to_str().unwrap();
    let output = run(&plugins(), &["policy", "inspect", file]);
    let report = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    for part in [
        "none: it can only compute",
        "risk:policy/assessor@0.2.0",
        "b_max = 0.9",
        "activations of the reference",
    ] {
        assert!(report.contains(part), "no {part} in {report}");
    }
    let output = run(&plugins(), &["policy", "inspect", file, "--json"]);
    let about: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(about["structure"]["functions"].as_u64().unwrap() > 10);
    let output = run(&plugins(), &["policy", "inspect", file, "--wit"]);
    let wit = text(&output.stdout);
    assert!(wit.contains("record regularization") && wit.contains("export"), "{wit}");
}
