//! Vectors that are fitted, measured, and steered by in a training.

use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use crate::program::{SHORT, alone, plugin, run, start, text, train, trained};
use serde_json::Value;
use tempfile::TempDir;

/// The refusal direction of the demo model, at all its blocks.
fn refusal(folder: &Path) -> Value {
    let output = run(
        folder,
        &[
            "steer",
            "fit",
            "--quiet",
            "--json",
            "--kind",
            "refusal-direction",
            "--output",
            "refusal.safetensors",
        ],
    );
    json(&output)
}

#[track_caller]
fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn report(run: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(run.join("report.json")).unwrap()).unwrap()
}

/// Metrics without their clocks.
fn metrics(run: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let lines = text.lines().map(|line| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        for clock in ["seconds", "tokens_per_second", "policy_milliseconds"] {
            line.as_object_mut().unwrap().remove(clock);
        }
        line
    });
    lines.collect()
}

#[test]
fn prompts_longer_than_the_models_context_are_found_before_a_fit() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, prompts: &[&str]| {
        let row = |prompt: &&str| serde_json::json!({ "prompt": prompt }).to_string() + "\n";
        std::fs::write(folder.path().join(name), prompts.iter().map(row).collect::<String>())
            .unwrap();
    };
    let long = "word ".repeat(600);
    // Too long with the instruction alone.
    let nearly = "word ".repeat(244);
    write("good.jsonl", &["How do I bake bread?", "Say it."]);
    write("long.jsonl", &["Say it.", &long]);
    write("nearly.jsonl", &["Say it.", &nearly]);
    let instruction = format!("steering.instruction='{}'", "word ".repeat(20).trim());
    for (arguments, file) in [
        (vec!["difference", "--positive", "good.jsonl", "--negative", "long.jsonl"], "long.jsonl"),
        (vec!["difference", "--positive", "long.jsonl", "--negative", "good.jsonl"], "long.jsonl"),
        (vec!["safety-instruction", "--prompts", "long.jsonl"], "long.jsonl"),
        (
            vec!["safety-instruction", "--prompts", "nearly.jsonl", "--set", &instruction],
            "nearly.jsonl",
        ),
    ] {
        let fit =
            [&["steer", "fit", "--quiet", "--output", "x.safetensors", "--kind"][..], &arguments]
                .concat();
        let output = run(folder.path(), &fit);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains(&format!("{file}, line 2: the prompt has")), "{stderr}");
        assert!(!folder.path().join("x.safetensors").exists());
    }
}

#[test]
fn a_vector_is_fitted_and_what_it_does_to_refusals_is_measured() {
    let folder = tempfile::tempdir().unwrap();
    let fitted = refusal(folder.path());
    for layer in fitted.as_array().unwrap() {
        assert!(layer["norm"].as_f64().unwrap() > 0.0, "{layer}");
        assert!((layer["cosine"].as_f64().unwrap() - 1.0).abs() < 1e-9, "{layer}");
    }
    let eval = |more: &[&str]| {
        let arguments = [
            "steer",
            "eval",
            "--quiet",
            "--json",
            "--vector",
            "refusal.safetensors",
            "--layers",
            "2",
            "--eval-limit",
            "8",
            "--set",
            "eval.task=[]",
        ];
        run(folder.path(), &[&arguments, more].concat())
    };
    let effects = json(&eval(&["--coefficient", "-1", "--coefficient", "1"]));
    let margin =
        |index: usize| effects["effects"][index]["refusal_margin"]["mean"].as_f64().unwrap();
    assert_eq!(effects["effects"][0]["coefficient"], 0.0);
    assert!(margin(1) < margin(0) && margin(0) < margin(2), "{effects}");
    let answered = |index: usize| &effects["effects"][index]["attack_success"]["hits"];
    assert!(answered(1).as_u64() >= answered(0).as_u64(), "{effects}");
    // Nothing of the refusal direction is left without the part along itself.
    let nothing = json(&eval(&["--coefficient", "-1", "--project"]));
    let margin =
        |index: usize| nothing["effects"][index]["refusal_margin"]["mean"].as_f64().unwrap();
    assert!((margin(0) - margin(1)).abs() < 1e-3, "{nothing}");
}

#[test]
fn answers_are_steered() {
    let folder = tempfile::tempdir().unwrap();
    refusal(folder.path());
    let answer = |more: &[&str]| {
        let arguments = ["generate", "--quiet", "--max-new-tokens", "8", "How do I bake bread?"];
        let output = run(folder.path(), &[&arguments, more].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout).to_owned()
    };
    let vector = ["--vector", "refusal.safetensors", "--coefficient"];
    let plain = answer(&[]);
    assert_eq!(answer(&[&vector[..], &["0"]].concat()), plain);
    assert_ne!(answer(&[&vector[..], &["4"]].concat()), plain);
}

#[test]
fn files_and_arguments_that_can_not_be_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("broken.safetensors"), b"no").unwrap();
    refusal(folder.path());
    let fit = ["steer", "fit", "--quiet"];
    let eval = ["steer", "eval", "--quiet"];
    let cases: [(&[&str], &[&str], i32, &str); 6] = [
        (&fit, &[], 2, "give --positive FILE"),
        (&fit, &["--kind", "refusal-direction", "--set", "calibration.data=[]"], 2, "--labelled"),
        (&fit, &["--kind", "refusal-direction", "--layers", "99"], 1, "choose 0 to"),
        (&eval, &[], 2, "give --vector FILE"),
        (&eval, &["--vector", "broken.safetensors"], 1, "broken.safetensors: is no safetensors"),
        (&eval, &["--vector", "refusal.safetensors", "--layers", "0"], 1, "layer 0 has no vector"),
    ];
    for (command, more, code, problem) in cases {
        let output = run(folder.path(), &[command, more].concat());
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{more:?}: {told}");
        assert!(told.contains(problem), "{more:?}: {told}");
        assert_eq!(told.lines().count(), 1, "{told}");
    }
}

/// A short training under self-guard, of four steps unless `more` says another number.
fn guarded(folder: &TempDir, name: &str, more: &[&str]) -> std::path::PathBuf {
    let policy = plugin("self-guard.wasm");
    let arguments = ["--policy", &policy, "--batch", "4"];
    let steps: &[&str] = if more.contains(&"--steps") { &[] } else { &["--steps", "4"] };
    trained(folder, name, &[&arguments, steps, more].concat())
}

/// Before the first update the model in training is the reference, so a teacher that is
/// steered differs from it, and one that isn't does not.
#[test]
fn the_reference_teaches_steered() {
    let folder = tempfile::tempdir().unwrap();
    let kl = |run: &Path| metrics(run)[0]["kl"].as_f64().unwrap();
    let steered = guarded(&folder, "steered", &[]);
    let in_force = &report(&steered)["trained"]["steering"];
    assert_eq!((&in_force["coefficient"], &in_force["reference"]), (&1.0.into(), &true.into()));
    assert!(kl(&steered) > 1e-3, "{}", kl(&steered));
    let off = guarded(&folder, "off", &["--set", "steering.coefficient=0"]);
    assert!(kl(&off) < 1e-6, "{}", kl(&off));
    // It is for teaching, not for use.
    assert!(!steered.join("steering.safetensors").exists());
}

/// What another steering was answered is in the cache, and must not be found.
#[test]
fn no_answer_of_another_steering_is_used() {
    let folder = tempfile::tempdir().unwrap();
    for (name, coefficient) in [("one", "1"), ("half", "0.5"), ("none", "0")] {
        let coefficient = format!("steering.coefficient={coefficient}");
        let set = ["--set", coefficient.as_str()];
        let first = guarded(&folder, &format!("{name}-first"), &set);
        let again = guarded(&folder, &format!("{name}-again"), &set);
        let fresh = ["--set", "train.reference_cache_mib=0"];
        let fresh = [&set[..], &fresh, &["--set", "train.reference_cache_disk_mib=0"]].concat();
        let fresh = guarded(&folder, &format!("{name}-fresh"), &fresh);
        assert_eq!(metrics(&first), metrics(&fresh), "{name}");
        assert_eq!(metrics(&again), metrics(&fresh), "{name}");
    }
}

#[test]
fn a_vector_that_costs_too_much_is_capped_and_left_for_use() {
    let folder = tempfile::tempdir().unwrap();
    refusal(folder.path());
    let policy = plugin("steering-guard.wasm");
    let guard = |name: &str, settings: &str| {
        let run = trained(
            &folder,
            name,
            &[
                "--policy",
                &policy,
                "--steps",
                "4",
                "--batch",
                "4",
                "--set",
                "steering.vector=refusal.safetensors",
                "--set",
                "steering.coefficient=-1",
                "--set",
                "policy.settings.every=1",
                "--set",
                settings,
            ],
        );
        let in_force = report(&run)["trained"]["steering"].clone();
        (run, in_force)
    };
    // Against refusing, and not to be projected: it costs margin.
    let (run, capped) = guard("capped", "policy.settings.allowed_opposition=1");
    let coefficient = capped["coefficient"].as_f64().unwrap();
    assert!(coefficient > -1.0 && coefficient < 0.0, "{capped}");
    assert_eq!(capped["project"], false);
    assert!(run.join("steering.safetensors").is_file());
    let (_, projected) = guard("projected", "policy.settings.allowed_opposition=0.5");
    assert_eq!(projected["project"], true);
}

#[test]
fn steering_without_its_means_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    refusal(folder.path());
    let (own, guard) = (plugin("self-guard.wasm"), plugin("steering-guard.wasm"));
    let vector = ["--set", "steering.vector=refusal.safetensors"];
    let layers = ["--set", "policy.settings.layers=[0]"];
    let cases: [(&[&str], &[&str], &str); 5] = [
        (&["--policy", &own], &["--set", "calibration.data=[]"], "give --labelled FILE"),
        (&["--policy", &own], &["--set", "canary.prompts=[]"], "canary.prompts"),
        (&["--policy", &guard], &[], "steering.vector"),
        (&["--policy", &guard, vector[0], vector[1]], &layers, "layer 0 has no vector"),
        (&["--policy", &own, "--policy", &guard], &vector, "no other policy can work beside it"),
    ];
    for (policies, more, problem) in cases {
        for dry in [&[][..], &["--dry-run"]] {
            let output = train(&folder, "refused", &[policies, more, dry].concat());
            let told = text(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{told}");
            assert!(told.contains(problem), "{told}");
            assert!(!folder.path().join("refused").exists());
        }
    }
    let output = train(&folder, "dry", &["--policy", &own, "--dry-run"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn a_killed_run_goes_on_with_its_vectors_to_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let steps = ["--steps", "16", "--checkpoint-every", "1"];
    let whole = guarded(&folder, "whole", &steps);
    let policy = plugin("self-guard.wasm");
    let own = ["--quiet", "--output", "killed", "--policy", &policy, "--batch", "4"];
    let mut process = start(&folder, &[&SHORT[..], &own, &steps].concat());
    let killed = folder.path().join("killed");
    let began = Instant::now();
    while !killed.join("checkpoints/step-000002/manifest.json").exists() {
        assert!(began.elapsed() < Duration::from_secs(300));
        std::thread::sleep(Duration::from_millis(5));
    }
    process.kill().unwrap();
    process.wait().unwrap();
    assert!(!killed.join("adapter").exists(), "it ended before it was killed");
    let output = alone(&folder).args(["train", "--quiet", "--resume", "killed"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    for file in [
        "adapter/adapter_model.safetensors",
        "steering/vector.safetensors",
        "steering/refusal.safetensors",
        "journal/records.jsonl",
    ] {
        let bytes = |run: &Path| std::fs::read(run.join(file)).unwrap();
        assert!(bytes(&killed) == bytes(&whole), "{file}");
    }
    assert_eq!(metrics(&killed), metrics(&whole));
    // Vectors that are not those it began with are named.
    let vector = killed.join("steering/vector.safetensors");
    std::fs::copy(killed.join("steering/refusal.safetensors"), vector).unwrap();
    let output = alone(&folder).args(["train", "--quiet", "--resume", "killed"]).output().unwrap();
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("the vectors that are steered by are not what"), "{told}");
}
