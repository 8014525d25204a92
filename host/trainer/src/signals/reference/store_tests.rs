use std::path::Path;

use candle_core::Tensor;

use super::*;

/// Entries of 1,000 values, all equal to `value`.
fn known(value: f32) -> ReferenceOutputs {
    ReferenceOutputs {
        hidden: Tensor::full(value, (10, 100), &Device::Cpu).expect("a tensor"),
        taps: vec![vec![value; 4]],
    }
}

fn key(number: u32) -> SampleKey {
    SampleKey::of(&host_data::Sample::prompt_only(vec![number]))
}

fn open(folder: &Path, entries: u64) -> Store {
    let entry = known(0.0).to_bytes("name").expect("bytes").len() as u64;
    Store::open(folder, entries * entry, Basis::default()).expect("a store")
}

fn first_value(store: &Store, number: u32) -> Option<f32> {
    let known = store.get(&key(number), &Device::Cpu)?;
    let values = known.hidden.flatten_all().and_then(|x| x.to_vec1::<f32>());
    Some(values.expect("values")[0])
}

fn held(store: &Store, numbers: std::ops::Range<u32>) -> Vec<u32> {
    let held = |number: &u32| first_value(store, *number).is_some();
    numbers.filter(held).collect()
}

/// As if the entries there had been used last an hour ago, the first one longest ago.
fn age(store: &Store, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let path = store.path(&store.basis.name(&key(number)));
        let file = File::open(path).expect("an entry");
        let minutes = Duration::from_secs(60 * u64::from(100 - number));
        file.set_modified(SystemTime::now() - minutes).expect("a time");
    }
}

#[test]
fn a_round_larger_than_the_budget_keeps_what_came_first() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path(), 3);
    for _ in 0..2 {
        for number in 0..5 {
            store.put(&key(number), &known(number as f32)).expect("kept");
        }
        assert_eq!(held(&store, 0..5), [0, 1, 2]);
    }
}

#[test]
fn what_no_run_uses_makes_room_oldest_first_and_other_files_are_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let before = open(folder.path(), 4);
    for number in 0..4 {
        before.put(&key(number), &known(number as f32)).expect("kept");
    }
    age(&before, 0..4);
    let foreign = folder.path().join("notes.txt");
    std::fs::write(&foreign, "mine").expect("written");
    // Left by a run that was killed while it wrote.
    let torn = folder.path().join(".reference-x.partial");
    std::fs::write(&torn, "half").expect("written");
    let old = SystemTime::now() - Duration::from_secs(1_000_000);
    let file = File::open(&torn).and_then(|file| file.set_modified(old));
    file.expect("a time");

    let store = open(folder.path(), 4);
    // Used by this run, so it stays although it is the oldest.
    assert_eq!(first_value(&store, 0), Some(0.0));
    for number in 4..9 {
        store.put(&key(number), &known(number as f32)).expect("kept");
    }
    assert_eq!(held(&store, 0..9), [0, 4, 5, 6]);
    assert!(foreign.exists() && !torn.exists());
}

#[test]
fn several_stores_write_and_read_the_same_entries_at_the_same_time() {
    let folder = tempfile::tempdir().expect("a folder");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            // A store each, as processes have.
            scope.spawn(|| {
                let store = open(folder.path(), 100);
                for round in 0..20 {
                    for number in 0..10 {
                        let found = first_value(&store, number);
                        assert!(found.is_none_or(|value| value == number as f32), "{round}");
                        store.put(&key(number), &known(number as f32)).expect("kept");
                    }
                }
            });
        }
    });
    let names = std::fs::read_dir(folder.path()).expect("a listing");
    assert_eq!(names.count(), 10);
}

#[test]
fn a_folder_that_others_may_write_to_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().expect("a folder");
    let open = || Store::open(folder.path(), 1, Basis::default());
    assert!(open().is_ok());
    let shared = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(folder.path(), shared).expect("permissions");
    let message = open().err().expect("refused").to_string();
    assert!(message.contains("chmod go-w"), "{message}");
}

#[test]
fn a_folder_that_can_t_be_written_costs_time_and_no_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("cache");
    let store = open(&path, 10);
    std::fs::remove_dir(&path).expect("removed");
    store.put(&key(1), &known(1.0)).expect("no error");
    assert_eq!(first_value(&store, 1), None);
}
