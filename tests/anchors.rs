//! Policies that hold the model beside its batch: on safety anchors, on safety tokens, within the
//! alignment subspace, by frozen blocks, and by the agreement of rows with the alignment data.

use crate::actuators::{ALIGNMENT, goes_on, metric, refused};

/// At the reference an anchor's divergence is 0; later it is not, and a run that goes on visits
/// the same anchors as one that was never cut off.
#[test]
fn anchored_visits_anchors_and_goes_on_where_it_was() {
    for divergence in ["forward-kl", "hidden-distance"] {
        let settings =
            format!("policy.settings.anchors={{ every = 1, divergence = \"{divergence}\" }}");
        let (_folder, run) = goes_on("anchored.wasm", &["--set", &settings]);
        for key in ["anchor_harmful", "anchor_harmless"] {
            let seen = metric(&run, key);
            assert!(seen[0].abs() < 1e-6, "{key} {seen:?}");
            assert!(seen[1..].iter().all(|value| *value > 0.0), "{key} {seen:?}");
        }
        assert!(metric(&run, "anchor_tokens").iter().all(|tokens| *tokens > 10.0));
    }
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

#[test]
fn safety_tokens_and_frozen_blocks_go_on_as_they_were() {
    goes_on("pact.wasm", &[]);
    goes_on("sppft.wasm", &[]);
}
