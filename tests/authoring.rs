//! `host policy new` and `host policy build`, up to a training run under the result.
//!
//! Rust and C are tried wherever their compilers are. HOST_TEST_LANGUAGES lists the
//! languages that must be tried, such as `rust,c,python,js`: what is missing is a
//! failure then. Python and JavaScript, whose tools are downloaded, need to be listed.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

use assert_cmd::Command;
use host_audit::cases::{self, Case, TOLERANCE};
use host_sandbox::{Engine, Limits, Policy};
use serde_json::Value;

use crate::program::plugins;

fn host(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::cargo_bin("host").unwrap();
    command.current_dir(folder).args(arguments);
    command.output().unwrap()
}

fn succeeds(folder: &Path, arguments: &[&str]) -> Value {
    let output = host(folder, arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {stderr}");
    serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
}

/// Runs what must fail with `code`; returns stderr.
fn fails(folder: &Path, arguments: &[&str], code: i32) -> String {
    let output = host(folder, arguments);
    told(&output, code)
}

fn told(output: &Output, code: i32) -> String {
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(output.stdout.is_empty());
    assert!(!stderr.contains("panicked"), "{stderr}");
    stderr
}

fn is_listed(language: &str) -> bool {
    std::env::var("HOST_TEST_LANGUAGES")
        .is_ok_and(|listed| listed.split(',').any(|word| word.trim() == language))
}

/// A project in a folder of its own.
struct Project {
    folder: tempfile::TempDir,
    source: &'static str,
}

impl Project {
    fn new(language: &str, source: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let new = ["policy", "new", "my-risk", "--lang", language, "--json"];
        let created = succeeds(folder.path(), &new);
        assert_eq!(created["language"], language);
        let files = created["files"].as_array().unwrap();
        assert!(files.contains(&source.into()), "{files:?}");
        let project = Self { folder, source };
        for file in files {
            assert!(project.path(file.as_str().unwrap()).is_file(), "{file}");
        }
        project
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join("my-risk").join(file)
    }

    /// None if the compiler isn't here and need not be.
    fn build(&self, language: &str) -> Option<Value> {
        let output = host(self.folder.path(), &["policy", "build", "my-risk", "--json"]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        if stderr.contains("which is not here") && !is_listed(language) {
            eprintln!("skipped: {}", stderr.lines().last().unwrap());
            return None;
        }
        assert!(output.status.success(), "{stderr}");
        Some(serde_json::from_slice(&output.stdout).unwrap())
    }

    fn load(&self) -> Policy {
        let engine = Engine::new(&Limits::default()).unwrap();
        Policy::load(&engine, self.path("my-risk.wasm")).unwrap()
    }
}

#[test]
fn a_rust_project_builds_passes_its_cases_and_trains() {
    if let Some(project) = a_project_keeps_its_promises("rust", "src/lib.rs") {
        let manifest = project.path("Cargo.toml");
        let mut cargo = Command::new("cargo");
        cargo.args(["test", "--quiet", "--manifest-path"]);
        cargo.arg(manifest).env_remove("CARGO_TARGET_DIR");
        cargo.assert().success();
        a_broken_source_leaves_the_component(&project, "compiling failed");
    }
}

#[test]
fn a_c_project_builds_passes_its_cases_and_trains() {
    if let Some(project) = a_project_keeps_its_promises("c", "src/policy.c") {
        a_broken_source_leaves_the_component(&project, "compiling src/policy.c failed");
    }
}

#[test]
fn a_project_written_for_contract_0_1_still_builds() {
    let project = Project::new("c", "src/policy.c");
    let wit = plugins().join("../wit/v0.1/policy.wit");
    std::fs::copy(wit, project.path("wit/policy.wit")).unwrap();
    let manifest = std::fs::read_to_string(project.path("policy.toml")).unwrap();
    let manifest = manifest.replace("wit = \"0.2\"", "wit = \"0.1\"");
    std::fs::write(project.path("policy.toml"), manifest).unwrap();
    if project.build("c").is_some() {
        let component = std::fs::read(project.path("my-risk.wasm")).unwrap();
        let exports =
            |name: &str| component.windows(name.len()).any(|part| part == name.as_bytes());
        assert!(exports("risk:policy/assessor@0.1.0") && !exports("risk:policy/assessor@0.2.0"));
        passes_its_cases(&project, "c");
    }
}

#[test]
fn a_python_project_builds_passes_its_cases_and_trains() {
    if is_listed("python") {
        let project = a_project_keeps_its_promises("python", "src/assessor.py").unwrap();
        a_broken_source_leaves_the_component(&project, "loading src/assessor.py failed");
    }
}

#[test]
fn a_js_project_builds_passes_its_cases_and_trains() {
    if is_listed("js") {
        let project = a_project_keeps_its_promises("js", "src/assessor.js").unwrap();
        a_broken_source_leaves_the_component(&project, "loading src/assessor.js failed");
    }
}

fn a_project_keeps_its_promises(language: &str, source: &'static str) -> Option<Project> {
    let project = Project::new(language, source);
    let built = project.build(language)?;
    let component = std::fs::read(project.path("my-risk.wasm")).unwrap();
    assert_eq!(built["bytes"], component.len());

    assert_eq!(built["sha256"], passes_its_cases(&project, language));
    training_follows_the_policy(&project);
    Some(project)
}

/// The component's digest.
fn passes_its_cases(project: &Project, language: &str) -> String {
    let policy = project.load();
    assert_eq!(policy.name(), "my-risk");
    let paths = cases::paths(&project.path("")).unwrap();
    assert!(paths.len() >= 6);
    for path in paths {
        let case = Case::read(&path).unwrap();
        if let Err(difference) = case.check(&policy, TOLERANCE) {
            panic!("{language}: {}: {difference}", path.display());
        }
    }
    policy.digest().to_owned()
}

/// Three real steps: risks as the template says, weights from them, and a state that
/// goes from step to step.
fn training_follows_the_policy(project: &Project) {
    let arguments = "train --quiet --steps 3 --no-baseline --output run \
        --set eval.harmful=[] --set eval.harmless=[] --set eval.task=[] --policy";
    let mut arguments: Vec<&str> = arguments.split_whitespace().collect();
    arguments.push("my-risk/my-risk.wasm");
    succeeds(project.folder.path(), &arguments);
    let file = project.folder.path().join("run/journal/records.jsonl");
    let text = std::fs::read_to_string(file).unwrap();
    let records = text.lines().map(|line| serde_json::from_str(line).unwrap());
    let assessments: Vec<Value> = records
        .filter(|record: &Value| record["entry"]["kind"] == "assessment")
        .map(|record| record["entry"]["answer"]["assessment"]["assessment"].clone())
        .collect();
    assert_eq!(assessments.len(), 3);
    let number = |value: &Value| value.as_f64().unwrap();
    let mut usual = None;
    let mut risks = Vec::new();
    for assessment in &assessments {
        let mean = number(&assessment["metrics"][0]["value"]);
        let found = number(&assessment["metrics"][1]["value"]);
        assert!(mean > 0.0 && (found - usual.unwrap_or(mean)).abs() < 1e-9);
        usual = Some(0.9 * found + 0.1 * mean);
        let weights = &assessment["regularization"]["kl_weight"];
        for (i, risk) in assessment["risk"].as_array().unwrap().iter().enumerate() {
            let risk = number(risk);
            assert!(risk > 0.0 && risk < 1.0);
            assert!((number(&weights[i]) - (0.1 + 0.8 * risk)).abs() < 1e-9);
            risks.push(risk);
        }
    }
    risks.sort_by(f64::total_cmp);
    risks.dedup();
    assert!(risks.len() > 8, "each sample has its own surprise: {risks:?}");
}

fn a_broken_source_leaves_the_component(project: &Project, message: &str) {
    let before = std::fs::read(project.path("my-risk.wasm")).unwrap();
    std::fs::write(project.path(project.source), "\u{a7} is no program (").unwrap();
    let stderr = fails(project.folder.path(), &["policy", "build", "my-risk"], 1);
    let last = stderr.lines().last().unwrap();
    assert!(last.starts_with("error: ") && last.contains(message), "{stderr}");
    assert!(stderr.lines().count() > 1, "the compiler's own words are missing");
    assert_eq!(std::fs::read(project.path("my-risk.wasm")).unwrap(), before);
}

#[test]
fn names_and_languages_that_are_none() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["My-Risk", "a/b", "a--b", ".."] {
        let stderr = fails(folder.path(), &["policy", "new", name, "--lang", "c"], 2);
        assert!(stderr.contains("joined by '-'"), "{stderr}");
    }
    let stderr = fails(folder.path(), &["policy", "new", "one", "--lang", "cobol"], 2);
    assert!(stderr.contains("rust, c, python, js"), "{stderr}");
    assert_eq!(folder.path().read_dir().unwrap().count(), 0);
}

#[test]
fn a_folder_that_exists_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("one");
    std::fs::create_dir(&path).unwrap();
    std::fs::write(path.join("mine"), "").unwrap();
    let new = ["policy", "new", "one", "--lang", "python"];
    let stderr = fails(folder.path(), &new, 1);
    assert!(stderr.contains("one exists already"), "{stderr}");
    assert_eq!(path.read_dir().unwrap().count(), 1);
    std::fs::write(folder.path().join("plain"), "").unwrap();
    let stderr =
        fails(folder.path(), &["policy", "new", "one", "--lang", "c", "--output", "plain/one"], 1);
    assert!(stderr.contains("plain/one"), "{stderr}");
    assert_eq!(folder.path().read_dir().unwrap().count(), 2);
}

#[test]
fn a_folder_without_a_good_manifest_is_no_project() {
    let folder = tempfile::tempdir().unwrap();
    let build = ["policy", "build"];
    let stderr = fails(folder.path(), &build, 1);
    assert!(stderr.contains("policy.toml") && stderr.contains("host policy new"));
    for (text, part) in [
        ("name = \"one\"\nlanguage = \"cobol\"\nwit = \"0.1\"\n", "line 2"),
        ("name = \"one\"\nlanguage = \"c\"\nwit = \"2.0\"\n", "\"2.0\""),
        ("name", "line 1"),
    ] {
        std::fs::write(folder.path().join("policy.toml"), text).unwrap();
        let stderr = fails(folder.path(), &build, 1);
        assert!(stderr.contains("policy.toml") && stderr.contains(part), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
    assert_eq!(folder.path().read_dir().unwrap().count(), 1);
}

#[test]
fn a_missing_compiler_is_named_with_what_to_install() {
    let nothing = tempfile::tempdir().unwrap();
    for (language, source, install) in [
        ("c", "src/policy.c", "apt-get install clang lld"),
        ("python", "src/assessor.py", "apt-get install python3"),
        ("js", "src/assessor.js", "apt-get install nodejs"),
    ] {
        let project = Project::new(language, source);
        let mut command = Command::cargo_bin("host").unwrap();
        command.env("PATH", nothing.path()).args(["policy", "build"]);
        let output = command.arg(project.path("")).output().unwrap();
        let stderr = told(&output, 1);
        assert!(stderr.contains(install), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(!project.path("my-risk.wasm").exists());
    }
}

/// Prints what each language costs on this machine, as the README has it:
///
///     HOST_TEST_LANGUAGES=rust,c,python,js cargo test --release --workspace \
///         --test end_to_end cost -- --ignored --nocapture
#[test]
#[ignore = "measures, for minutes, and downloads the tools of Python and JavaScript"]
fn the_cost_of_each_language() {
    println!("| language | component | first build | next build | load | assess, p50 |");
    println!("|---|---|---|---|---|---|");
    for (language, source) in [
        ("rust", "src/lib.rs"),
        ("c", "src/policy.c"),
        ("python", "src/assessor.py"),
        ("js", "src/assessor.js"),
    ] {
        if !is_listed(language) {
            continue;
        }
        let project = Project::new(language, source);
        let (built, cold) = timed(|| project.build(language).unwrap());
        let mut text = std::fs::read_to_string(project.path(source)).unwrap();
        text.push('\n');
        std::fs::write(project.path(source), text).unwrap();
        let (_, warm) = timed(|| project.build(language).unwrap());
        let (policy, load) = timed(|| project.load());
        let case = Case::read(&project.path("cases/with-state.json")).unwrap();
        let assess = median_of_assess(&case, &policy);
        println!(
            "| {language} | {} KB | {:.1} s | {:.1} s | {:.3} s | {:.3} ms |",
            built["bytes"].as_u64().unwrap() / 1000,
            cold.as_secs_f64(),
            warm.as_secs_f64(),
            load.as_secs_f64(),
            assess.as_secs_f64() * 1e3,
        );
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let started = Instant::now();
    (work(), started.elapsed())
}

fn median_of_assess(case: &Case, policy: &Policy) -> Duration {
    let settings = case.settings.to_string();
    let needs = policy.configure(&settings, &case.run).unwrap();
    let state = hex::decode(&case.state).unwrap();
    let call = host_sandbox::Call {
        settings: &settings,
        run: &case.run,
        parameters: &[],
        state: &state,
        signals: case.signals.as_ref().unwrap(),
        needs: &needs,
    };
    let mut times: Vec<Duration> =
        (0..101).map(|_| timed(|| policy.assess(call).unwrap()).1).collect();
    times.sort();
    times[50]
}
