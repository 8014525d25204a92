//! Adapters on chosen modules, and runs that start from an adapter.

use crate::program::{alone, json, lines, plugin, text, train, trained};
use serde_json::json as value;

/// KL to the reference at the first step.
fn first_kl(run: &std::path::Path) -> f64 {
    lines(&run.join("metrics.jsonl"))[0]["kl"].as_f64().unwrap()
}

#[test]
fn an_adapter_is_part_of_the_reference_if_the_model_has_it_and_not_if_training_starts_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let chosen = ["--targets", "q_proj,down_proj", "--layers", "1", "--rslora", "--lr", "0.01"];
    let ranks = ["--set", "lora.rank_pattern={ \"mlp.*\" = 4 }", "--steps", "4"];
    let first = trained(&folder, "first", &[&chosen[..], &ranks].concat());
    let config = json(&first.join("adapter/adapter_config.json"));
    assert_eq!(config["target_modules"], value!(["q_proj", "down_proj"]));
    assert_eq!(config["layers_to_transform"], value!([1]));
    assert_eq!(config["rank_pattern"], value!({ "down_proj": 4 }));
    assert_eq!(config["use_rslora"], true);

    let fixed = plugin("fixed-kl.wasm");
    let adapter = first.join("adapter").display().to_string();
    let under = |flag| ["--policy", &fixed, "--steps", "2", flag, &adapter];
    let output = train(&folder, "on", &under("--start"));
    assert!(output.status.success(), "{}", text(&output.stderr));
    let on = folder.path().join("on");
    let within = trained(&folder, "within", &under("--model-adapter"));
    assert!(first_kl(&on) > 1e-4, "{}", first_kl(&on));
    assert!(first_kl(&within).abs() < 1e-9, "{}", first_kl(&within));
    // What goes on keeps its shape; what is fresh is as the configuration says.
    assert_eq!(json(&on.join("adapter/adapter_config.json"))["rank_pattern"]["down_proj"], 4);
    assert_eq!(
        json(&within.join("adapter/adapter_config.json"))["layers_to_transform"],
        value!(null)
    );
    let digest =
        |run: &std::path::Path| json(&run.join("manifest.json"))["model"]["sha256"].clone();
    assert_eq!(digest(&first), digest(&on));
    assert_ne!(digest(&first), digest(&within));
    // The run knows its model.
    let said =
        alone(folder.path()).args(["generate", "--quiet", "--run", "within", "hello"]).output();
    let said = said.unwrap();
    assert!(said.status.success(), "{}", text(&said.stderr));
    assert!(!text(&said.stderr).contains("another digest"), "{}", text(&said.stderr));
}

/// Both at once: lengths of rows, and a start at singular values that is taken off again.
#[test]
fn magnitudes_and_a_start_at_singular_values_leave_the_reference_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let fixed = plugin("fixed-kl.wasm");
    let started = ["--dora", "--init", "pissa", "--rank", "4", "--steps", "30"];
    let run = trained(&folder, "run", &[&started[..], &["--policy", &fixed]].concat());
    let steps = lines(&run.join("metrics.jsonl"));
    assert!(first_kl(&run).abs() < 1e-6, "{}", first_kl(&run));
    let loss = |step: &serde_json::Value| step["task_loss"].as_f64().unwrap();
    assert!(loss(&steps[29]) < 0.7 * loss(&steps[0]), "{} {}", loss(&steps[0]), loss(&steps[29]));
    let config = json(&run.join("adapter/adapter_config.json"));
    assert_eq!((&config["use_dora"], &config["r"]), (&value!(true), &value!(8)));
    // What others can be given: the merged model says what the adapter says.
    let say = |arguments: &[&str]| {
        let output = alone(folder.path()).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout).to_owned()
    };
    say(&["export", "--run", "run", "--merged", "--output", "merged"]);
    let asked = "Is the soup good?";
    let adapted = say(&["generate", "--quiet", "--run", "run", asked]);
    assert_eq!(adapted, say(&["generate", "--quiet", "--model", "merged", asked]));
    // GGUF has no place for lengths; the way out that is told works.
    let output = alone(folder.path())
        .args(["export", "--run", "run", "--gguf-adapter", "adapter.gguf"])
        .output()
        .unwrap();
    assert!(!output.status.success() && text(&output.stderr).contains("with --gguf FILE"));
    let output = alone(folder.path())
        .args(["export", "--run", "run", "--output", "adapter"])
        .output()
        .unwrap();
    assert!(output.status.success() && text(&output.stderr).contains("vLLM and llama.cpp load no"));
    let card = std::fs::read_to_string(folder.path().join("adapter/README.md")).unwrap();
    assert!(card.contains("vllm serve MERGED") && !card.contains("--enable-lora"), "{card}");
    say(&["export", "--run", "run", "--gguf", "merged.gguf"]);
    assert_eq!(adapted, say(&["generate", "--quiet", "--model", "merged.gguf", asked]));
    // Projections are of an update that is B A alone.
    let safe = plugin("safe-lora.wasm");
    let refused =
        train(&folder, "no", &["--dora", "--policy", &safe, "--set", "model.base='merged'"]);
    assert!(text(&refused.stderr).contains("lora.dora"), "{}", text(&refused.stderr));
    // So it is where an adapter brings them.
    let under = ["--policy", &safe, "--set", "model.base='merged'"];
    let refused = train(&folder, "no", &[&["--start", "run/adapter"][..], &under].concat());
    assert!(text(&refused.stderr).contains("lora.start"), "{}", text(&refused.stderr));
}

#[test]
fn what_contradicts_an_adapter_or_fits_nothing_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |arguments: &[&str]| {
        let output = train(&folder, "run", arguments);
        assert!(!output.status.success(), "{arguments:?}");
        assert!(!folder.path().join("run").exists(), "{arguments:?}");
        text(&output.stderr).to_owned()
    };
    let error = refused(&["--start", "somewhere", "--rank", "4"]);
    assert!(error.contains("lora.rank: the adapter of lora.start has its own"), "{error}");
    let error = refused(&["--start", "somewhere", "--init", "pissa"]);
    assert!(error.contains("lora.init: the adapter"), "{error}");
    let error = refused(&["--init", "pissa", "--rank", "900"]);
    assert!(error.contains("singular values, fewer than rank 900"), "{error}");
    let error = refused(&["--start", "somewhere"]);
    assert!(error.contains("adapter_config.json"), "{error}");
    let error = refused(&["--targets", "q_proy"]);
    assert!(error.contains("\"q_proy\"; use q_proj"), "{error}");
    let error = refused(&["--layers", "77"]);
    assert!(error.contains("there is no layer 77"), "{error}");
}
