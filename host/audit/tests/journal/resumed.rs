//! A journal that goes on from where it was marked.

use std::fs;

use host_audit::journal::{JournalWriter, Start};
use host_sandbox::Signer;

use super::{Desk, STEPS, key, outcome, problems, run};
use crate::support::sample;

/// Stops after 100 steps, goes on from what was marked after 60, and ends.
#[test]
fn a_resumed_journal_is_the_journal_of_a_run_without_a_stop() {
    let desk = Desk::new();
    let whole = desk.genuine("whole");
    let (run, needs) = (run(), sample::needs());
    let start = desk.start(&run, &needs, "{}");
    let folder = desk.path("stopped");
    let mut journal = JournalWriter::create(&folder, &start, &desk.signer).unwrap();
    let state = desk.steps(&mut journal, 0..60, Vec::new(), |_, _| {});
    let mark = journal.mark().unwrap();
    desk.steps(&mut journal, 60..100, state.clone(), |_, a| a.risk[0] = 0.5);
    drop(journal);

    let mut journal = JournalWriter::resume(&folder, &start, &mark, &desk.signer).unwrap();
    assert_eq!(journal.mark().unwrap(), mark);
    assert!(problems(&folder, None).contains("no end"));
    desk.steps(&mut journal, 60..STEPS, state, |_, _| {});
    journal.end("finished", outcome(STEPS - 1)).unwrap();
    for file in ["records.jsonl", "tensors.bin"] {
        let same = fs::read(folder.join(file)).unwrap() == fs::read(whole.join(file)).unwrap();
        assert!(same, "{file}");
    }
    assert_eq!(problems(&folder, None), "");
}

#[test]
fn a_journal_goes_on_only_as_what_it_was() {
    let desk = Desk::new();
    let (run, needs) = (run(), sample::needs());
    let start = desk.start(&run, &needs, "{}");
    let folder = desk.path("journal");
    let mut journal = JournalWriter::create(&folder, &start, &desk.signer).unwrap();
    desk.steps(&mut journal, 0..20, Vec::new(), |_, _| {});
    let mark = journal.mark().unwrap();
    drop(journal);
    let genuine = fs::read(folder.join("records.jsonl")).unwrap();
    let refused = |start: &Start<'_>, signer: &Signer, part: &str| {
        let resumed = JournalWriter::resume(&folder, start, &mark, signer);
        let error = resumed.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains(part), "{part:?} in {error:?}");
    };
    refused(&desk.start(&run, &needs, "{\"other\":1}"), &desk.signer, "other policies, settings");
    refused(&start, &key(&desk.folder, "other"), "another key");
    // Neither cut anything off.
    assert_eq!(fs::read(folder.join("records.jsonl")).unwrap(), genuine);

    let mut edited = genuine.clone();
    edited[genuine.len() / 2] ^= 1;
    for damaged in [&edited[..], &genuine[..genuine.len() - 9]] {
        fs::write(folder.join("records.jsonl"), damaged).unwrap();
        refused(&start, &desk.signer, "damaged or cut short");
    }
    fs::write(folder.join("records.jsonl"), &genuine).unwrap();
    let tensors = fs::read(folder.join("tensors.bin")).unwrap();
    fs::write(folder.join("tensors.bin"), &tensors[..tensors.len() - 1]).unwrap();
    refused(&start, &desk.signer, "tensors.bin");

    fs::write(folder.join("tensors.bin"), &tensors).unwrap();

    // A head that others signed, and records behind the mark that are not the signed ones.
    let head = fs::read(folder.join("head.minisig")).unwrap();
    let other = desk.path("other");
    let signer = key(&desk.folder, "other");
    drop(JournalWriter::create(&other, &start, &signer).unwrap());
    fs::copy(other.join("head.minisig"), folder.join("head.minisig")).unwrap();
    refused(&start, &desk.signer, "is by key");
    fs::write(folder.join("head.minisig"), &head).unwrap();
    let victim = desk.path("victim");
    fs::rename(folder.join("records.jsonl"), &victim).unwrap();
    std::os::unix::fs::symlink(&victim, folder.join("records.jsonl")).unwrap();
    refused(&start, &desk.signer, "is a link");
    assert_eq!(fs::read(&victim).unwrap(), genuine);
}
