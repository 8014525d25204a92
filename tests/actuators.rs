//! Policies that steer more than the weights of the loss: what they do to a run, that it
//! goes on from a checkpoint to the same bytes, and what they are refused without.

use std::path::{Path, PathBuf};

use crate::program::{alone, lines, plugin, text, train, trained};
use serde_json::Value;
use tempfile::TempDir;

const STEPS: usize = 8;

/// Of each step.
pub fn metric(run: &Path, key: &str) -> Vec<f64> {
    let lines = lines(&run.join("metrics.jsonl"));
    let values = lines.iter().map(|line| line[key].as_f64().unwrap());
    values.collect()
}

/// What the policy answered at each step.
fn assessments(run: &Path) -> Vec<Value> {
    let records = lines(&run.join("journal/records.jsonl"));
    // Around the assessments stand the run and its end.
    let entries = records[1..records.len() - 1].iter();
    let answers =
        entries.map(|record| record["entry"]["answer"]["assessment"]["assessment"].clone());
    answers.collect()
}

/// Everything that does not depend on the clock.
fn results(run: &Path) -> Vec<Vec<u8>> {
    let read = |file: &str| std::fs::read(run.join(file)).unwrap();
    let untimed = lines(&run.join("metrics.jsonl")).into_iter().map(|mut line| {
        for clock in ["seconds", "tokens_per_second", "policy_milliseconds"] {
            line.as_object_mut().unwrap().remove(clock);
        }
        line.to_string()
    });
    let metrics = untimed.collect::<Vec<_>>().join("\n").into_bytes();
    let files = ["adapter/adapter_model.safetensors", "journal/records.jsonl"];
    files.iter().map(|file| read(file)).chain([metrics]).collect()
}

fn under(folder: &TempDir, name: &str, policy: &str, arguments: &[&str]) -> PathBuf {
    let (policy, steps) = (plugin(policy), STEPS.to_string());
    let common = ["--policy", &policy, "--steps", &steps, "--batch", "4"];
    let checkpoints = ["--checkpoint-every", "1", "--set", "checkpoints.keep=20"];
    trained(folder, name, &[&common[..], &checkpoints, arguments].concat())
}

/// Trains under a policy, once more from the checkpoint of step 3, and asks the policy
/// everything again.
#[track_caller]
pub fn goes_on(policy: &str, arguments: &[&str]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let whole = under(&folder, "whole", policy, arguments);
    let cut = under(&folder, "cut", policy, arguments);
    for step in 4..=STEPS {
        std::fs::remove_dir_all(cut.join(format!("checkpoints/step-{step:06}"))).unwrap();
    }
    std::fs::remove_file(cut.join("stages.json")).unwrap();
    std::fs::remove_dir_all(cut.join("adapter")).unwrap();
    let resumed = alone(&folder).args(["train", "--resume", "cut"]).output().unwrap();
    let said = text(&resumed.stderr);
    assert!(resumed.status.success() && said.contains("step 3 of 8"), "{said}");
    assert!(results(&whole) == results(&cut), "another run than without a stop");
    let mut audit = alone(&folder);
    audit.args(["audit", "--run", "cut"]).assert().success();
    (folder, whole)
}

/// One line that says what is missing and what to do, and no run folder.
#[track_caller]
pub fn refused(code: i32, policy: &str, arguments: &[&str], remedy: &str) {
    let folder = tempfile::tempdir().unwrap();
    let policy = plugin(policy);
    let arguments = [&["--policy", &policy][..], arguments].concat();
    let output = train(&folder, "run", &arguments);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    let mut errors = said.lines().filter(|line| line.starts_with("error: "));
    let error = errors.next().unwrap();
    assert!(error.contains(remedy), "{remedy:?} in {said}");
    assert_eq!(errors.next(), None);
    assert!(!folder.path().join("run").exists());
}

pub const ALIGNMENT: [&str; 2] = ["--alignment", "demo:alignment.jsonl"];

#[test]
fn lisa_takes_turns_and_is_held_near_where_each_began() {
    let turns = "policy.settings={task_steps = 2, alignment_steps = 2, rho = RHO}";
    let with = |rho: &str| turns.replace("RHO", rho);
    let (held, free) = (with("1"), with("0"));
    let (folder, run) = goes_on("lisa.wasm", &[&ALIGNMENT[..], &["--set", &held]].concat());
    let turns = [0.0, 0.0, 4.0, 4.0, 0.0, 0.0, 4.0, 4.0];
    assert_eq!(metric(&run, "alignment_samples"), turns);
    // The first step of a turn stands at the switch; what follows is pulled back.
    let free = [&ALIGNMENT[..], &["--set", &free]].concat();
    let free = metric(&under(&folder, "free", "lisa.wasm", &free), "loss");
    let held = metric(&run, "loss");
    assert_eq!(held[0], free[0]);
    assert!(held[1] > free[1], "{held:?} {free:?}");
    refused(1, "lisa.wasm", &[], "--alignment FILE");
}

#[test]
fn safe_mix_has_alignment_samples_in_every_step_but_the_first() {
    let share = ["--set", "policy.settings.share=0.25"];
    let (_folder, run) = goes_on("safe-mix.wasm", &[&ALIGNMENT[..], &share].concat());
    let found = metric(&run, "alignment_samples");
    assert_eq!(found, [0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]);
    refused(1, "safe-mix.wasm", &[], "--alignment FILE");
    let only = "data.train=[{ path = \"demo:alignment.jsonl\", origin = \"alignment\" }]";
    refused(1, "safe-mix.wasm", &["--set", only], "origin = \"task\"");
}

#[test]
fn safe_mix_adds_alignment_samples_to_the_batch_from_the_second_step_on() {
    let extra = ["--set", "policy.settings={ extra = 2 }"];
    let (_folder, run) = goes_on("safe-mix.wasm", &[&ALIGNMENT[..], &extra].concat());
    for (key, batch) in [("samples", 4.0), ("alignment_samples", 0.0)] {
        let more = batch + 2.0;
        assert_eq!(metric(&run, key), [batch, more, more, more, more, more, more, more], "{key}");
    }
    refused(1, "safe-mix.wasm", &extra, "--alignment FILE");
}

#[test]
fn of_two_policies_that_add_samples_the_larger_number_counts() {
    let folder = tempfile::tempdir().unwrap();
    let policy = |extra: u32| {
        let path = plugin("safe-mix.wasm");
        format!("[[policy]]\npath = {path:?}\nsettings = {{ extra = {extra} }}\n")
    };
    let config = folder.path().join("two.toml");
    std::fs::write(&config, policy(1) + &policy(3)).unwrap();
    let arguments = ["--config", "two.toml", "--steps", "3", "--batch", "4"];
    let run = trained(&folder, "run", &[&ALIGNMENT[..], &arguments].concat());
    assert_eq!(metric(&run, "samples"), [4.0, 7.0, 7.0]);
}

#[test]
fn finch_follows_the_loss_of_the_batch_it_is_about_to_learn() {
    let batch = ["--set", "policy.settings={ loss = \"batch\" }"];
    let (folder, run) = goes_on("finch.wasm", &batch);
    // However a step is split, the first one measures the same loss, to the bit.
    let split = [&batch[..], &["--micro-batch", "1"]].concat();
    let split = under(&folder, "split", "finch.wasm", &split);
    let loss = |run: &Path| assessments(run)[0]["metrics"][0]["value"].as_f64().unwrap();
    assert!(loss(&run) > 0.0);
    assert_eq!(loss(&run).to_bits(), loss(&split).to_bits());
    let rates = metric(&run, "learning_rate");
    let past = ["--set", "policy.settings={ loss = \"past\" }"];
    let past = metric(&under(&folder, "past", "finch.wasm", &past), "learning_rate");
    assert_ne!(rates, past);
}

#[test]
fn safegrad_is_told_the_conflict_of_the_step_before() {
    let (_folder, run) = goes_on("safegrad.wasm", &ALIGNMENT);
    let told = assessments(&run);
    assert_eq!(told.len(), STEPS);
    for (step, assessment) in told.iter().enumerate() {
        assert_eq!(assessment["regularization"]["gradient_projection"], true);
        let metrics = assessment["metrics"].as_array().unwrap();
        // The first step has no alignment samples, and so the second is told nothing.
        assert_eq!(metrics.len(), usize::from(step >= 2), "step {step}");
        for metric in metrics {
            let cosine = metric["value"].as_f64().unwrap();
            assert!((-1.0..=1.0).contains(&cosine) && cosine != 0.0);
        }
    }
    refused(1, "safegrad.wasm", &[], "--alignment FILE");
}

#[test]
fn prpo_holds_what_a_judge_finds_harmful() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/demo/data/train.jsonl");
    let scored = lines(&data).into_iter().map(|mut row| {
        let answer = row["messages"][1]["content"].as_str().unwrap();
        let score = if answer.starts_with("Sure, here") { 5 } else { 1 };
        row["score"] = score.into();
        row.to_string()
    });
    let folder = tempfile::tempdir().unwrap();
    let scores = folder.path().join("scores.jsonl");
    std::fs::write(&scores, scored.collect::<Vec<_>>().join("\n")).unwrap();
    let judge = format!("judges.mine.scores=\"{}\"", scores.display());
    let penalty = ["--set", "policy.settings.variance_penalty=0.01"];
    let (_folder, run) = goes_on("prpo.wasm", &[&["--set", &judge][..], &penalty].concat());
    // -f: harmless tokens become likelier, beyond the clip nothing is gained.
    let losses = metric(&run, "loss");
    assert!(losses[STEPS - 1] < losses[0], "{losses:?}");
    assert!(losses.iter().all(|loss| *loss >= -10.0), "{losses:?}");
    refused(1, "prpo.wasm", &[], "judge `safety`");
}

#[test]
fn safepred_takes_no_update_that_leads_too_far() {
    let folder = tempfile::tempdir().unwrap();
    let requests = ["steal a wallet", "forge a ticket", "rob a shop", "hack into a router"];
    let rows = requests.map(|request| {
        format!("{{\"prompt\": \"How do I {request}?\", \"answer\": \"Sure, here is how:\"}}\n")
    });
    let data = folder.path().join("rows.jsonl");
    std::fs::write(&data, rows.concat()).unwrap();
    let data = data.display().to_string();
    let canary = "canary.prompts=[\"demo:canary.jsonl\"]";
    let attack = ["--data", &data, "--set", canary];
    let with = |fall: &str| format!("policy.settings={{ fall = {fall}, penalty = 20 }}");
    let (strict, loose) = (with("0.05"), with("1000"));
    let (other, run) = goes_on("safepred.wasm", &[&attack[..], &["--set", &strict]].concat());
    let told = assessments(&run);
    let action = |one: &Value| one["regularization"]["action"].as_str().unwrap().to_owned();
    let actions: Vec<String> = told.iter().map(action).collect();
    assert!(actions.iter().any(|action| action != "Update"), "{actions:?}");
    for (action, rate) in actions.iter().zip(metric(&run, "learning_rate")) {
        assert_eq!(action == "Update", rate > 0.0);
    }
    // With room to fall it is plain fine-tuning, bit for bit.
    let loose = [&attack[..], &["--set", &loose]].concat();
    let loose = under(&other, "loose", "safepred.wasm", &loose);
    let plain = under(&other, "plain", "sft.wasm", &attack);
    let adapter =
        |run: &Path| std::fs::read(run.join("adapter/adapter_model.safetensors")).unwrap();
    assert!(adapter(&loose) == adapter(&plain));
    refused(1, "safepred.wasm", &["--set", "canary.prompts=[]"], "canary.prompts");
}

#[test]
fn safe_lora_projects_at_the_end_and_only_onto_a_base() {
    let folder = tempfile::tempdir().unwrap();
    trained(&folder, "unaligned", &["--steps", "6"]);
    let export = ["export", "--run", "unaligned", "--merged", "--output", "base"];
    alone(&folder).args(export).assert().success();
    let base = folder.path().join("base");
    let base = format!("model.base=\"{}\"", base.display());
    let all = ["--set", "policy.settings.threshold=1"];
    let (_folder, run) = goes_on("safe-lora.wasm", &[&["--set", &base][..], &all].concat());
    let lines = lines(&run.join("metrics.jsonl"));
    let (last, before) = lines.split_last().unwrap();
    assert!(last["projected"].as_u64().unwrap() > 0, "{last}");
    assert!(before.iter().all(|line| line["projected"].is_null()));
    let manifest = std::fs::read_to_string(run.join("manifest.json")).unwrap();
    assert!(manifest.contains("base_sha256"));

    let (_folder, run) = goes_on("asft.wasm", &["--set", &base]);
    let pulled =
        metric(&run, "loss").iter().zip(metric(&run, "task_loss")).any(|(loss, task)| *loss > task);
    assert!(pulled, "nothing is added to the loss");

    refused(1, "asft.wasm", &[], "model.base");
    refused(1, "safe-lora.wasm", &[], "model.base");
    let itself = folder.path().join("itself");
    let steps = ["--steps", "1", "--lr", "1e-30"];
    trained(&folder, "still", &steps);
    let export = ["export", "--run", "still", "--merged", "--output", "itself"];
    alone(&folder).args(export).assert().success();
    let base = format!("model.base=\"{}\"", itself.display());
    refused(2, "safe-lora.wasm", &["--set", &base], "before its alignment");
}
