//! Everything that comes from outside, damaged at random: it is refused or it works,
//! and nothing panics.
//!
//! Each test runs for HOST_FUZZ_SECONDS (default 4) from HOST_FUZZ_SEED (default 17).
//! Inputs start from genuine ones; one that gets an answer that was not seen before is
//! kept and damaged further. An input that makes the host panic is written to the
//! temporary folder, and belongs into tests/fixtures/corpus/TEST once that is fixed.

use std::{
    collections::HashSet,
    fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::{Path, PathBuf},
    sync::OnceLock,
    time::{Duration, Instant},
};

use host_audit::{
    cases::{Case, paths},
    journal::{Answered, Identity, Journal, JournalWriter, Mode, Start},
};
use host_contract::{Action, Needs, Outcome, RunInfo, assessment_from_json, assessment_to_json};
use host_files::text::clean;
use host_sandbox::{Engine, Limits, Policy, PublicKey, Signer, Statement};

const BYTES: &[u8] = b"risk-journal x";
use hostile::{HostilePolicy, mutation::mutate};

use crate::support::{Guest, sample};

/// Kept inputs; beyond this the test stays with those it has.
const POOL: usize = 400;

fn number(variable: &str, default: u64) -> u64 {
    let value = std::env::var(variable).ok();
    value.map_or(default, |value| value.parse().unwrap())
}

/// Damages `seeds` and hands them to `check`, which tells what came of it.
fn fuzz(test: &str, seeds: Vec<Vec<u8>>, check: impl Fn(&[u8]) -> String) {
    let deadline = Instant::now() + Duration::from_secs(number("HOST_FUZZ_SECONDS", 4));
    let seed = number("HOST_FUZZ_SEED", 17);
    let mut pool = seeds;
    pool.extend(corpus(test));
    let mut seen = HashSet::new();
    for input in &pool {
        seen.insert(kind(&check(input)));
    }
    let mut inputs = 0;
    while Instant::now() < deadline {
        let base = &pool[inputs as usize % pool.len()];
        let other = pool[(inputs as usize * 7919 + 1) % pool.len()].clone();
        let (_, mut input) = mutate(base, &[&other], seed, inputs);
        if inputs % 3 == 0 {
            input = mutate(&input, &[&other], seed + 1, inputs).1;
        }
        match catch_unwind(AssertUnwindSafe(|| check(&input))) {
            Ok(answer) => {
                if pool.len() < POOL && seen.insert(kind(&answer)) {
                    pool.push(input);
                }
            }
            Err(panic) => {
                let path = std::env::temp_dir().join(format!("{test}-{seed}-{inputs}"));
                fs::write(&path, &input).unwrap();
                eprintln!("the input that did it is {}", path.display());
                resume_unwind(panic);
            }
        }
        inputs += 1;
    }
    eprintln!("{test}: {inputs} inputs, {} kinds of answers", seen.len());
    // Even on a machine that does little else.
    assert!(inputs >= 5 && seen.len() > 2, "{inputs} inputs, {seen:?}");
}

/// An answer without its numbers, which make every one of them new.
fn kind(answer: &str) -> String {
    answer.chars().filter(|c| !c.is_ascii_digit()).take(80).collect()
}

/// Inputs that once were trouble.
fn corpus(test: &str) -> Vec<Vec<u8>> {
    let folder = root().join("tests/fixtures/corpus").join(test);
    let entries = fs::read_dir(&folder).into_iter().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Small enough that no call and no compilation takes long.
fn engine() -> Engine {
    let limits = Limits {
        fuel_per_call: 1_000_000,
        call_milliseconds: 1000,
        memory_bytes: 8 << 20,
        component_bytes: 64 << 10,
        ..Limits::default()
    };
    Engine::new(&limits).unwrap()
}

fn policy() -> &'static Policy {
    static POLICY: OnceLock<Policy> = OnceLock::new();
    POLICY.get_or_init(|| {
        let component = Guest::new().component();
        Policy::from_bytes(&engine(), "test.wasm", &component).unwrap()
    })
}

fn told<T>(result: Result<T, impl ToString>) -> Result<T, String> {
    result.map_err(|error| error.to_string())
}

#[test]
fn load_and_assess() {
    let engine = engine();
    let mut seeds = vec![
        Guest::new().component(),
        Guest::running("assess", "unreachable").component(),
        Guest::answering(|a| a.state = vec![1; 500]).component(),
    ];
    // What takes long to compile is for the process that may be stopped.
    let policies = HostilePolicy::all().unwrap().into_iter();
    let policies = policies.filter(|hostile| !hostile.by.contains("compile"));
    seeds.extend(policies.step_by(7).map(|hostile| hostile.bytes().unwrap()));
    let (run, signals) = (sample::run(), sample::signals());
    let ask = |bytes: &[u8]| {
        let policy = told(Policy::from_bytes(&engine, "x.wasm", bytes))?;
        let needs = told(policy.configure("{}", &run))?;
        told(policy.assess(sample::call(&run, &signals, &needs)))
    };
    fuzz("load_and_assess", seeds, |bytes| match ask(bytes) {
        Ok(assessed) => format!("{:?}", assessed.assessment),
        Err(error) => error,
    });
}

/// A small journal with faults, tokens and two policies in it, and its folder.
fn journal() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fixed.wasm");
    fs::write(&path, Guest::new().component()).unwrap();
    let policy = Policy::load(&engine(), &path).unwrap();
    let (signer, _) = Signer::open_or_create(&folder.path().join("own.key")).unwrap();
    let (run, needs) = (RunInfo { total_steps: 3, ..sample::run() }, sample::needs());
    let slot = (&policy, "{}", &needs, b"parameters".as_slice());
    let start = Start {
        mode: Mode::Full,
        budget_bytes: 1 << 20,
        on_fault: "strict=2".into(),
        require: Vec::new(),
        run: &run,
        identity: &Identity::new([].into()),
        policies: vec![slot, slot],
    };
    let journal = folder.path().join("journal");
    let mut writer = JournalWriter::create(&journal, &start, &signer).unwrap();
    let assessment = sample::assessment();
    for step in 0..3 {
        let mut signals = sample::signals();
        signals.step = step;
        for policy in 0..2 {
            let answered = match step {
                1 => Answered::Fault { error: "the policy crashed", stands_in: Some(&assessment) },
                _ => {
                    Answered::Assessment { assessment: &assessment, fuel: 100, memory_bytes: 65536 }
                }
            };
            writer.assessment(step, policy, &signals, &[], &answered).unwrap();
        }
        writer.combined(step, &assessment).unwrap();
        writer.seal().unwrap();
    }
    let last = Outcome {
        step: 2,
        action: Action::Skip,
        task_loss: 0.0,
        kl: None,
        gradient_norm: 0.0,
        learning_rate: 0.0,
    };
    writer.end("finished", Some(last)).unwrap();
    (folder, journal)
}

/// Reads, replays and compares with a damaged file in it.
fn damaged_journal(test: &str, file: &str) {
    let (_folder, folder) = journal();
    let path = folder.join(file);
    let engine = engine();
    let seed = fs::read(&path).unwrap();
    // What the run recorded, so that the other policy gets to its calls.
    let needs = Needs {
        judges: Vec::new(),
        canary_every: None,
        trial_scales: Vec::new(),
        ..sample::needs()
    };
    fuzz(test, vec![seed], |bytes| {
        fs::write(&path, bytes).unwrap();
        let journal = match Journal::read(&folder, None) {
            Ok(journal) => journal,
            Err(error) => return error.to_string(),
        };
        let findings = &journal.verified.findings;
        let read = findings.first().map(ToString::to_string);
        let replay = journal.replay(&engine, || {});
        let compared = journal.compare(policy(), "{}", Some((b"parameters", &needs)));
        let steps = compared.map(|comparison| comparison.steps.len());
        format!("{read:?} {replay:?} {:?}", told(steps))
    });
}

#[test]
fn read_journal_records() {
    damaged_journal("read_journal_records", "records.jsonl");
}

#[test]
fn read_journal_tensors() {
    damaged_journal("read_journal_tensors", "tensors.bin");
}

#[test]
fn parse_case() {
    let mut seeds = Vec::new();
    for plugin in ["sft", "fixed-kl", "probe"] {
        for path in paths(&root().join("plugins").join(plugin)).unwrap() {
            let case = fs::read(path).unwrap();
            if case.len() < 8192 {
                seeds.push(case);
            }
        }
    }
    fuzz("parse_case", seeds, |bytes| match serde_json::from_slice::<Case>(bytes) {
        Ok(case) => format!("{:?}", told(case.answer(policy()))),
        Err(error) => error.to_string(),
    });
}

#[test]
fn keys_and_signatures() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("own.key");
    let (signer, _) = Signer::open_or_create(&path).unwrap();
    let key = signer.public();
    let seeds = vec![
        key.to_base64().into_bytes(),
        fs::read(path.with_extension("pub")).unwrap(),
        signer.sign(Statement::Journal, BYTES, "a comment").unwrap().into_bytes(),
    ];
    fuzz("keys_and_signatures", seeds, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let parsed =
            PublicKey::parse(&text).map(|key| key.verify(Statement::Journal, BYTES, &text));
        format!("{parsed:?} {:?}", key.verify(Statement::Journal, BYTES, &text))
    });
}

#[test]
fn assessments_and_text() {
    let assessment = assessment_to_json(&sample::full_assessment()).unwrap();
    let text = "\u{1b}]0;title\u{7}a\u{202e}b\u{9b}31m\u{1b}Pq\u{1b}\\ c\n";
    let seeds = vec![assessment.into_bytes(), text.as_bytes().to_vec()];
    fuzz("assessments_and_text", seeds, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let shown = clean(&text, 50);
        assert!(!shown.chars().any(char::is_control) && shown.chars().count() <= 51);
        match assessment_from_json(&text) {
            Ok(assessment) => assessment_to_json(&assessment).unwrap(),
            Err(error) => error.to_string(),
        }
    });
}
