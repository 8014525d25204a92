//! Event files, decoded as their format is documented.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use super::file::crc32c;
use super::*;
use crate::config::TrackersConfig;
use crate::trackers::Trackers;

#[path = "../../../tests/support/event_file.rs"]
mod event_file;

use event_file::{Field, inner, numbers, records, step};

fn about(folder: &Path, resumed: bool) -> About {
    About {
        name: "a/b".into(),
        folder: folder.into(),
        resumed,
        arms: vec![Arm::Policy],
        started: UNIX_EPOCH + Duration::from_secs(5),
        parameters: vec![("train.batch".into(), "4".into()), ("a|b".into(), "c\n|".into())],
        tags: vec![("model".into(), "demo".into())],
    }
}

/// What two steps of a training from `first` on leave behind.
fn track(folder: &Path, dir: Option<&Path>, first: u64, resumed: bool) {
    let tensorboard = TensorBoardConfig { dir: dir.map(Into::into), dir_is_of_run: false };
    let config = TrackersConfig { tensorboard: Some(tensorboard), ..TrackersConfig::default() };
    let trackers = Trackers::start(&config, &about(folder, resumed));
    let at = UNIX_EPOCH + Duration::from_millis(1500);
    trackers.tell(Event::Training { arm: Arm::Policy, step: first, at });
    for step in first..first + 2 {
        let values = vec![("train/loss".into(), step as f64 / 4.0), ("kl".into(), f64::NAN)];
        trackers.tell(Event::Scalars { arm: Arm::Policy, step, at, values });
    }
    let ending = Ending { status: Status::Finished, at, figures: Vec::new() };
    assert_eq!(trackers.end(&ending), Vec::<String>::new());
    assert_eq!(trackers.news(), Vec::<String>::new());
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn checksums_are_those_of_castagnoli() {
    // RFC 3720, appendix B.4.
    assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
    assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
    assert_eq!(crc32c(b"123456789"), 0xe306_9283);
}

#[test]
fn a_file_has_its_version_first_then_configuration_and_numbers() {
    let folder = tempfile::tempdir().unwrap();
    track(folder.path(), None, 0, false);
    let files = files(&folder.path().join("tensorboard/policy"));
    assert_eq!(files.len(), 1);
    let name = files[0].file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with("events.out.tfevents."), "{name}");
    let records = records(&files[0]);
    assert_eq!(inner(&records[0], 3).unwrap(), b"brain.Event:2");
    assert_eq!(records[0][0], (1, Field::Fixed(1.5f64.to_le_bytes().to_vec())));
    assert!(records.iter().all(|record| inner(record, 7).is_none()), "nothing is void");
    let numbers = numbers(&records);
    let loss = |step: u64, value: f32| (step, "train/loss".to_owned(), value);
    assert_eq!([numbers[0].clone(), numbers[2].clone()], [loss(0, 0.0), loss(1, 0.25)]);
    assert!(numbers[1].2.is_nan());
    let text = std::fs::read(&files[0]).unwrap();
    let text = String::from_utf8_lossy(&text);
    for part in ["config/text_summary", "| train.batch | 4 |\n", "| a\\|b | c\\n\\| |\n", "status"]
    {
        assert!(text.contains(part), "{part}");
    }
}

#[test]
fn a_run_that_goes_on_voids_what_it_repeats_in_a_file_that_comes_later() {
    let folder = tempfile::tempdir().unwrap();
    track(folder.path(), None, 0, false);
    track(folder.path(), None, 1, true);
    let files = files(&folder.path().join("tensorboard/policy"));
    assert_eq!(files.len(), 2, "within the same second");
    let later = records(&files[1]);
    assert_eq!(inner(&later[0], 3).unwrap(), b"brain.Event:2");
    assert_eq!(inner(&later[1], 7).unwrap(), [8, 1], "SessionLog, status START");
    assert_eq!(step(&later[1]), 1);
    let steps: Vec<u64> = numbers(&later).iter().map(|(step, ..)| *step).collect();
    assert_eq!(steps, [1, 1, 2, 2]);
}

#[test]
fn a_folder_of_many_runs_has_one_for_each() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("all");
    track(folder.path(), Some(&dir), 0, false);
    assert_eq!(files(&dir.join("a_b/policy")).len(), 1);
    assert!(!folder.path().join("tensorboard").exists());
}

#[test]
fn a_folder_that_cannot_be_written_is_told_and_ends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tensorboard"), "").unwrap();
    let config = TrackersConfig {
        tensorboard: Some(TensorBoardConfig::default()),
        ..TrackersConfig::default()
    };
    let trackers = Trackers::start(&config, &about(folder.path(), false));
    let at = UNIX_EPOCH;
    trackers.tell(Event::Training { arm: Arm::Plain, step: 0, at });
    let ending = Ending { status: Status::Finished, at, figures: Vec::new() };
    let told = trackers.end(&ending);
    assert_eq!(told.len(), 1);
    assert!(told[0].starts_with("tensorboard: 1 of 1 records were left out (cannot write"));
    assert_eq!(trackers.news().len(), 1);
}
