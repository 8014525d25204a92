//! Policies that hold the model beside its batch: on safety anchors, on safety tokens, within the
//! alignment subspace, by frozen blocks, and by the agreement of rows with the alignment data.

use std::path::Path;

use crate::actuators::{ALIGNMENT, goes_on, metric, refused};
use crate::program::lines;

/// At the reference an anchor's divergence is 0; later it is not, and a run that goes on visits
/// the same anchors as one that was never cut off.
#[test]
fn anchored_visits_anchors_and_goes_on_where_it_was() {
    for divergence in ["forward-kl", "hidden-distance"] {
        // Over so many tokens that the divergence of a few steps is more than rounding.
        let settings = format!(
            "policy.settings.anchors={{ answer_tokens = 16, divergence = \"{divergence}\" }}"
        );
        let (_folder, run) = goes_on("anchored.wasm", &["--set", &settings]);
        for key in ["anchor_harmful", "anchor_harmless"] {
            let seen = metric(&run, key);
            assert!(seen[0].abs() < 1e-6, "{key} {seen:?}");
            assert!(seen[1..].iter().all(|value| *value > 0.0), "{key} {seen:?}");
        }
        assert!(metric(&run, "anchor_tokens").iter().all(|tokens| *tokens > 10.0));
    }
}

/// Record 0 names the files of what a run visited, or took its safety tokens from.
#[test]
fn a_run_names_its_anchors_if_a_policy_reads_them() {
    let (_folder, without) = goes_on("fixed-kl.wasm", &[]);
    for (policy, reads) in [("anchored.wasm", true), ("pact.wasm", true), ("sppft.wasm", false)] {
        let (_folder, run) = goes_on(policy, &[]);
        assert_eq!(names_anchors(&run), reads, "{policy}");
    }
    assert!(!names_anchors(&without));
}

fn names_anchors(run: &Path) -> bool {
    let first = lines(&run.join("journal/records.jsonl")).swap_remove(0).to_string();
    let named = ["anchors.harmful.0", "anchors.harmless.0"].map(|part| first.contains(part));
    assert_eq!(named[0], named[1]);
    named[0]
}

#[test]
fn what_anchors_lack_is_named() {
    let none = ["--set", "anchors.harmful=[]"];
    refused(1, "anchored.wasm", &none, "name a file of harmful prompts in anchors.harmful");
    refused(
        1,
        "anchored.wasm",
        &["--set", "anchors.harmless=[\"nowhere.jsonl\"]"],
        "nowhere.jsonl",
    );
    refused(2, "anchored.wasm", &["--set", "anchors.limit=0"], "anchors.limit");
    let many = ["--set", "policy.settings.anchors={ harmful = 300 }"];
    refused(1, "anchored.wasm", &many, "make 301 prompts");
}

/// The direction of the alignment gradient is part of a checkpoint.
#[test]
fn gradshield_compares_rows_with_the_alignment_data() {
    let (_folder, run) = goes_on("gradshield.wasm", &ALIGNMENT);
    let weights = metric(&run, "task_weight");
    assert!(weights.iter().any(|weight| *weight < 1.0), "{weights:?}");
    refused(1, "gradshield.wasm", &[], "--alignment FILE");
}
