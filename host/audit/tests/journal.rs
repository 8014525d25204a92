//! A journal of 200 records, and everything that may be done to it afterwards.

mod forged;
mod resumed;

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
};

use host_audit::journal::{Answered, Entry, Identity, Journal, JournalWriter, Mode, Replay, Start};
use host_contract::{Action, Assessment, Needs, Outcome, RunInfo};
use host_sandbox::{Call, Engine, Error, Limits, Policy, PublicKey, Signer};

use crate::support::{Guest, sample, says};

/// With the record of the run before them and that of its end after.
const STEPS: u64 = 198;
const RECORDS: usize = STEPS as usize + 2;
const FULL: u64 = 1 << 30;

/// A folder with a policy, a key, and journals.
struct Desk {
    folder: tempfile::TempDir,
    engine: Engine,
    policy: Policy,
    signer: Signer,
    identity: Identity,
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fixed.wasm");
        fs::write(&path, Guest::new().component()).unwrap();
        let engine = Engine::new(&Limits::default()).unwrap();
        let policy = Policy::load(&engine, &path).unwrap();
        let signer = key(&folder, "own");
        let identity = Identity::new([("config".to_owned(), "ab".repeat(32))].into());
        Self { folder, engine, policy, signer, identity }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Records a run in which the policy is asked at every step; `alter` changes what
    /// goes on record. Also tells how many assessments could not be recorded in full.
    fn record(
        &self,
        name: &str,
        mode: Mode,
        budget_bytes: u64,
        signer: &Signer,
        alter: impl Fn(u64, &mut Assessment),
    ) -> (PathBuf, u64) {
        let (run, needs) = (run(), sample::needs());
        let start = Start { mode, budget_bytes, ..self.start(&run, &needs, "{}") };
        let folder = self.path(name);
        let mut journal = JournalWriter::create(&folder, &start, signer).unwrap();
        self.steps(&mut journal, 0..STEPS, Vec::new(), alter);
        journal.end("finished", outcome(STEPS - 1)).unwrap();
        (folder, journal.unrecorded())
    }

    fn start<'s>(&'s self, run: &'s RunInfo, needs: &'s Needs, settings: &'s str) -> Start<'s> {
        Start {
            mode: Mode::Full,
            budget_bytes: FULL,
            on_fault: "stop".into(),
            require: Vec::new(),
            run,
            identity: &self.identity,
            policies: vec![(&self.policy, settings, needs, b"parameters")],
        }
    }

    /// Asks the policy at each step, from a state, and returns its last one.
    fn steps(
        &self,
        journal: &mut JournalWriter<&Signer>,
        steps: Range<u64>,
        mut state: Vec<u8>,
        alter: impl Fn(u64, &mut Assessment),
    ) -> Vec<u8> {
        let (run, needs) = (run(), sample::needs());
        for step in steps {
            let mut signals = sample::signals();
            signals.step = step;
            // Two of the values of each sample depend on the step.
            for row in signals.activations[0].values.chunks_mut(16) {
                row[3] = step as f32;
                row[7] = -0.5 * step as f32;
            }
            let call = Call {
                parameters: b"parameters",
                state: &state,
                ..sample::call(&run, &signals, &needs)
            };
            let mut assessed = self.policy.assess(call).unwrap();
            alter(step, &mut assessed.assessment);
            let answered = Answered::Assessment {
                assessment: &assessed.assessment,
                fuel: assessed.fuel,
                memory_bytes: assessed.memory_bytes,
            };
            journal.assessment(step, 0, &signals, &state, &answered).unwrap();
            journal.seal().unwrap();
            state = assessed.assessment.state;
        }
        state
    }

    fn genuine(&self, name: &str) -> PathBuf {
        self.record(name, Mode::Full, FULL, &self.signer, |_, _| {}).0
    }

    fn replay(&self, folder: &Path) -> Replay {
        let journal = Journal::read(folder, None).unwrap();
        journal.replay(&self.engine, || {}).unwrap()
    }
}

fn run() -> RunInfo {
    RunInfo { total_steps: STEPS, ..sample::run() }
}

/// What became of a step.
fn outcome(step: u64) -> Option<Outcome> {
    Some(Outcome {
        step,
        action: Action::Update,
        task_loss: 1.0,
        kl: None,
        gradient_norm: 1.0,
        learning_rate: 1e-4,
    })
}

fn key(folder: &tempfile::TempDir, name: &str) -> Signer {
    let path = folder.path().join(format!("{name}.key"));
    Signer::open_or_create(&path).unwrap().0
}

fn lines(folder: &Path) -> Vec<String> {
    let text = fs::read_to_string(folder.join("records.jsonl")).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn put(folder: &Path, lines: &[String]) {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    fs::write(folder.join("records.jsonl"), text).unwrap();
}

/// What is wrong with a journal; empty if it verifies.
fn problems(folder: &Path, key: Option<&PublicKey>) -> String {
    match Journal::read(folder, key) {
        Err(error) => error.to_string(),
        Ok(journal) => {
            let findings = journal.verified.findings.iter().map(ToString::to_string);
            findings.collect::<Vec<_>>().join("; ")
        }
    }
}

#[test]
fn a_genuine_journal_verifies_and_replays() {
    let desk = Desk::new();
    let folder = desk.genuine("journal");
    assert_eq!(lines(&folder).len(), RECORDS);
    assert_eq!(problems(&folder, None), "");
    assert_eq!(problems(&folder, Some(desk.signer.public())), "");
    let replay = desk.replay(&folder);
    assert_eq!((replay.assessments, replay.replayed), (STEPS, STEPS));
    assert!(replay.findings.is_empty() && replay.first_difference.is_none());
}

#[test]
fn any_edit_insertion_deletion_swap_and_truncation_is_found() {
    let desk = Desk::new();
    let folder = desk.genuine("journal");
    let genuine = lines(&folder);
    let found = |what: &str, at: usize, lines: &[String]| {
        put(&folder, lines);
        assert_ne!(problems(&folder, None), "", "{what} at record {at}");
    };
    for at in 0..RECORDS {
        let mut edited = genuine.clone();
        // Another place in each record; a character of ASCII becomes another one.
        let mut bytes = edited[at].clone().into_bytes();
        let place = (at * 7919) % bytes.len();
        bytes[place] ^= 1;
        edited[at] = String::from_utf8(bytes).unwrap();
        found("an edit", at, &edited);
        let mut inserted = genuine.clone();
        inserted.insert(at, genuine[(at + RECORDS / 2) % RECORDS].clone());
        found("an insertion", at, &inserted);
        let mut repeated = genuine.clone();
        repeated.insert(at, genuine[at].clone());
        found("a repetition", at, &repeated);
        let mut deleted = genuine.clone();
        deleted.remove(at);
        found("a deletion", at, &deleted);
        if at + 1 < RECORDS {
            let mut swapped = genuine.clone();
            swapped.swap(at, at + 1);
            found("a swap", at, &swapped);
        }
        found("a truncation", at, &genuine[..at]);
    }
    put(&folder, &genuine);
    assert_eq!(problems(&folder, None), "");
}

/// The chain is no secret: who edits a record can compute all hashes anew. The
/// signature is what stops them.
#[test]
fn a_chain_made_anew_fails_at_the_signature() {
    let desk = Desk::new();
    let folder = desk.genuine("journal");
    let (forged, _) = desk.record("forged", Mode::Full, FULL, &desk.signer, |step, a| {
        a.risk[0] = if step == 100 { 0.9 } else { a.risk[0] };
    });
    fs::copy(forged.join("records.jsonl"), folder.join("records.jsonl")).unwrap();
    let found = problems(&folder, None);
    assert!(found.contains("does not fit"), "{found}");
}

#[test]
fn an_edited_signature_and_an_edited_key_are_found() {
    let desk = Desk::new();
    let folder = desk.genuine("journal");
    for (file, from) in [("head.minisig", "\n"), ("key.pub", "")] {
        let path = folder.join(file);
        let genuine = fs::read_to_string(&path).unwrap();
        // The first line of a signature is a comment that nobody vouches for.
        let start = genuine.find(from).unwrap() + from.len();
        for at in start..genuine.trim_end().len() {
            let mut bytes = genuine.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            fs::write(&path, bytes).unwrap();
            assert_ne!(problems(&folder, None), "", "{file}, byte {at}");
        }
        fs::remove_file(&path).unwrap();
        assert_ne!(problems(&folder, None), "", "no {file}");
        fs::write(&path, genuine).unwrap();
        assert_eq!(problems(&folder, None), "");
    }
}

#[test]
fn edited_tensors_are_found_by_a_replay() {
    let desk = Desk::new();
    let folder = desk.genuine("journal");
    let path = folder.join("tensors.bin");
    let genuine = fs::read(&path).unwrap();
    for at in (0..genuine.len()).step_by(331) {
        let mut bytes = genuine.clone();
        bytes[at] ^= 0x10;
        fs::write(&path, &bytes).unwrap();
        let replay = desk.replay(&folder);
        assert!(replay.replayed < STEPS && !replay.findings.is_empty(), "byte {at}: {replay:?}");
    }
    fs::write(&path, &genuine[..genuine.len() / 2]).unwrap();
    assert!(desk.replay(&folder).replayed < STEPS);
}

#[test]
fn a_light_journal_verifies_and_cannot_be_replayed() {
    let desk = Desk::new();
    let (folder, unrecorded) = desk.record("light", Mode::Light, FULL, &desk.signer, |_, _| {});
    assert_eq!(problems(&folder, None), "");
    assert_eq!(fs::metadata(folder.join("tensors.bin")).unwrap().len(), 0);
    assert_eq!(unrecorded, STEPS);
    assert!(!folder.join("policies").exists());
    let replay = desk.replay(&folder);
    assert_eq!((replay.not_recorded, replay.replayed), (STEPS, 0));
    assert!(replay.findings.is_empty());
}

#[test]
fn beyond_its_budget_a_journal_still_verifies() {
    let desk = Desk::new();
    let (folder, unrecorded) = desk.record("small", Mode::Full, 10_000, &desk.signer, |_, _| {});
    // The parameters are kept whatever the budget.
    assert!(fs::metadata(folder.join("tensors.bin")).unwrap().len() < 10_100);
    assert_eq!(problems(&folder, None), "");
    let replay = desk.replay(&folder);
    assert!(replay.replayed > 50 && replay.not_recorded > 50, "{replay:?}");
    assert_eq!(replay.replayed + replay.not_recorded, STEPS);
    assert_eq!(replay.not_recorded, unrecorded);
    assert!(replay.findings.is_empty(), "the run said so itself");
}

#[test]
fn the_same_run_twice_gives_the_same_bytes() {
    let desk = Desk::new();
    let (one, two) = (desk.genuine("one"), desk.genuine("two"));
    // Not the signature, which has random bits in it.
    for file in ["records.jsonl", "tensors.bin", "key.pub"] {
        let read = |folder: &Path| fs::read(folder.join(file)).unwrap();
        assert!(read(&one) == read(&two), "{file}");
    }
}

#[test]
fn another_policy_under_the_digest_is_refused() {
    let desk = Desk::new();
    let folder = desk.genuine("journal");
    let journal = Journal::read(&folder, None).unwrap();
    let kept = journal.component(&journal.run.policies[0]);
    let other = Guest::answering(|a| a.risk[0] = 0.25).component();
    fs::write(&kept, other).unwrap();
    let error = journal.replay(&desk.engine, || {}).unwrap_err();
    assert!(matches!(error, Error::Digest { .. }));
    says(&error, &[desk.policy.digest(), "is pinned"]);
    // Without it the file that the run named is taken, if it is still the same.
    fs::remove_file(&kept).unwrap();
    assert_eq!(journal.replay(&desk.engine, || {}).unwrap().replayed, STEPS);
}

/// Whoever has a key of their own can sign anything; a replay and the right key tell.
#[test]
fn a_forged_assessment_under_another_key_is_found() {
    let desk = Desk::new();
    let other = key(&desk.folder, "other");
    let (forged, _) = desk.record("forged", Mode::Full, FULL, &other, |step, a| {
        a.risk[1] = if step == 120 { 0.0 } else { a.risk[1] };
    });
    assert_eq!(problems(&forged, None), "", "it is consistent in itself");
    let journal = Journal::read(&forged, None).unwrap();
    assert!(journal.verified.key_is_recorded);
    let difference = desk.replay(&forged).first_difference.unwrap();
    assert_eq!((difference.step, difference.record), (120, 121));
    says(&difference, &["policy fixed", "risk[1] is 0.0", "and 0.5"]);

    let found = problems(&forged, Some(desk.signer.public()));
    assert!(found.contains(&desk.signer.public().id()), "{found}");
    assert!(found.contains(&other.public().id()), "{found}");
}

#[test]
fn a_forged_state_is_found_by_a_replay() {
    let desk = Desk::new();
    let (forged, _) = desk.record("forged", Mode::Full, FULL, &desk.signer, |step, a| {
        if step == 7 {
            a.state = vec![9];
        }
    });
    let replay = desk.replay(&forged);
    assert_eq!(replay.first_difference.unwrap().field, "state");
}

#[test]
fn records_in_another_order_are_no_run() {
    let desk = Desk::new();
    let folder = desk.genuine("journal");
    let journal = Journal::read(&folder, None).unwrap();
    assert!(matches!(journal.entries[0], Entry::Run(_)));
    assert!(matches!(journal.entries[RECORDS - 1], Entry::End { .. }));
    put(&folder, &lines(&folder)[1..]);
    says(
        &Journal::read(&folder, None).unwrap_err(),
        &["record 0", "does not follow the record before it"],
    );
}
