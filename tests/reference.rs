//! The reference's cache changes what a run costs, and not one bit of what it learns.

use std::path::{Path, PathBuf};

use crate::program::{plugin, text, train, trained};
use tempfile::TempDir;

const NO_MEMORY: [&str; 2] = ["--set", "train.reference_cache_mib=0"];
const NO_DISK: [&str; 2] = ["--set", "train.reference_cache_disk_mib=0"];

/// Two rounds over 16 rows, held to the reference.
fn arguments<'a>(policy: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let rows = "data.train=[{ path = \"demo:train.jsonl\", limit = 16 }]";
    let labelled = "calibration.data=[\"demo:calibrate.jsonl\"]";
    let mut arguments = vec!["--policy", policy, "--epochs", "2"];
    arguments.extend(["--set", rows, "--set", labelled]);
    arguments.extend(more);
    arguments
}

fn learned(run: &Path) -> (Vec<u8>, Vec<u8>) {
    let read = |file: &str| std::fs::read(run.join(file)).unwrap();
    (read("adapter/adapter_model.safetensors"), read("journal/records.jsonl"))
}

/// The user's cache folder of a test.
fn entries(folder: &TempDir) -> Vec<PathBuf> {
    let Ok(items) = folder.path().join("cache/host/reference").read_dir() else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = items.map(|item| item.unwrap().path()).collect();
    paths.sort();
    paths
}

#[test]
fn memory_disk_and_no_cache_give_the_same_bits_and_damage_is_told_once() {
    let folder = tempfile::tempdir().unwrap();
    // Reads taps of the reference and holds every sample to it.
    let probe = plugin("probe.wasm");
    let run =
        |name: &str, more: &[&str]| learned(&trained(&folder, name, &arguments(&probe, more)));

    let none = run("none", &[NO_MEMORY, NO_DISK].concat());
    assert_eq!(entries(&folder), [] as [PathBuf; 0]);
    let memory = run("memory", &NO_DISK);
    let disk = run("disk", &NO_MEMORY);
    let written = entries(&folder);
    assert_eq!(written.len(), 16, "{written:?}");
    let both = run("both", &[]);
    assert!(none == memory && none == disk && none == both);
    assert_eq!(entries(&folder), written, "a second run writes nothing");

    for (number, path) in written.iter().enumerate() {
        let mut bytes = std::fs::read(path).unwrap();
        match number % 2 {
            0 => bytes.truncate(bytes.len() - 1),
            _ => bytes[100] ^= 4,
        }
        std::fs::write(path, bytes).unwrap();
    }
    let output = train(&folder, "damaged", &arguments(&probe, &NO_MEMORY));
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stderr).matches("is damaged").count(), 1);
    assert!(learned(&folder.path().join("damaged")) == none);
    let output = train(&folder, "mended", &arguments(&probe, &NO_MEMORY));
    assert!(output.status.success());
    assert!(!text(&output.stderr).contains("is damaged"));
}

#[test]
fn without_a_kl_weight_the_reference_is_not_asked() {
    let folder = tempfile::tempdir().unwrap();
    trained(&folder, "sft", &arguments(&plugin("sft.wasm"), &[]));
    assert_eq!(entries(&folder), [] as [PathBuf; 0]);
    trained(&folder, "kl", &arguments(&plugin("fixed-kl.wasm"), &[]));
    assert_eq!(entries(&folder).len(), 16);
}

#[test]
fn a_named_folder_that_can_t_be_used_is_an_error_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let policy = plugin("fixed-kl.wasm");
    let named = ["--set", "train.reference_cache_dir=mine"];
    trained(&folder, "run", &arguments(&policy, &named));
    assert_eq!(folder.path().join("mine").read_dir().unwrap().count(), 16);
    assert_eq!(entries(&folder), [] as [PathBuf; 0]);

    std::fs::write(folder.path().join("file"), "").unwrap();
    let file = ["--set", "train.reference_cache_dir=file"];
    let output = train(&folder, "refused", &arguments(&policy, &file));
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.contains("train.reference_cache_dir: file can't be used"), "{message}");
    assert_eq!(message.lines().count(), 1);
    assert!(!folder.path().join("refused").exists());
}
