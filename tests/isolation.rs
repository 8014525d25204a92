//! The processes that compile policies and, if asked, run them: what they are, what holds them,
//! and that a policy answers in one as it does in the host.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use host_audit::cases::{Case, paths};
use host_files::apart::{Budget, Jail, Task};
use host_sandbox::{Assessed, Confinement, Engine, Error, Limit, Limits, Policy, Worker};
use serde_json::{Value, json};

use crate::program::{SHORT, alone, json as read_json, plugins, run, trained};
use crate::support::{Guest, sample, says};

fn worker() -> Worker {
    Worker::new(assert_cmd::cargo::cargo_bin("host"), &["worker"])
}

fn engine(limits: &Limits, isolate: bool) -> Engine {
    Engine::guarded(limits, worker(), None).unwrap().isolated(isolate)
}

fn assess(policy: &Policy) -> host_sandbox::Result<Assessed> {
    let (run, signals, needs) = (sample::run(), sample::signals(), sample::needs());
    policy.assess(sample::call(&run, &signals, &needs))
}

/// What a running process may do, as the kernel tells it.
fn status(child: &Child, field: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim_start_matches(':').trim().to_owned()
}

#[test]
fn a_worker_is_locked_in_before_it_reads_what_nobody_vouches_for() {
    let reading = Budget::reading(8 << 30, Duration::from_secs(60), 1000);
    let running = Budget { task: Task::Run, ..reading };
    let jobs = [("compile", reading), ("run", running)];
    let jobs = jobs.into_iter().chain(["chat-template", "parquet"].map(|job| (job, reading)));
    for (job, budget) in jobs {
        let mut child = Command::new(assert_cmd::cargo::cargo_bin("host"))
            .args(["worker", job, &serde_json::to_string(&budget).unwrap()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = child.stdout.take().unwrap();
        let mut length = [0; 8];
        output.read_exact(&mut length).unwrap();
        let mut jail = vec![0; u64::from_le_bytes(length) as usize];
        output.read_exact(&mut jail).unwrap();
        let jail: Jail = serde_json::from_slice(&jail).unwrap();
        assert!(jail.missing.is_empty() && jail.holds.len() == 3, "{job}: {jail}");
        // A filter is in force, nothing can be gained, and nothing is left to lose.
        assert_eq!(status(&child, "Seccomp"), "2");
        assert_eq!(status(&child, "NoNewPrivs"), "1");
        for set in ["CapEff", "CapPrm", "CapInh", "CapAmb"] {
            assert_eq!(u64::from_str_radix(&status(&child, set), 16), Ok(0), "{set}");
        }
        drop(child.stdin.take());
        assert!(child.wait().unwrap().success());
    }
}

#[test]
fn every_shipped_policy_answers_the_same_in_a_process_of_its_own() {
    let limits = Limits::default();
    let (here, apart) = (engine(&limits, false), engine(&limits, true));
    let mut asked = 0;
    for entry in plugins().read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "wasm") {
            continue;
        }
        let near = Policy::load(&here, &path).unwrap();
        let far = Policy::load(&apart, &path).unwrap();
        assert_eq!(near.descriptor(), far.descriptor());
        for case in paths(&path.with_extension("")).unwrap() {
            let case = Case::read(&case).unwrap();
            let answers = [&near, &far].map(|policy| match case.answer(policy) {
                Ok(answer) => answer.to_string(),
                Err(error) => error.to_string(),
            });
            assert_eq!(answers[0], answers[1], "{}", path.display());
            asked += 1;
        }
    }
    assert!(asked > 100, "{asked}");
    let Confinement { isolated, jail } = apart.confinement();
    assert!(isolated && jail.is_some_and(|jail| jail.missing.is_empty()));
    assert!(!here.confinement().isolated);
}

#[test]
fn limits_fire_alike_in_a_process_of_its_own() {
    let limits = Limits {
        fuel_per_call: 50_000_000,
        memory_bytes: 8 << 20,
        stack_bytes: 64 << 10,
        ..Limits::default()
    };
    let (here, apart) = (engine(&limits, false), engine(&limits, true));
    let faults = [
        ("loop $l br $l end unreachable", Some(Limit::Fuel)),
        ("i32.const 4000 memory.grow drop unreachable", Some(Limit::Memory)),
        ("unreachable", None),
        ("i32.const -8 i32.load drop unreachable", None),
        ("i32.const 1 i32.const 0 i32.div_s drop unreachable", None),
    ];
    for (code, limit) in faults {
        let bytes = Guest::running("assess", code).component();
        let messages = [&here, &apart].map(|engine| {
            let policy = Policy::from_bytes(engine, "test.wasm", &bytes).unwrap();
            let error = assess(&policy).unwrap_err();
            assert!(error.is_fault(), "{error}");
            if let (Some(limit), Error::Limit { limit: hit, .. }) = (limit, &error) {
                assert_eq!(limit, *hit);
            }
            // The process goes on, and the next call is a fresh one.
            assert_eq!(assess(&policy).unwrap_err().to_string(), error.to_string());
            assert!(policy.describe_at_cost().is_ok());
            error.to_string()
        });
        assert_eq!(messages[0], messages[1], "{code}");
    }
}

/// Runs the worker, and writes its number to a file.
fn script(file: &Path, host: &Path) -> String {
    format!(r#"echo $$ > {}; exec {} worker "$0" "$1""#, file.display(), host.display())
}

/// A policy in a process of its own, and where the process writes its number.
fn numbered(folder: &tempfile::TempDir) -> (Policy, impl Fn() -> u32) {
    let host = assert_cmd::cargo::cargo_bin("host");
    let file = folder.path().join("number");
    let script = script(&file, &host);
    let worker = Worker::new("/bin/sh", &["-c", &script]);
    let engine = Engine::guarded(&Limits::default(), worker, None).unwrap().isolated(true);
    let policy = Policy::load(&engine, plugins().join("sft.wasm")).unwrap();
    (policy, move || fs::read_to_string(&file).unwrap().trim().parse().unwrap())
}

fn runs(number: u32) -> bool {
    // One that ended and wasn't waited for is no running one.
    fs::read_to_string(format!("/proc/{number}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn a_process_that_dies_is_a_fault_and_the_next_call_has_a_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let (policy, number) = numbered(&folder);
    let first = number();
    assert!(runs(first));
    let killed = Command::new("kill").args(["-KILL", &first.to_string()]).status().unwrap();
    assert!(killed.success());
    let error = assess(&policy).unwrap_err();
    assert!(error.is_fault());
    says(&error, &["policy sft", "the process that runs it ended (signal 9)"]);
    assert!(assess(&policy).is_ok());
    let second = number();
    assert!(first != second && runs(second) && !runs(first));
    drop(policy);
    assert!(!runs(second), "nothing is left behind");
}

#[test]
fn a_process_that_stands_still_is_ended_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let host = assert_cmd::cargo::cargo_bin("host");
    let file = folder.path().join("number");
    let script = script(&file, &host);
    let limits = Limits { call_milliseconds: 500, ..Limits::default() };
    let engine = Engine::guarded(&limits, Worker::new("/bin/sh", &["-c", &script]), None);
    let policy = Policy::load(&engine.unwrap().isolated(true), plugins().join("sft.wasm")).unwrap();
    let number = fs::read_to_string(&file).unwrap();
    assert!(Command::new("kill").args(["-STOP", number.trim()]).status().unwrap().success());
    let started = Instant::now();
    let error = assess(&policy).unwrap_err();
    assert!(matches!(error, Error::Limit { limit: Limit::Time, .. }), "{error}");
    assert!(started.elapsed() < Duration::from_secs(60));
    assert!(assess(&policy).is_ok());
}

#[test]
fn an_audit_reaches_the_same_code_in_a_process_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let policy = plugins().join("probe.wasm").display().to_string();
    let [here, apart] = ["false", "true"].map(|isolate| {
        let setting = format!("trust.isolate={isolate}");
        let arguments = ["audit", &policy, "--json", "--seed", "7", "--repeats", "2", "--set"];
        let arguments = [arguments.as_slice(), &[&setting]].concat();
        let output = run(folder.path(), &arguments);
        let audit: Value = serde_json::from_slice(&output.stdout).unwrap();
        audit["coverage"].clone()
    });
    assert_eq!(here, apart);
    let count = |name: &str| here[name].as_u64().unwrap();
    assert!(count("reached_blocks") > 100 && count("reached_blocks") < count("blocks"), "{here}");
    assert!(here["unreached"][0]["unreached"][0]["byte"].is_u64());
}

#[test]
fn a_run_is_the_same_with_its_policies_in_processes_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let policy = plugins().join("constrained-sft.wasm").display().to_string();
    let arguments = ["--policy", &policy, "--steps", "3"];
    let adapters = [("here", "false"), ("apart", "true")].map(|(name, isolate)| {
        let setting = format!("trust.isolate={isolate}");
        let arguments = [arguments.as_slice(), &["--set", &setting]].concat();
        let trained = trained(&folder, name, &arguments);
        let manifest = read_json(&trained.join("manifest.json"));
        assert_eq!(manifest["sandbox"]["isolated"], json!(isolate == "true"), "{manifest}");
        fs::read(trained.join("adapter/adapter_model.safetensors")).unwrap()
    });
    assert!(adapters[0] == adapters[1]);
}

#[test]
fn control_c_reaches_the_host_and_not_its_policies() {
    use std::os::unix::process::CommandExt as _;
    let folder = tempfile::tempdir().unwrap();
    let policy = plugins().join("constrained-sft.wasm").display().to_string();
    let command = alone(&folder);
    let mut process = Command::new(command.get_program());
    for (name, value) in command.get_envs() {
        process.env(name, value.unwrap_or_default());
    }
    let mut process = process
        .args(SHORT)
        .args(["--policy", &policy, "--steps", "100000", "--set", "trust.isolate=true"])
        .args(["--output", "run", "--quiet"])
        .current_dir(folder.path())
        .process_group(0)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let metrics = folder.path().join("run/metrics.jsonl");
    let waiting = Instant::now();
    while fs::metadata(&metrics).map_or(0, |file| file.len()) == 0 {
        assert!(process.try_wait().unwrap().is_none(), "it ended");
        assert!(waiting.elapsed() < Duration::from_secs(120), "no step was taken");
        std::thread::sleep(Duration::from_millis(50));
    }
    // As a terminal does: to the whole group.
    let group = format!("-{}", process.id());
    assert!(Command::new("kill").args(["-INT", "--", &group]).status().unwrap().success());
    assert_eq!(process.wait().unwrap().code(), Some(130));
}
