//! What a user's rows say is what is trained and asked, and what is passed over is told.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::program::{alone, json, root, text, train, trained};

fn write(folder: &TempDir, name: &str, rows: impl IntoIterator<Item = Value>) {
    let lines: Vec<String> = rows.into_iter().map(|row| row.to_string()).collect();
    std::fs::write(folder.path().join(name), lines.join("\n")).unwrap();
}

fn pair(number: usize) -> Value {
    json!({"prompt": format!("What is {number}?"), "answer": "a number", "source": "web"})
}

/// What a short training on `rows.jsonl` says.
#[track_caller]
fn said(folder: &TempDir, more: &[&str]) -> (String, Value) {
    let run = alone(folder)
        .args(["train", "--no-baseline", "--set", "eval.before=false", "--eval-limit", "1"])
        .args(["--steps", "1", "--output", "run", "--data", "rows.jsonl"])
        .args(more)
        .output()
        .unwrap();
    let stderr = text(&run.stderr).to_owned();
    assert!(run.status.success(), "{stderr}");
    let report = json(&folder.path().join("run/report.json"));
    std::fs::remove_dir_all(folder.path().join("run")).unwrap();
    (stderr, report)
}

#[test]
fn a_copy_of_the_example_configuration_trains() {
    let folder = tempfile::tempdir().unwrap();
    let copy = std::fs::read(root().join("examples/config.toml")).unwrap();
    std::fs::write(folder.path().join("copy.toml"), copy).unwrap();
    std::fs::write(folder.path().join("least.toml"), "[data]\ntrain = []\n").unwrap();
    for name in ["copy", "least"] {
        let config = format!("{name}.toml");
        let run = trained(&folder, name, &["--config", &config, "--steps", "1"]);
        let manifest = json(&run.join("manifest.json"));
        assert_eq!(manifest["data"][0]["file"], "demo:train.jsonl", "{name}");
        assert_eq!(manifest["status"], "finished");
    }
}

#[test]
fn only_the_messages_that_a_row_says_are_learned() {
    let folder = tempfile::tempdir().unwrap();
    let row = json!({"messages": [
        {"role": "user", "content": "What is 6 times 7?"},
        {"role": "assistant", "content": "43", "weight": 0},
        {"role": "user", "content": "Check again."},
        {"role": "assistant", "content": "42", "weight": 1},
    ]});
    write(&folder, "rows.jsonl", [row]);
    let (stderr, report) = said(&folder, &[]);
    assert!(stderr.contains("    43<|im_end|>") && stderr.contains("⟦42<|im_end|>⟧"), "{stderr}");
    assert!(report.get("notices").is_none(), "{report}");
}

#[test]
fn keys_that_nobody_reads_are_told_once_and_reported() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder, "rows.jsonl", (0..20).map(pair));
    let (stderr, report) = said(&folder, &[]);
    let line = "rows.jsonl: ignored: `source` in 20 of 20 rows";
    assert_eq!(stderr.matches(line).count(), 1, "{stderr}");
    assert_eq!(report["notices"][0]["ignored"]["source"], 20);
    // The same of an evaluation, of a judge's rows, and of a dry run.
    let eval = alone(&folder)
        .args(["eval", "--json", "--harmless", "rows.jsonl", "--set", "eval.harmful=[]"])
        .args(["--set", "eval.task=[]", "--eval-limit", "1", "--max-new-tokens", "1"])
        .output()
        .unwrap();
    assert!(text(&eval.stderr).contains(line), "{}", text(&eval.stderr));
    let printed: Value = serde_json::from_slice(&eval.stdout).unwrap();
    assert_eq!(printed["notices"][0]["ignored"]["source"], 20);
    write(&folder, "scores.jsonl", [json!({"prompt": "a", "answer": "b", "score": 1, "by": "me"})]);
    let score = alone(&folder)
        .args(["judge", "score", "rows.jsonl", "--json", "--output", "out.jsonl"])
        .args(["--set", "judges.mine.scores=\"scores.jsonl\""])
        // The file has a score for none of them.
        .args(["--set", "trust.judge_failures=1"])
        .output()
        .unwrap();
    assert!(score.status.success(), "{}", text(&score.stderr));
    let printed: Value = serde_json::from_slice(&score.stdout).unwrap();
    let told = printed["notices"].to_string();
    assert!(told.contains("\"source\":20") && told.contains("\"by\":1"), "{told}");
}

#[test]
fn one_bad_row_among_many_is_named_or_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let mut rows: Vec<Value> = (0..200).map(pair).collect();
    rows[16]["answer"] = "".into();
    write(&folder, "rows.jsonl", rows.clone());
    let refused = train(&folder, "refused", &["--data", "rows.jsonl", "--steps", "1"]);
    let stderr = text(&refused.stderr);
    assert!(stderr.contains("rows.jsonl, line 17: `answer` is empty"), "{stderr}");
    // The advice works.
    assert!(stderr.contains("--on-bad-row skip"), "{stderr}");
    let (stderr, report) = said(&folder, &["--on-bad-row", "skip"]);
    assert!(stderr.contains("left out 1 of 200 rows that can't be used (17)"), "{stderr}");
    let skipped = &report["notices"][0]["skipped"];
    assert_eq!((&skipped["rows"], &skipped["first"]), (&json!(1), &json!([17])));
    for row in rows.iter_mut().take(3) {
        row["answer"] = 7.into();
    }
    write(&folder, "rows.jsonl", rows);
    let many = ["--data", "rows.jsonl", "--steps", "1", "--on-bad-row", "skip"];
    let refused = train(&folder, "refused", &many);
    let stderr = text(&refused.stderr);
    assert!(stderr.contains("4 of 200 rows are bad") && stderr.contains("allows 2"), "{stderr}");
    let (_, report) = said(&folder, &["--on-bad-row", "skip", "--set", "data.bad_row_limit=0.02"]);
    assert_eq!(report["notices"][0]["skipped"]["rows"], 4);
}

#[test]
fn what_the_template_does_not_read_is_refused_or_told() {
    let folder = tempfile::tempdir().unwrap();
    let chat = |more: Value| {
        let mut row = json!({"messages": [
            {"role": "user", "content": "What is 6 times 7?", "name": "Ann"},
            {"role": "assistant", "content": "42", "reasoning_content": "Six sevens."},
        ]});
        row.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        row
    };
    write(&folder, "rows.jsonl", [chat(json!({"tools": [{"name": "times"}]}))]);
    let refused = train(&folder, "refused", &["--data", "rows.jsonl", "--steps", "1"]);
    let stderr = text(&refused.stderr);
    assert!(stderr.contains("`tools` isn't read by the chat template"), "{stderr}");
    let template = "{% for tool in tools or [] %}{{ tool | tojson }}\n{% endfor %}\
        {% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}\
        {% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
    std::fs::write(folder.path().join("tools.jinja"), template).unwrap();
    let (stderr, report) = said(&folder, &["--chat-template", "tools.jinja"]);
    assert!(stderr.contains("{\"name\": \"times\"}"), "{stderr}");
    let left_out = &report["notices"][0]["not_rendered"];
    assert_eq!(report["notices"][0]["thoughts_left_out"], 1, "{report}");
    assert!(stderr.contains("leaves out 1 of 1 thoughts of answers"), "{stderr}");
    assert_eq!(left_out["messages[].name"], 1);
    write(&folder, "rows.jsonl", [chat(json!({"mood": "calm"}))]);
    let moody = template.replace("{% for m in", "{{ mood }}{% for m in");
    std::fs::write(folder.path().join("mood.jinja"), moody).unwrap();
    let arguments = ["--data", "rows.jsonl", "--steps", "1", "--chat-template", "mood.jinja"];
    let refused = train(&folder, "refused", &arguments);
    let stderr = text(&refused.stderr);
    assert!(stderr.contains("`mood`") && stderr.contains("chat_template_kwargs"), "{stderr}");
    write(&folder, "rows.jsonl", [chat(json!({"chat_template_kwargs": {"mood": "calm"}}))]);
    let (stderr, _) = said(&folder, &["--chat-template", "mood.jinja"]);
    assert!(stderr.contains("    calm<|im_start|>user"), "{stderr}");
}

/// Within data.max_tokens, and beyond the context of the model.
#[test]
fn what_is_longer_than_the_models_context_is_found_before_the_training() {
    let folder = tempfile::tempdir().unwrap();
    let mut rows: Vec<Value> = (0..40).map(pair).collect();
    rows[7]["prompt"] = "word ".repeat(290).into();
    write(&folder, "rows.jsonl", rows.clone());
    let (stderr, _) = said(&folder, &[]);
    assert!(stderr.contains("dropped 1 of 40 rows with more than 512 tokens"), "{stderr}");
    assert!(stderr.contains("the model's context is 512 tokens, less than data.max_tokens"));
    write(&folder, "harmful.jsonl", [rows[0].clone(), rows[7].clone()]);
    for asked in [["--harmful", "harmful.jsonl"], ["--set", "canary.prompts=['harmful.jsonl']"]] {
        let long = ["--data", "rows.jsonl", "--steps", "1", asked[0], asked[1]];
        let refused = train(&folder, "refused", &long);
        let stderr = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains("harmful.jsonl, line 2: the prompt has"), "{stderr}");
        assert!(!folder.path().join("refused").exists());
    }
}
