//! Bad input ends in one clear line, the right exit code, and nothing left behind.

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use predicates::prelude::*;

const PROBE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins/probe.wasm");
const SFT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins/sft.wasm");

pub struct Case {
    folder: tempfile::TempDir,
}

impl Case {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// Runs `host` in the case's folder and checks code, message and that the run
    /// folder was never made.
    pub fn fails(&self, arguments: &[&str], code: i32, parts: &[&str]) {
        let before = entries(self.folder.path());
        let output = Command::cargo_bin("host")
            .unwrap()
            .current_dir(self.folder.path())
            .args(arguments)
            .output()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        let last = stderr.lines().last().unwrap_or_default();
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        assert!(last.starts_with("error: "), "{stderr}");
        for part in parts {
            assert!(last.contains(part), "no {part:?} in {last}");
        }
        assert!(!stderr.contains("panicked"), "{stderr}");
        assert!(output.stdout.is_empty());
        assert_eq!(entries(self.folder.path()), before, "files were left behind");
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

#[test]
fn policy_files_that_are_none() {
    let case = Case::new();
    case.fails(&["train", "--policy", "nowhere.wasm"], 1, &["nowhere.wasm", "No such file"]);
    case.file("text.wasm", "hello");
    case.fails(&["train", "--policy", "text.wasm"], 1, &["text.wasm"]);
    case.file("core.wasm", wat::parse_str("(module)").unwrap());
    case.fails(&["train", "--policy", "core.wasm"], 1, &["core.wasm", "core module"]);
    let whole = std::fs::read(PROBE).unwrap();
    case.file("half.wasm", &whole[..whole.len() / 2]);
    case.fails(&["train", "--policy", "half.wasm"], 1, &["half.wasm"]);
    case.file(
        "files.wasm",
        wat::parse_str("(component (import \"wasi:filesystem/types@0.2.0\" (instance)))").unwrap(),
    );
    case.fails(
        &["train", "--policy", "files.wasm"],
        1,
        &["files.wasm", "wasi:filesystem/types@0.2.0"],
    );
}

#[test]
fn a_pinned_policy_must_have_its_digest() {
    let pin = format!("policy.sha256={}", "0".repeat(64));
    Case::new().fails(&["train", "--policy", SFT, "--set", &pin], 1, &["sha256"]);
}

#[test]
fn settings_the_policy_rejects() {
    let case = Case::new();
    case.fails(
        &["train", "--policy", PROBE, "--set", "policy.settings.b_max=7"],
        1,
        &["probe", "b_max"],
    );
    case.fails(
        &["train", "--policy", PROBE, "--set", "policy.settings.b_mx=0.7"],
        1,
        &["probe", "b_mx", "b_max"],
    );
}

#[test]
fn needs_the_run_cannot_meet() {
    let case = Case::new();
    case.file("rows.jsonl", "{\"prompt\": \"a\", \"answer\": \"b\"}\n");
    case.fails(
        &["train", "--policy", PROBE, "--data", "rows.jsonl"],
        1,
        &["labelled prompts", "--labelled"],
    );
}

#[test]
fn configurations() {
    let case = Case::new();
    case.file("run.toml", "[train]\nlerning_rate = 1e-3\n");
    case.fails(&["train", "--config", "run.toml"], 2, &["train.lerning_rate", "learning_rate?"]);
    case.fails(&["train", "--config", "none.toml"], 1, &["none.toml"]);
    case.fails(&["train", "--set", "train.batch=0"], 2, &["train.batch"]);
    case.fails(&["train", "--set", "batch"], 2, &["key=value"]);
    case.fails(&["train", "--device", "tpu"], 2, &["tpu", "cpu"]);
    case.fails(&["train", "--lr", "7"], 2, &["train.learning_rate"]);
    case.fails(&["train", "--dropout", "1"], 2, &["lora.dropout", "in [0, 1)"]);
    case.fails(&["train", "--neftune", "inf"], 2, &["train.neftune_alpha"]);
    Command::cargo_bin("host")
        .unwrap()
        .args(["train", "--polciy", "x"])
        .assert()
        .code(2)
        .stderr(predicate::str::contains("--policy"));
}

#[test]
fn data_files() {
    let case = Case::new();
    let fails = |name: &str, content: &[u8], parts: &[&str]| {
        case.file(name, content);
        case.fails(&["train", "--data", name], 1, parts);
    };
    fails("empty.jsonl", b"", &["empty.jsonl"]);
    fails("bad.jsonl", b"{\"prompt\": \"a\", \"answer\": \"b\"}\n{oops\n", &["bad.jsonl", "2"]);
    fails(
        "noanswer.jsonl",
        b"{\"prompt\": \"a\", \"answer\": \"b\"}\n{\"prompt\": \"a\"}\n",
        &["noanswer.jsonl", "2"],
    );
    fails(
        "bytes.jsonl",
        b"{\"prompt\": \"\xff\xfe\", \"answer\": \"b\"}\n",
        &["bytes.jsonl", "UTF-8"],
    );
    let long = format!("{{\"prompt\": \"{}\", \"answer\": \"b\"}}\n", "word ".repeat(3000));
    fails("long.jsonl", long.as_bytes(), &["long.jsonl", "512", "shorten the rows"]);
    case.fails(&["train", "--data", "missing.jsonl"], 1, &["missing.jsonl"]);
}

#[test]
fn models() {
    let case = Case::new();
    case.fails(&["generate", "--model", "no/such/folder", "hi"], 1, &["no/such/folder"]);
    case.file("short.gguf", b"GGUF\x03\0\0\0");
    case.fails(&["generate", "--model", "short.gguf", "hi"], 1, &["short.gguf"]);
    let folder = case.folder.path().join("model");
    std::fs::create_dir(&folder).unwrap();
    case.fails(&["generate", "--model", "model", "hi"], 1, &["model", "config.json"]);
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/demo/model");
    for name in ["config.json", "tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(demo.join(name), folder.join(name)).unwrap();
    }
    let weights = std::fs::read(demo.join("model.safetensors")).unwrap();
    std::fs::write(folder.join("model.safetensors"), &weights[..weights.len() / 2]).unwrap();
    case.fails(&["generate", "--model", "model", "hi"], 1, &["model.safetensors"]);
    std::fs::write(folder.join("model.safetensors"), &weights).unwrap();
    std::fs::write(folder.join("tokenizer.json"), "{\"version\":").unwrap();
    case.fails(&["generate", "--model", "model", "hi"], 1, &["tokenizer.json"]);
}

#[test]
fn an_output_that_exists_is_kept() {
    let case = Case::new();
    std::fs::create_dir(case.folder.path().join("out")).unwrap();
    case.fails(
        &["train", "--policy", SFT, "--steps", "1", "--output", "out"],
        1,
        &["out exists already", "--output"],
    );
}

#[test]
fn an_output_that_cannot_be_written() {
    let case = Case::new();
    case.file("plain", "a file");
    case.fails(&["train", "--policy", SFT, "--steps", "1", "--output", "plain/run"], 1, &["plain"]);
}

#[test]
fn a_calibration_that_asks_for_more_than_the_policy() {
    let case = Case::new();
    let file = case.folder.path().join("probe.json");
    Command::cargo_bin("host")
        .unwrap()
        .args(["calibrate", "--quiet", "--policy", PROBE, "--output"])
        .arg(&file)
        .assert()
        .success();
    let text = std::fs::read_to_string(&file).unwrap();
    let mut calibration: serde_json::Value = serde_json::from_str(&text).unwrap();
    calibration["needs"]["actuators"] = serde_json::json!(["anchor"]);
    case.file("probe.json", calibration.to_string());
    let arguments = ["train", "--policy", PROBE, "--calibration", "probe.json"];
    case.fails(&arguments, 1, &["probe.json", "actuators", "host calibrate"]);
}
