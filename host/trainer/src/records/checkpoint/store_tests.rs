use std::collections::HashMap;

use super::*;
use crate::policies::PolicyState;
use crate::records::run_dir::RecordsMark;
use crate::records::{LossTrend, Totals};
use host_contract::Standing;

struct Desk {
    _folder: tempfile::TempDir,
    checkpoints: Checkpoints<'static>,
}

fn desk(keep: usize) -> Desk {
    let folder = tempfile::tempdir().expect("temp");
    let run = RunDir::create(&folder.path().join("run"), "").expect("fresh");
    let config = CheckpointConfig { every_steps: Some(4), every_minutes: 0.0, keep };
    Desk { checkpoints: Checkpoints::new(&run, &config), _folder: folder }
}

fn progress(step: u64) -> Progress {
    Progress {
        format: FORMAT,
        step,
        updates: step,
        updates_before: None,
        averaged: false,
        switched: false,
        mix: None,
        extra: None,
        anchors: None,
        gradient_conflict: None,
        policies: vec![PolicyState {
            state: "00ff".into(),
            faults_in_a_row: 1,
            standing: Standing::default(),
        }],
        previous: None,
        not_finite: 0,
        totals: Totals {
            steps: step,
            // Has no short decimal form.
            seconds: 0.1 + 0.2,
            ..Totals::default()
        },
        best_steering: None,
        loss_trend: LossTrend::default(),
        records: RecordsMark { metrics_bytes: 12, evaluations_bytes: 0, journal: None },
    }
}

const VALUES: [f32; 4] = [1.5, -0.0, f32::MIN_POSITIVE, 3e38];

fn tensors() -> Tensors<'static> {
    vec![("parameters", &VALUES), ("first", &VALUES[..2])]
}

impl Desk {
    fn write(&mut self, step: u64) -> PathBuf {
        let written = self.checkpoints.write(&progress(step), &tensors());
        written.expect("written")
    }

    /// The newest one.
    fn read(&self) -> Result<Saved> {
        self.checkpoints.read(&self.checkpoints.newest_first()[0])
    }

    fn steps(&self) -> Vec<u64> {
        let stored = self.checkpoints.newest_first();
        stored.iter().map(|stored| stored.step).collect()
    }
}

#[test]
fn what_was_saved_comes_back_bit_for_bit() {
    let mut desk = desk(2);
    desk.write(7);
    let saved = desk.read().expect("whole");
    assert_eq!(saved.progress, progress(7));
    let expected: HashMap<String, Vec<u32>> = tensors()
        .iter()
        .map(|(name, values)| ((*name).into(), values.iter().map(|v| v.to_bits()).collect()))
        .collect();
    let found = saved.tensors.iter();
    let found = found.map(|(name, values)| {
        let bits: Vec<u32> = values.iter().map(|v| v.to_bits()).collect();
        (name.clone(), bits)
    });
    assert_eq!(found.collect::<HashMap<_, _>>(), expected);
}

#[test]
fn the_newest_stay_and_old_ones_go() {
    let mut desk = desk(2);
    for step in [4, 8, 12, 9] {
        desk.write(step);
    }
    assert_eq!(desk.steps(), [12, 9]);
}

#[test]
fn one_that_cannot_be_written_costs_none_of_the_others() {
    let mut desk = desk(1);
    let old = desk.write(4);
    // A file where the folder of the next one would be made.
    let partial = format!(".step-000008.{}.partial", std::process::id());
    let blocker = desk.checkpoints.folder.join(partial);
    fs::write(&blocker, "").expect("blocked");
    let failed = desk.checkpoints.write(&progress(8), &tensors());
    let error = failed.expect_err("blocked").to_string();
    assert!(error.contains("step-000008") && error.contains(&old.display().to_string()), "{error}");
    assert!(desk.read().is_ok());
}

#[test]
fn every_flipped_bit_and_every_lost_byte_is_found() {
    let mut desk = desk(1);
    let path = desk.write(4);
    let stored = desk.checkpoints.newest_first().remove(0);
    let genuine = desk.checkpoints.read(&stored).expect("whole");
    for name in [MANIFEST, STATE, TENSORS] {
        let file = path.join(name);
        let bytes = fs::read(&file).expect("there");
        for place in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[place] ^= 1 << (place % 8);
            fs::write(&file, &flipped).expect("written");
            if let Ok(read) = desk.checkpoints.read(&stored) {
                panic!("{name}, byte {place}: read as {read:?}");
            }
            fs::write(&file, &bytes[..place]).expect("written");
            match (name, bytes.len() - place) {
                // The line end of the manifest, without which it says the same.
                (MANIFEST, 1) => assert_eq!(desk.checkpoints.read(&stored).expect("same"), genuine),
                _ => assert!(desk.checkpoints.read(&stored).is_err(), "{name} cut at {place}"),
            }
        }
        fs::remove_file(&file).expect("removed");
        assert!(desk.checkpoints.read(&stored).is_err(), "{name} removed");
        fs::write(&file, &bytes).expect("written");
    }
    assert_eq!(desk.checkpoints.read(&stored).expect("whole again"), genuine);
}

#[test]
fn a_damaged_one_is_set_aside_and_a_half_written_one_swept() {
    let mut desk = desk(1);
    let path = desk.write(4);
    let half = desk.checkpoints.folder.join(".step-000008.1.partial");
    fs::create_dir(&half).expect("made");
    desk.checkpoints.newest_first()[0].set_aside();
    desk.checkpoints.sweep();
    assert!(desk.steps().is_empty() && !path.exists() && !half.exists());
    assert!(path.with_file_name("damaged-step-000004").is_dir());
}

#[test]
fn they_are_due_by_steps_or_by_time() {
    let mut desk = desk(1);
    assert!(desk.checkpoints.due(8) && !desk.checkpoints.due(9));
    desk.checkpoints.every = Some(Duration::from_secs(3600));
    assert!(!desk.checkpoints.due(9));
    desk.checkpoints.every = Some(Duration::ZERO);
    assert!(desk.checkpoints.due(9));
}

#[test]
fn a_signed_one_is_of_its_owner_its_run_and_its_training() {
    let here = tempfile::tempdir().expect("temp");
    let key = |name: &str| {
        let (signer, _) =
            host_sandbox::Signer::open_or_create(&here.path().join(name)).expect("made");
        signer
    };
    let (own, other) = (key("own.key"), key("other.key"));
    let run = RunDir::create(&here.path().join("run"), "").expect("fresh");
    let config = CheckpointConfig { every_steps: Some(4), every_minutes: 0.0, keep: 9 };
    let by = |signer, run_name, arm| {
        let notary = Notary { signer, run: run_name };
        Checkpoints::new(&run, &config).signed_by(Some(notary), arm)
    };
    let mut genuine = by(&own, "r", "after");
    genuine.write(&progress(4), &tensors()).expect("written");
    let stored = genuine.newest_first().remove(0);
    genuine.read(&stored).expect("whole");
    let refused = |checkpoints: &Checkpoints, part: &str| {
        let problem = checkpoints.read(&stored).expect_err("refused").to_string();
        assert!(problem.contains(part), "{part} in {problem}");
    };
    refused(&by(&other, "r", "after"), "is by key");
    refused(&by(&own, "s", "after"), "another run");
    refused(&by(&own, "r", "plain"), "another run or training");
    // Other parameters, and a manifest that names them.
    let mut unsigned = Checkpoints::new(&run, &config);
    unsigned.write(&progress(4), &vec![("parameters", &VALUES[..2])]).expect("written");
    refused(&genuine, "carries no signature");
}
