//! Models and adapters whose files say two things, or something that can't be honoured.

use std::path::Path;

use serde_json::{Value, json as value};

use crate::program::{SHORT, alone, json, root, text, trained};

/// The demo model as a folder, its config.json changed.
fn model(folder: &Path, change: impl Fn(&mut Value)) {
    let to = folder.join("model");
    std::fs::create_dir_all(&to).unwrap();
    for entry in root().join("examples/demo/model").read_dir().unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
    let mut config = json(&to.join("config.json"));
    change(&mut config);
    std::fs::write(to.join("config.json"), config.to_string()).unwrap();
}

#[test]
fn what_two_fields_of_a_model_say_is_told_and_kept_in_the_manifest() {
    let folder = tempfile::tempdir().unwrap();
    model(folder.path(), |config| config["rope_theta"] = value!(500.0));
    let arguments = ["--model", "model", "--steps", "1", "--output", "run"];
    let output = alone(&folder).args(SHORT).args(arguments).output().unwrap();
    let told = text(&output.stderr);
    assert!(output.status.success(), "{told}");
    let about = |line: &str| line.contains("`rope_theta` is 500") && line.contains("10000");
    assert_eq!(
        told.lines().filter(|line| line.starts_with("note: ") && about(line)).count(),
        1,
        "{told}"
    );
    let notices = json(&folder.path().join("run/manifest.json"))["notices"].clone();
    let kept = notices.as_array().unwrap().iter().filter_map(Value::as_str);
    assert_eq!(kept.filter(|notice| about(notice)).count(), 1, "{notices}");
}

#[test]
fn a_run_on_files_that_agree_keeps_no_notice_of_the_model() {
    let folder = tempfile::tempdir().unwrap();
    let run = trained(&folder, "run", &["--steps", "1"]);
    let notices = json(&run.join("manifest.json"))["notices"].clone();
    assert!(!notices.to_string().contains("config.json"), "{notices}");
}

/// f32 in halves is nearly f32 where the processor has the registers for it, and f32 itself, which is told, elsewhere.
#[test]
fn halves_are_multiplied_where_there_are_matrix_registers() {
    let folder = tempfile::tempdir().unwrap();
    let losses = |precision: &str| -> (Vec<f64>, String) {
        let run = trained(&folder, precision, &["--steps", "3", "--precision", precision]);
        let steps = crate::program::lines(&run.join("metrics.jsonl"));
        let losses = steps.iter().map(|step| step["loss"].as_f64().unwrap()).collect();
        (losses, json(&run.join("manifest.json"))["notices"].to_string())
    };
    let ((exact, _), (halves, notices)) = (losses("f32"), losses("bf16x3"));
    assert!(exact.iter().zip(&halves).all(|(a, b)| (a - b).abs() < 1e-4), "{exact:?} {halves:?}");
    let is_told = notices.contains("bf16x3 is computed as f32");
    let doctor = alone(&folder).arg("doctor").output().unwrap();
    assert_eq!(is_told, !text(&doctor.stdout).contains("AMX for --precision bf16"), "{notices}");
    assert!(!is_told || exact == halves);
}

/// A model that is rounded while it is loaded learns, and says so in its run; one without blocks has none to keep.
#[test]
fn matrices_are_held_as_they_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let run = trained(&folder, "run", &["--steps", "2", "--weights", "q8_0"]);
    let config = std::fs::read_to_string(run.join("config.toml")).unwrap();
    assert!(config.contains("weights = \"q8_0\""), "{config}");
    let losses = crate::program::lines(&run.join("metrics.jsonl"));
    assert!(losses.iter().all(|step| step["loss"].as_f64().unwrap().is_finite()), "{losses:?}");
    for (weights, problem, action) in [
        ("stored", "has no matrix in blocks of Q4_0 to Q6_K", "--weights q8_0"),
        (
            "q4_k",
            "has no matrix whose lines are made of whole blocks",
            "use --weights q8_0 or dense",
        ),
    ] {
        let output = alone(&folder)
            .args(["train", "--steps", "1", "--weights", weights, "--output", "no"])
            .output()
            .unwrap();
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{told}");
        let error = told.lines().find(|line| line.starts_with("error: ")).unwrap();
        assert!(error.contains(problem) && error.contains(action), "{error}");
        assert!(!folder.path().join("no").exists());
    }
}

/// One line, exit code 1, and the way out.
#[test]
fn an_adapter_that_took_a_part_of_the_base_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let run = trained(&folder, "run", &["--steps", "1"]);
    let path = run.join("adapter/adapter_config.json");
    let mut config = json(&path);
    config["init_lora_weights"] = value!("pissa");
    std::fs::write(&path, config.to_string()).unwrap();
    let adapter = run.join("adapter").display().to_string();
    let output = alone(&folder)
        .args(["generate", "--quiet", "--adapter", &adapter, "hello"])
        .output()
        .unwrap();
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
    for word in [
        "init_lora_weights",
        "pissa",
        "path_initial_model_for_weight_conversion",
        "merge_and_unload",
    ] {
        assert!(told.contains(word), "{told}");
    }
}
