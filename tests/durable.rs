//! Runs that were killed, interrupted or damaged, and go on as if nothing had happened.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

use crate::program::{alone, plugin, signal, start, text};
use serde_json::Value;
use tempfile::TempDir;

/// A run with every stage in it: calibration, evaluations, a baseline, two policies, noise.
fn arguments(output: &str) -> Vec<String> {
    let steps = "12";
    let (probe, other) = (plugin("probe.wasm"), plugin("fixed-kl.wasm"));
    [
        "train",
        "--quiet",
        "--policy",
        &probe,
        "--policy",
        &other,
        "--baseline",
        "--dropout",
        "0.1",
        "--dora",
        "--init",
        "pissa",
        "--neftune",
        "5",
        "--steps",
        steps,
        "--batch",
        "4",
        "--micro-batch",
        "2",
        "--eval-limit",
        "4",
        "--eval-every",
        "3",
        "--validation",
        "0.1",
        "--keep",
        "best",
        "--set",
        "eval.during.max_new_tokens=4",
        "--checkpoint-every",
        "1",
        "--output",
        output,
    ]
    .map(str::to_owned)
    .to_vec()
}

fn resume(folder: &TempDir, name: &str) -> Output {
    let mut command = alone(folder);
    command.args(["train", "--resume", name]).output().unwrap()
}

#[track_caller]
fn resumed(folder: &TempDir, name: &str) -> String {
    let output = resume(folder, name);
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stderr).to_owned()
}

/// Everything of a run that does not depend on the clock.
fn results(run: &Path) -> Vec<(String, Vec<u8>)> {
    let mut results = Vec::new();
    for part in [run.to_owned(), run.join("baseline")] {
        for file in [
            "adapter/adapter_model.safetensors",
            "adapter-last/adapter_model.safetensors",
            "calibration.json",
            "generations.jsonl",
            "journal/records.jsonl",
            "journal/tensors.bin",
        ] {
            if let Ok(bytes) = std::fs::read(part.join(file)) {
                results.push((part.join(file).display().to_string(), bytes));
            }
        }
        for name in ["metrics.jsonl", "evaluations.jsonl"] {
            let records = std::fs::read_to_string(part.join(name)).unwrap();
            let untimed = records.lines().map(|line| {
                let mut line: Value = serde_json::from_str(line).unwrap();
                for clock in ["seconds", "tokens_per_second", "policy_milliseconds"] {
                    line.as_object_mut().unwrap().remove(clock);
                }
                line.to_string()
            });
            let untimed: Vec<String> = untimed.collect();
            results.push((name.into(), untimed.join("\n").into_bytes()));
        }
        let mut report = crate::program::json(&run.join("report.json"));
        for trained in ["trained", "baseline"] {
            let kept = report[trained]["evaluations"]["kept"].take();
            results.push((format!("what {trained} kept"), kept.to_string().into_bytes()));
        }
    }
    results
}

#[track_caller]
fn assert_same(run: &Path, whole: &[(String, Vec<u8>)]) {
    let found = results(run);
    assert_eq!(found.len(), whole.len());
    for ((name, found), (_, expected)) in found.iter().zip(whole) {
        assert!(found == expected, "{name} is not what it is without a stop");
    }
}

/// Numbers in [0, 1) that look like chance and are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// SIGKILL at random moments, from the first millisecond to the last;
/// `HOST_TEST_KILLS=100` for more of them.
#[test]
fn a_killed_run_goes_on_to_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let began = Instant::now();
    let first = start(&folder, &arguments("whole")).wait_with_output().unwrap();
    assert!(first.status.success(), "{}", text(&first.stderr));
    let took = began.elapsed();
    let whole = results(&folder.path().join("whole"));
    assert_eq!(whole.len(), 14);

    let wanted = std::env::var("HOST_TEST_KILLS").map_or(5, |kills| kills.parse().unwrap());
    let (mut kills, mut dice, mut repeated) = (0, Dice(17), 0);
    for number in 0.. {
        let name = format!("killed-{number}");
        let run = folder.path().join(&name);
        let mut next = arguments(&name);
        loop {
            let mut process = start(&folder, &next);
            let moment = Instant::now() + took.mul_f64(dice.roll());
            while process.try_wait().unwrap().is_none() && Instant::now() < moment {
                std::thread::sleep(Duration::from_millis(1));
            }
            let killed = process.kill().is_ok() && kills < wanted;
            let output = process.wait_with_output().unwrap();
            if output.status.success() {
                break;
            }
            assert_eq!(output.status.code(), None, "{}", text(&output.stderr));
            kills += usize::from(killed);
            next = if run.join("config.toml").exists() {
                ["train", "--quiet", "--resume", &name].map(str::to_owned).to_vec()
            } else {
                assert!(!run.exists());
                repeated += 1;
                arguments(&name)
            };
            if kills >= wanted {
                let last = start(&folder, &next).wait_with_output().unwrap();
                assert!(last.status.success(), "{}", text(&last.stderr));
                break;
            }
        }
        assert_same(&run, &whole);
        std::fs::remove_dir_all(&run).unwrap();
        if kills >= wanted {
            break;
        }
    }
    eprintln!("{kills} kills, {repeated} of them before the run's folder was begun");
}

/// A run that was interrupted by Ctrl-C in the middle of its training.
fn interrupted(folder: &TempDir, name: &str) -> PathBuf {
    let mut long = arguments(name);
    let place = long.iter().position(|argument| argument == "12").unwrap();
    long[place] = "400".into();
    long.retain(|argument| argument != "--baseline");
    long.push("--no-baseline".into());
    long.extend(["--set".into(), "checkpoints.keep=3".into()]);
    let process = start(folder, &long);
    let run = folder.path().join(name);
    let far = run.join("checkpoints/step-000004");
    let begun = Instant::now();
    while !far.exists() && begun.elapsed() < Duration::from_secs(120) {
        std::thread::sleep(Duration::from_millis(2));
    }
    signal(&process, "INT");
    let output = process.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
    run
}

fn checkpoints(run: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(run.join("checkpoints")).unwrap();
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

#[test]
fn a_damaged_checkpoint_is_named_and_the_one_before_it_used() {
    let folder = tempfile::tempdir().unwrap();
    let run = interrupted(&folder, "run");
    let found = checkpoints(&run);
    assert_eq!(found.len(), 3);
    let flip = |path: &Path| {
        let file = path.join("tensors.safetensors");
        let mut bytes = std::fs::read(&file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
        std::fs::write(&file, bytes).unwrap();
    };
    flip(&found[2]);
    let state = std::fs::read(found[1].join("state.json")).unwrap();
    std::fs::write(found[1].join("state.json"), &state[..state.len() / 2]).unwrap();
    let mut process = start(&folder, &["train", "--resume", "run"].map(str::to_owned));
    // Long enough to see what it begins from.
    let newest = found[2].file_name().unwrap().to_str().unwrap().to_owned();
    let aside = run.join("checkpoints").join(format!("damaged-{newest}"));
    let begun = Instant::now();
    while !(aside.exists() && found[2].exists()) && begun.elapsed() < Duration::from_secs(120) {
        assert!(process.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(5));
    }
    process.kill().unwrap();
    let output = process.wait_with_output().unwrap();
    let said = text(&output.stderr);
    let base = found[0].file_name().unwrap().to_str().unwrap();
    for part in
        ["sha256 is another", "bytes; the checkpoint is set aside", &format!("{base}, step")]
    {
        assert!(said.contains(part), "{part:?} in {said}");
    }
}

#[test]
fn what_saves_memory_may_be_switched_on_when_a_run_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let whole = start(&folder, &arguments("whole")).wait_with_output().unwrap();
    assert!(whole.status.success(), "{}", text(&whole.stderr));
    let mut process = start(&folder, &arguments("run"));
    let run = folder.path().join("run");
    let begun = Instant::now();
    while !run.join("checkpoints/step-000002").exists() && begun.elapsed().as_secs() < 120 {
        std::thread::sleep(Duration::from_millis(2));
    }
    process.kill().unwrap();
    process.wait().unwrap();

    let more = ["--checkpoint-activations", "--data-memory", "0", "--checkpoint-every", "2"];
    let mut command = alone(&folder);
    let output = command.args(["train", "--quiet", "--resume", "run"]).args(more).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_same(&run, &results(&folder.path().join("whole")));
    // And stays so for whoever goes on after that.
    let config = std::fs::read_to_string(run.join("config.toml")).unwrap();
    assert!(config.contains("checkpoint_activations = true"), "{config}");
    assert!(config.contains("memory_mib = 0"), "{config}");
    assert!(config.contains("every_steps = 2"), "{config}");
    resumed(&folder, "run");
    assert_eq!(std::fs::read_to_string(run.join("config.toml")).unwrap(), config);
}

#[test]
fn a_run_goes_on_only_as_what_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let rows: String = (0..6)
        .map(|n| format!("{{\"prompt\": \"What is {n}?\", \"answer\": \"A number.\"}}\n"))
        .collect();
    let data = folder.path().join("rows.jsonl");
    std::fs::write(&data, &rows).unwrap();
    let arguments = [
        "train",
        "--quiet",
        "--data",
        "rows.jsonl",
        "--steps",
        "2",
        "--batch",
        "2",
        "--output",
        "run",
    ];
    let output = alone(&folder).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let refused = |name: &str, more: &[&str], code: i32, part: &str| {
        let mut command = alone(&folder);
        command.args(["train", "--quiet", "--resume", name]).args(more);
        let output = command.output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(part), "{part:?} in {said}");
        if code == 1 {
            assert_eq!(said.trim_end().lines().count(), 1, "{said}");
        }
    };
    // One that is over has nothing to do and says what it found.
    let again = resume(&folder, "run");
    assert!(again.status.success() && text(&again.stdout).contains("optimizer steps"));

    refused("absent", &[], 1, "is not there");
    refused("run", &["--lr", "1e-3"], 2, "--lr");
    std::fs::write(&data, rows.replace("A number.", "No number.")).unwrap();
    refused("run", &[], 1, "the data rows.jsonl are not what");
    std::fs::write(&data, &rows).unwrap();
    resumed(&folder, "run");
    let config = std::fs::File::open(folder.path().join("run/config.toml")).unwrap();
    config.lock().unwrap();
    refused("run", &[], 1, "another process");
}
