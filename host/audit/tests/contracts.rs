//! Components of every contract that this host serves. Those of 0.1 are as they were when
//! 0.2 was begun, and give the answers that were recorded then.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use host_audit::cases::{self, Case};
use host_contract::Version;
use host_sandbox::{Engine, Limits, Policy, digest};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/v0.1")
}

/// Names and digests of the components.
fn components() -> Vec<(String, String)> {
    let sums = fs::read_to_string(folder().join("SHA256SUMS")).unwrap();
    let line = |line: &str| {
        let (sum, file) = line.split_once("  ").unwrap();
        (file.strip_suffix(".wasm").unwrap().to_owned(), sum.to_owned())
    };
    sums.lines().map(line).collect()
}

#[test]
fn components_of_0_1_give_the_answers_that_were_recorded() {
    let engine = Engine::new(&Limits::default()).unwrap();
    let components = components();
    assert_eq!(components.len(), 21);
    let mut checked = 0;
    for (name, sum) in components {
        let path = folder().join(format!("{name}.wasm"));
        assert_eq!(digest(&fs::read(&path).unwrap()), sum, "{name} was changed");
        let policy = Policy::load(&engine, &path).unwrap();
        assert_eq!((policy.version(), policy.name()), (Version::V0_1, name.as_str()));
        for path in cases::paths(&folder().join(&name)).unwrap() {
            let case = Case::read(&path).unwrap();
            case.check(&policy, 0.0).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            checked += 1;
        }
    }
    assert!(checked >= 188, "{checked} cases");
}
