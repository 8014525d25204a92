//! Every policy that is shipped answers its recorded cases as recorded.

use std::path::PathBuf;

use host_audit::cases::{Case, TOLERANCE, paths};
use host_sandbox::{Engine, Limits, Policy};

use crate::program::plugins;

/// The .wasm files beside the sources.
fn built() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = plugins()
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "wasm"))
        .collect();
    files.sort();
    files
}

#[test]
fn every_built_policy_answers_its_cases_as_recorded() {
    let engine = Engine::new(&Limits::default()).unwrap();
    let files = built();
    assert!(files.len() >= 3, "policies are missing: {files:?}");
    for file in files {
        let policy = Policy::load(&engine, &file).unwrap();
        let folder = file.with_extension("");
        assert_eq!(Some(policy.name()), folder.file_name().and_then(|name| name.to_str()));
        let cases = paths(&folder).unwrap();
        assert!(!cases.is_empty(), "{} has no cases", folder.display());
        for path in cases {
            let case = Case::read(&path).unwrap();
            if let Err(difference) = case.check(&policy, TOLERANCE) {
                panic!("{}: {difference}", path.display());
            }
        }
    }
}

#[test]
fn a_wrong_expectation_is_noticed() {
    let engine = Engine::new(&Limits::default()).unwrap();
    let folder = plugins().join("sft");
    let policy = Policy::load(&engine, plugins().join("sft.wasm")).unwrap();
    let mut case = Case::read(&folder.join("cases/assess.json")).unwrap();
    case.expected["assessment"]["regularization"]["task_weight"][1] = 0.5.into();
    let difference = case.check(&policy, TOLERANCE).unwrap_err().to_string();
    assert!(difference.contains(".assessment.regularization.task_weight[1]"), "{difference}");
}
