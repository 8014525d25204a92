//! Several processes that train together, started by mpirun:
//! `cargo test --release --workspace --features host/mpi --test end_to_end parallel`

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use hostile::HostilePolicy;
use serde_json::Value;
use tempfile::TempDir;

use crate::program::{SHORT, alone, json, lines, plugin, signal, text, trained};

/// Reads and steers all that takes more than one sample to get wrong.
const WATCHFUL: &str = r#"
;; Reads both models and holds the second and the third of four samples.
;;
;; stopped: never
;; by: nothing
;; exit: 0
;; answer: configure/ok/taps = [{"source": "Current", "position": "AnswerMean", "layers": [2, 3]}, {"source": "Reference", "position": "PromptMean", "layers": [1]}]
;; answer: configure/ok/tokens = ["current", "reference"]
;; answer: configure/ok/canary_every = 2
;; answer: configure/ok/drift = true
;; answer: configure/ok/steering = {"vector": "SafetyInstruction", "layers": [1, 3]}
;; answer: configure/ok/actuators = ["label-divergence", "learning-rate", "ema"]
;; answer: assess/ok/risk = [0.0, 0.9, 0.5, 0.0]
;; answer: assess/ok/regularization/task_weight = [1.0, 0.1, 0.5, 1.0]
;; answer: assess/ok/regularization/kl_weight = [0.0, 0.9, 0.5, 0.0]
;; answer: assess/ok/regularization/divergence = "LabelK2"
;; answer: assess/ok/regularization/learning_rate_scale = 0.5
;; answer: assess/ok/regularization/ema = {"decay": 0.5, "in_path": true}
;; answer: assess/ok/regularization/steering = {"coefficient": 1.5, "project": true, "reference": true}
"#;

/// mpirun as any user and on any number of cores; `arguments` are its own.
fn mpirun(folder: &TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::new("mpirun");
    command
        .current_dir(folder.path())
        .env("OMPI_ALLOW_RUN_AS_ROOT", "1")
        .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
        .env("OMPI_MCA_rmaps_base_oversubscribe", "1")
        .env("RAYON_NUM_THREADS", "1")
        .arg("-q")
        .args(arguments);
    for (name, value) in alone(folder).get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    command
}

fn host() -> PathBuf {
    assert_cmd::cargo::cargo_bin("host")
}

/// The program as `ranks` ranks.
fn ranks(folder: &TempDir, ranks: usize, arguments: &[&str]) -> Command {
    let mut command = mpirun(folder, &["-n", &ranks.to_string()]);
    command.arg(host()).args(arguments);
    command
}

fn train(folder: &TempDir, size: usize, name: &str, arguments: &[&str]) -> Output {
    let arguments = [&SHORT[..], &["--quiet", "--output", name], arguments].concat();
    ranks(folder, size, &arguments).output().unwrap()
}

#[track_caller]
fn trained_by(folder: &TempDir, size: usize, name: &str, arguments: &[&str]) -> PathBuf {
    let output = train(folder, size, name, arguments);
    assert!(output.status.success(), "{}", text(&output.stderr));
    folder.path().join(name)
}

fn metrics(run: &Path) -> Vec<Value> {
    lines(&run.join("metrics.jsonl"))
}

fn parameters(run: &Path) -> Vec<f32> {
    let bytes = std::fs::read(run.join("adapter/adapter_model.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors = tensors.tensors();
    tensors.sort_by(|one, other| one.0.cmp(&other.0));
    let values = tensors.iter().flat_map(|(_, view)| view.data().chunks(4));
    values.map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
}

/// Every file that doesn't depend on the clock.
fn assert_same_bytes(one: &Path, other: &Path) {
    let mut compared = 0;
    for file in ["adapter/adapter_model.safetensors", "calibration.json", "journal/tensors.bin"] {
        let read = |run: &Path| std::fs::read(run.join(file)).ok();
        let (one, other) = (read(one), read(other));
        compared += usize::from(one.is_some());
        assert!(one == other, "{file} differs");
    }
    assert!(compared > 0);
    assert_eq!(records(one), records(other));
}

/// What a journal holds, but for its chain and the configuration: that names the micro-batch.
fn records(run: &Path) -> Vec<Value> {
    let path = run.join("journal/records.jsonl");
    let records = if path.exists() { lines(&path) } else { Vec::new() };
    let entry = |mut record: Value| {
        let mut entry = record["entry"].take();
        if let Some(identity) = entry.get_mut("identity") {
            identity["run"].take();
            assert!(identity["parts"]["config"].take().is_string());
        }
        entry
    };
    records.into_iter().map(entry).collect()
}

/// To 1e-6, relative. A KL is a difference of log-probabilities of the size of the loss,
/// so its rounding is one of that size.
fn assert_close(one: &Path, other: &Path) {
    let (steps, others) = (metrics(one), metrics(other));
    assert_eq!(steps.len(), others.len());
    for (step, (a, b)) in steps.iter().zip(&others).enumerate() {
        let loss = a["task_loss"].as_f64().unwrap_or_default();
        for key in ["loss", "task_loss", "kl", "gradient_norm", "learning_rate"] {
            let (a, b) = (a[key].as_f64(), b[key].as_f64());
            let (Some(a), Some(b)) = (a, b) else {
                assert_eq!(a, b, "step {step}: {key}");
                continue;
            };
            let size = if key == "kl" { loss.max(a) } else { a.abs() };
            let error = (a - b).abs() / size.max(1e-3);
            assert!(error <= 1e-6, "step {step}: {key} {a} {b}");
        }
        for key in ["samples", "tokens", "answer_tokens", "risk", "task_weight"] {
            assert_eq!(a[key], b[key], "step {step}: {key}");
        }
    }
    let (a, b) = (parameters(one), parameters(other));
    assert_eq!(a.len(), b.len());
    let norm = |values: &mut dyn Iterator<Item = f32>| {
        values.map(|value| f64::from(value).powi(2)).sum::<f64>().sqrt()
    };
    let error = norm(&mut a.iter().zip(&b).map(|(a, b)| a - b));
    let error = error / norm(&mut a.iter().copied());
    assert!(error <= 1e-6, "parameters: {error}");
}

/// So many rows of the demo's data.
fn rows(folder: &TempDir, count: usize) -> String {
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/demo/data/train.jsonl");
    let lines = std::fs::read_to_string(data).unwrap();
    let lines: Vec<&str> = lines.lines().take(count).collect();
    let path = folder.path().join(format!("rows-{count}.jsonl"));
    std::fs::write(&path, lines.join("\n")).unwrap();
    path.display().to_string()
}

fn watchful(folder: &TempDir) -> String {
    let path = folder.path().join("watchful.wasm");
    let policy = HostilePolicy::parse("watchful", WATCHFUL.trim_start()).unwrap();
    std::fs::write(&path, policy.bytes().unwrap()).unwrap();
    path.display().to_string()
}

/// One micro-batch a rank is the same sum in the same order: the same bytes.
#[test]
fn two_ranks_are_one_process_with_twice_the_accumulation() {
    let folder = tempfile::tempdir().unwrap();
    let (probe, kl, watchful) = (plugin("probe.wasm"), plugin("fixed-kl.wasm"), watchful(&folder));
    let policies: [&[&str]; 3] = [
        &["--dropout", "0.1", "--dora", "--init", "pissa"],
        &["--policy", &probe, "--policy", &kl],
        &["--policy", &watchful],
    ];
    for (number, policies) in policies.iter().enumerate() {
        // Twice through the data, so that the reference is remembered.
        let rows = rows(&folder, 16);
        let of_step = ["--data", &rows, "--epochs", "2", "--batch", "4"];
        let demo = [
            "--set",
            "calibration.data=['demo:calibrate.jsonl']",
            "--set",
            "canary.prompts=['demo:canary.jsonl']",
        ];
        let arguments = [&of_step[..], &demo, policies].concat();
        let halved = [&arguments[..], &["--micro-batch", "2"]].concat();
        let one = trained(&folder, &format!("one-{number}"), &halved);
        let two = trained_by(&folder, 2, &format!("two-{number}"), &arguments);
        assert_eq!(metrics(&one).len(), 8);
        assert_close(&one, &two);
        assert_same_bytes(&one, &two);
    }
}

/// The order of a sum is another where a rank adds up first.
#[test]
fn several_micro_batches_a_rank_and_short_steps_change_no_more_than_rounding() {
    let folder = tempfile::tempdir().unwrap();
    let probe = plugin("probe.wasm");
    // Of the last step, 3 samples are for 4 ranks.
    let rows = rows(&folder, 19);
    let demo = "calibration.data=['demo:calibrate.jsonl']";
    let arguments = ["--data", &rows, "--batch", "8", "--micro-batch", "1"];
    let arguments = [&arguments[..], &["--policy", &probe, "--set", demo]].concat();
    let one = trained(&folder, "one", &arguments);
    for size in [2, 3, 4] {
        let several = trained_by(&folder, size, &format!("by-{size}"), &arguments);
        assert_eq!(metrics(&several).last().unwrap()["samples"], 3);
        assert_close(&one, &several);
    }
}

#[test]
fn there_is_one_run_one_screen_and_one_report() {
    let folder = tempfile::tempdir().unwrap();
    let probe = plugin("probe.wasm");
    let arguments = ["train", "--policy", &probe, "--steps", "3", "--eval-limit", "4", "--json"];
    let output =
        ranks(&folder, 2, &[&arguments[..], &["--output", "run"]].concat()).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["baseline"]["steps"], 3);
    assert_eq!(report["after"]["refusal"]["total"], 4);
    let told = text(&output.stderr);
    for once in ["first training example", "fine-tuning under probe", "2 processes train together"]
    {
        assert_eq!(told.matches(once).count(), 1, "{once}: {told}");
    }
    let entries = std::fs::read_dir(folder.path()).unwrap();
    let runs =
        entries.filter(|entry| entry.as_ref().unwrap().path().join("manifest.json").exists());
    assert_eq!(runs.count(), 1);
    alone(&folder).args(["audit", "--run", "run"]).assert().success();
}

/// One line of ours, whatever mpirun says besides.
#[track_caller]
fn assert_fails(output: &Output, code: i32, parts: &[&str]) {
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{told}");
    let errors: Vec<&str> = told.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "{told}");
    for part in parts {
        assert!(errors[0].contains(part), "no {part:?} in {told}");
    }
}

#[test]
fn a_fault_ends_all_ranks_with_its_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let probe = plugin("probe.wasm");
    let starve = ["--policy", &probe, "--set", "limits.fuel_per_call=300000"];
    let output = train(&folder, 2, "run", &starve);
    assert_fails(&output, 3, &["policy probe", "assess at step 0", "300000"]);
    let run = folder.path().join("run");
    assert_eq!(json(&run.join("manifest.json"))["status"], "failed");
    assert!(!run.join("adapter").exists());
    // One that can't be survived for ever is survived by all ranks for a while.
    let strict = [&starve[..], &["--on-fault", "strict=2"]].concat();
    let output = train(&folder, 2, "strict", &strict);
    assert_fails(&output, 3, &["assess at step 2"]);
    assert_eq!(metrics(&folder.path().join("strict")).len(), 2);
}

#[test]
fn an_error_of_one_rank_ends_all_and_is_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let (here, there) = (folder.path().join("here"), folder.path().join("there"));
    std::fs::create_dir(&here).unwrap();
    std::fs::create_dir(&there).unwrap();
    let apart = || {
        let at = |place: &Path| ["-n", "1", "-wdir", place.to_str().unwrap()].map(str::to_owned);
        let program =
            [&["train", "--quiet", "--data", "rows.jsonl", "--output", "run"][..]].concat();
        let mut command = mpirun(&folder, &[]);
        command.args(at(&here)).arg(host()).args(&program);
        command.arg(":").args(at(&there)).arg(host()).args(&program);
        command.output().unwrap()
    };
    std::fs::copy(rows(&folder, 8), here.join("rows.jsonl")).unwrap();
    assert_fails(&apart(), 1, &["rank 1: ", "rows.jsonl", "No such file"]);
    std::fs::copy(rows(&folder, 7), there.join("rows.jsonl")).unwrap();
    assert_fails(&apart(), 1, &["the training data on rank 1 differs"]);
    assert!(!here.join("run").exists());

    // What the first one alone can't do.
    let output = train(&folder, 2, "/proc/run", &["--steps", "2"]);
    assert_fails(&output, 1, &["/proc/run"]);
    let output = train(&folder, 2, "run", &["--batch", "0"]);
    assert_fails(&output, 2, &["train.batch"]);
    let output = ranks(&folder, 2, &["train", "--unheard-of"]).output().unwrap();
    assert_fails(&output, 2, &["--unheard-of"]);
    let output = ranks(&folder, 2, &["eval"]).output().unwrap();
    assert_fails(&output, 2, &["without mpirun"]);
}

fn start(folder: &TempDir, arguments: &[&str]) -> Child {
    let mut command = ranks(folder, 2, &[&SHORT[..], &["--quiet"], arguments].concat());
    let command = command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

fn wait_for_steps(run: &Path) {
    let started = Instant::now();
    while std::fs::metadata(run.join("metrics.jsonl")).map_or(0, |file| file.len()) == 0 {
        assert!(started.elapsed() < Duration::from_secs(60), "no step was made");
        sleep(Duration::from_millis(20));
    }
}

/// None if it had to be killed.
fn end(mut child: Child) -> Option<i32> {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(60) {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    None
}

#[test]
fn a_run_that_was_interrupted_goes_on_to_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let probe = plugin("probe.wasm");
    let arguments = ["--policy", &probe, "--steps", "200"];
    let whole = trained(&folder, "whole", &[&arguments[..], &["--micro-batch", "4"]].concat());
    let child = start(&folder, &[&arguments[..], &["--output", "run"]].concat());
    let run = folder.path().join("run");
    wait_for_steps(&run);
    signal(&child, "USR1");
    assert_eq!(end(child), Some(130));
    assert_eq!(json(&run.join("manifest.json"))["status"], "interrupted");
    assert!(metrics(&run).len() < 200);
    let output = ranks(&folder, 2, &["train", "--quiet", "--resume", "run"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(metrics(&run).len(), 200);
    assert_same_bytes(&whole, &run);
}

#[test]
fn evaluations_and_what_they_decide_are_those_of_one_process() {
    let folder = tempfile::tempdir().unwrap();
    // The margin falls from the start, so patience ends both long before step 40.
    let evaluated = ["--eval-every", "4", "--validation", "0.1", "--keep", "best"];
    let arguments = [&evaluated[..], &["--best", "margin", "--patience", "2", "--steps", "40"]];
    let arguments = arguments.concat();
    let one = trained(&folder, "one", &[&arguments[..], &["--micro-batch", "4"]].concat());
    let two = trained_by(&folder, 2, "two", &arguments);
    assert_same_bytes(&one, &two);
    let found = |run: &Path| {
        let mut all = lines(&run.join("evaluations.jsonl"));
        all.iter_mut().for_each(|one| drop(one["seconds"].take()));
        (all, json(&run.join("report.json"))["trained"]["evaluations"]["kept"].take())
    };
    assert_eq!(found(&one), found(&two));
    assert_eq!(json(&two.join("manifest.json"))["status"], "early-stop");
    assert!(metrics(&two).len() < 40);
}

/// mpirun gives its ranks a second, and its own exit code.
#[test]
fn ctrl_c_at_mpirun_leaves_no_rank_behind() {
    let folder = tempfile::tempdir().unwrap();
    let child = start(&folder, &["--epochs", "1000", "--output", "run"]);
    let run = folder.path().join("run");
    wait_for_steps(&run);
    signal(&child, "INT");
    assert!(end(child).is_some_and(|code| code != 0), "it hung");
    let steps = metrics(&run).len();
    sleep(Duration::from_millis(500));
    assert_eq!(metrics(&run).len(), steps, "a rank goes on");
}
