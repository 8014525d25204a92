//! Policy against policy: what one holds, another beside it doesn't undo.

use std::path::Path;

use crate::program::{alone, plugin, text, train, trained};
use crate::support::Guest;
use host_contract::{Action, Actuators, Needs, RatioClip, TokenNeeds};
use serde_json::Value;
use tempfile::TempDir;

/// Writes a policy that gives the same two samples' answer at every step.
fn guest(folder: &TempDir, name: &str, needs: Needs, mut guest: Guest) -> String {
    guest.descriptor.name = name.into();
    guest.configure = Ok(needs);
    let path = folder.path().join(format!("{name}.wasm"));
    std::fs::write(&path, guest.component()).unwrap();
    path.display().to_string()
}

/// Learns everything, and holds nothing.
fn lets_go() -> Guest {
    Guest::answering(|assessment| {
        assessment.risk = vec![0.0; 2];
        assessment.regularization.task_weight = vec![10.0; 2];
        assessment.regularization.kl_weight = vec![0.0; 2];
    })
}

fn combined(run: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(run.join("journal/records.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let entries = lines.map(|line| line["entry"].clone());
    let combined = entries.filter(|entry| entry["kind"] == "combined");
    combined.map(|entry| entry["assessment"]["regularization"].clone()).collect()
}

/// A loss of its own, averages, anchors, the way back, another divergence and steering: each
/// could undo what the other policy did.
#[test]
fn what_has_no_order_is_refused_before_anything_runs() {
    let folder = tempfile::tempdir().unwrap();
    let mut clip = lets_go();
    clip.assess.as_mut().unwrap().regularization.ratio_clip = Some(vec![
        RatioClip {
            low: 0.0,
            high: 1.7e308,
            direction: 1e6,
            sequence: false,
            variance_penalty: 0.0,
            beyond: 0.0,
        };
        2
    ]);
    let needs =
        Needs { tokens: TokenNeeds::all(), actuators: Actuators::RATIO_CLIP, ..Needs::new() };
    let clip = guest(&folder, "clip", needs, clip);
    let probe = plugin("probe.wasm");
    let cases = [
        (clip, "ratio-clip"),
        (plugin("ema.wasm"), "ema"),
        (plugin("lisa.wasm"), "anchor"),
        (plugin("safepred.wasm"), "roll-back"),
        (plugin("self-guard.wasm"), "steering"),
    ];
    for (other, actuator) in &cases {
        for pair in [[&probe, other], [other, &probe]] {
            for dry in [&[][..], &["--dry-run"]] {
                let arguments = ["--policy", pair[0], "--policy", pair[1], "--steps", "2"];
                let data = ["--alignment", "demo:alignment.jsonl"];
                let output = train(&folder, "run", &[&arguments[..], &data, dry].concat());
                let said = text(&output.stderr);
                assert_eq!(output.status.code(), Some(1), "{said}");
                let errors: Vec<&str> =
                    said.lines().filter(|line| line.starts_with("error: ")).collect();
                let [error] = errors[..] else { panic!("one line: {said}") };
                assert!(error.contains(&format!("may use {actuator}, which ")), "{error}");
                assert!(error.contains("run it as the only policy, or leave it out"), "{error}");
                assert!(error.contains(other.as_str()), "{error}");
                assert!(!folder.path().join("run").exists());
            }
        }
    }
    // As the message says.
    trained(&folder, "run", &["--policy", &cases[1].0, "--steps", "2", "--batch", "2"]);
}

/// Weights of 10, no hold, ten times the learning rate and a clip that clips nothing.
#[test]
fn a_policy_that_lets_go_changes_nothing_beside_one_that_holds() {
    let folder = tempfile::tempdir().unwrap();
    let mut other = lets_go();
    let r = &mut other.assess.as_mut().unwrap().regularization;
    r.learning_rate_scale = 10.0;
    r.gradient_clip = Some(1e300);
    let actuators = Actuators::LEARNING_RATE | Actuators::GRADIENT_CLIP;
    let other = guest(&folder, "other", Needs { actuators, ..Needs::new() }, other);
    let probe = plugin("probe.wasm");
    let alone = trained(&folder, "alone", &["--policy", &probe, "--steps", "4", "--batch", "2"]);
    let arguments = ["--policy", &other, "--policy", &probe, "--steps", "4", "--batch", "2"];
    let both = trained(&folder, "both", &arguments);
    let weights =
        |run: &Path| std::fs::read(run.join("adapter/adapter_model.safetensors")).unwrap();
    assert!(weights(&alone) == weights(&both), "the other policy had a say");
    assert_eq!(combined(&both).len(), 4);
}

/// One learns from alignment data alone, the other skips every step and weighs them at nothing.
#[test]
fn nobody_takes_away_the_steps_that_bring_the_model_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut skips = lets_go();
    let r = &mut skips.assess.as_mut().unwrap().regularization;
    r.task_weight = vec![0.0; 2];
    r.action = Action::Skip;
    let skips = guest(&folder, "skips", Needs::new(), skips);
    let mut mix = lets_go();
    mix.assess.as_mut().unwrap().regularization.alignment_share = Some(1.0);
    let needs = Needs { actuators: Actuators::ALIGNMENT_SHARE, ..Needs::new() };
    let mix = guest(&folder, "mix", needs, mix);
    let data = ["--alignment", "demo:alignment.jsonl", "--batch", "2", "--steps", "4"];
    let share = ["--policy", &mix];
    let alone = trained(&folder, "alone", &[&data[..], &share].concat());
    let both = trained(&folder, "both", &[&data[..], &share, &["--policy", &skips]].concat());
    let norms = |run: &Path| {
        let lines = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
        let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.map(|line| line["learning_rate"].as_f64().unwrap()).collect::<Vec<f64>>()
    };
    // The first step has no share yet where everybody mixes; here one does not, and it has.
    assert!(norms(&alone).iter().all(|rate| *rate > 0.0));
    assert!(norms(&both)[1..].iter().all(|rate| *rate > 0.0), "{:?}", norms(&both));
    assert!(combined(&both).iter().skip(1).all(|r| r["action"] == "Update"));
}

/// A share that was named once stands, whatever another policy names later; and a run that
/// goes on knows it.
#[test]
fn a_share_is_not_taken_back_by_another_policy() {
    let folder = tempfile::tempdir().unwrap();
    let mut none = lets_go();
    none.assess.as_mut().unwrap().regularization.alignment_share = Some(0.0);
    let needs = Needs { actuators: Actuators::ALIGNMENT_SHARE, ..Needs::new() };
    let none = guest(&folder, "none", needs, none);
    // Beside one that knows nothing of shares, the mixture of the data stays.
    let fixed = plugin("fixed-kl.wasm");
    let data = ["--alignment", "demo:alignment.jsonl", "--batch", "2", "--steps", "6"];
    let pair = ["--policy", &fixed, "--policy", &none];
    let run = trained(&folder, "run", &[&data[..], &pair].concat());
    let lines = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let found: f64 = lines.map(|line| line["alignment_samples"].as_f64().unwrap()).sum();
    assert!(found > 0.0, "{found}");
    let mut audit = alone(&folder);
    audit.args(["audit", "--run", "run"]).assert().success();
}

/// What a policy may do is up to the person who starts the run: breaking a rule is a fault, on
/// record, and replayed as one.
#[test]
fn a_rule_of_the_run_stops_a_policy_that_breaks_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut liar = lets_go();
    liar.assess.as_mut().unwrap().risk = vec![0.1, 0.9];
    let liar = guest(&folder, "liar", Needs::new(), liar);
    let policy = ["--policy", &liar, "--batch", "2", "--steps", "3"];
    let rule = ["--set", "trust.require=['monotone', 'kl_weight >= 0.5 * risk']"];
    let output = train(&folder, "run", &[&policy[..], &rule].concat());
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    let expected = "`kl_weight >= 0.5 * risk`, which this breaks: sample 0 has risk 0.1, \
                    kl_weight 0, task_weight 10";
    assert!(said.contains(expected) && said.contains("assess at step 0"), "{said}");
    let audit = |name: &str| {
        let mut audit = alone(&folder);
        audit.args(["audit", "--run", name]).assert().success();
    };
    audit("run");
    // In its place, the strictest assessment.
    let strict = [&policy[..], &rule, &["--on-fault", "strict=3"]].concat();
    let run = trained(&folder, "strict", &strict);
    audit("strict");
    let metrics = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    assert!(metrics.lines().all(|line| line.contains("\"task_weight\":0.0")), "{metrics}");
    // Its journal can't be taken for one of a run without the rule.
    let records = std::fs::read_to_string(run.join("journal/records.jsonl")).unwrap();
    assert!(records.contains("\"require\":[\"monotone\",\"kl_weight >= 0.5 * risk\"]"));

    for (rule, code, says) in [
        (
            "kl_weight >= half",
            2,
            "trust.require[0]: `kl_weight >= half`: it has `half`, which is no number",
        ),
        ("without learning-rate", 2, "forbids policy finch"),
    ] {
        let set = format!("trust.require=[\"{rule}\"]");
        let finch = plugin("finch.wasm");
        let arguments = ["--policy", &finch, "--steps", "2", "--set", &set];
        let output = train(&folder, "refused", &arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(says), "{said}");
        assert!(!folder.path().join("refused").exists());
    }
    // A policy that holds keeps them.
    let probe = plugin("probe.wasm");
    trained(&folder, "honest", &[&["--policy", &probe, "--steps", "3"], &rule[..]].concat());
}
