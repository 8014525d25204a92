//! Data files and data sets of the Hub as a person uses them: looked at, trained on, gone on with.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fake_hub::{COMMIT, FakeHub, NEXT_COMMIT};
use crate::program::{SHORT, alone, json, plugin, root, signal, text, train};

fn rows(count: usize, answer: &str) -> String {
    let row = |number| json!({"prompt": format!("What is {number}?"), "answer": answer});
    (0..count).map(|number| format!("{}\n", row(number))).collect()
}

fn adapter(run: &Path) -> Vec<u8> {
    std::fs::read(run.join("adapter/adapter_model.safetensors")).unwrap()
}

#[track_caller]
fn succeeded(output: &Output) -> &str {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stderr)
}

/// A file in which each thing that a check tells of happens once.
#[test]
fn a_check_tells_what_a_training_would_make_of_files() {
    let folder = tempfile::tempdir().unwrap();
    let model = root().join("examples/demo/model");
    let long = "word ".repeat(2000);
    let table = format!(
        "question;answer;source\nName a red fruit of summer.;A cherry.;web\nName a red fruit of summer.;A \
         cherry.;web\nName some red summer fruit!;Cherries.;\nWhy?;{long};\nEmpty?;;web\n"
    );
    std::fs::write(folder.path().join("table.csv"), table).unwrap();
    std::fs::write(folder.path().join("rows.jsonl"), rows(10, "A number.")).unwrap();
    std::fs::write(folder.path().join("set.jsonl"), "{\"prompt\": \"What is 7?\"}\n").unwrap();
    let check = |more: &[&str]| {
        let mut command = alone(&folder);
        command.args(["data", "check", "table.csv", "rows.jsonl", "--quiet"]);
        command.arg("--model").arg(&model).args(["--against", "set.jsonl"]);
        command.args(more).output().unwrap()
    };
    // One row has no answer: a training would refuse it, with this line.
    let refused = check(&["--json"]);
    assert_eq!(refused.status.code(), Some(1));
    let line = "table.csv, line 6: `answer` is empty";
    assert!(text(&refused.stderr).contains(line), "{}", text(&refused.stderr));
    let found: Value = serde_json::from_slice(&refused.stdout).unwrap();
    assert!(found["refused"].as_str().unwrap().contains(line), "{found}");
    let lenient = check(&["--json", "--on-bad-row", "skip", "--set", "data.bad_row_limit=0.5"]);
    succeeded(&lenient);
    let found: Value = serde_json::from_slice(&lenient.stdout).unwrap();
    assert_eq!((&found["refused"], &found["limit"]), (&Value::Null, &json!(512)));
    let (table, rows) = (&found["files"][0], &found["files"][1]);
    assert_eq!(
        (&table["rows"], &table["usable"], &table["left_out"]["rows"]),
        (&json!(5), &json!(4), &json!(1))
    );
    assert_eq!(table["format"], "CSV with semicolons");
    assert_eq!(table["shape"], "`question` + `answer`");
    assert_eq!(table["ignored"], json!({"source": 2}));
    assert_eq!(table["duplicates"], json!({"same": 1, "near": 1, "first": [[2, 3], [2, 4]]}));
    assert_eq!((&table["over_limit"], &rows["over_limit"]), (&json!(1), &json!(0)));
    let tokens = |of: &str| rows["tokens"][of].as_u64().unwrap();
    assert!(tokens("min") <= tokens("median") && tokens("p95") <= tokens("max"), "{rows}");
    let answers = |file: &Value| file["answer_tokens"].as_f64().unwrap();
    let share = answers(rows) / (answers(table) + answers(rows));
    assert!((rows["share"].as_f64().unwrap() - share).abs() < 1e-9 && share < 0.2, "{rows}");
    let bytes = std::fs::read(folder.path().join("rows.jsonl")).unwrap();
    assert_eq!(rows["sha256"], host_files::sha256::hex(&bytes));
    assert!(rows["examples"][0].as_str().unwrap().contains("⟦A number."), "{rows}");
    let overlap = &found["against"][1];
    assert_eq!((&overlap["file"], &overlap["same"]), (&json!("rows.jsonl"), &json!(1)));
    assert_eq!(overlap["first"][0], json!([8, 1]));
    // The same for people; memory changes nothing of it.
    let more = ["--on-bad-row", "skip", "--set", "data.bad_row_limit=0.5"];
    let page = check(&more);
    let told = text(&page.stdout);
    for part in [
        "CSV with semicolons",
        "5, of which 4 can be learned",
        "over-long      1 rows with more than 512 tokens",
        "1 the same, 1 near ones (first: 2 and 3, 2 and 4)",
        "`source` in 2 of 5 rows",
        "rows.jsonl and set.jsonl: 1 rows ask the same",
        "a training would take these files",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let little = check(&[&more[..], &["--set", "data.memory_mib=0"]].concat());
    assert_eq!(text(&little.stdout), told);
}

/// One policy mixes two streams of rows, the other one has their texts judged.
#[test]
fn rows_that_memory_has_no_room_for_change_no_byte_and_are_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let demo = std::fs::read_to_string(root().join("examples/demo/data/train.jsonl")).unwrap();
    let scored = demo.lines().map(|line| {
        let mut row: Value = serde_json::from_str(line).unwrap();
        row["score"] = json!(1 + line.len() % 5);
        format!("{row}\n")
    });
    std::fs::write(folder.path().join("scores.jsonl"), scored.collect::<String>()).unwrap();
    let (lisa, judge) = (plugin("lisa.wasm"), plugin("judge.wasm"));
    let mixed = ["--policy", &lisa, "--alignment", "demo:alignment.jsonl"];
    let judged = ["--policy", &judge, "--set", "judges.safety.scores=\"scores.jsonl\""];
    for (which, policy) in [("mixed", mixed), ("judged", judged)] {
        let run = |mib: &str| {
            let name = format!("{which}-{mib}");
            let short = ["--steps", "8", "--batch", "4", "--data-memory", mib];
            let mut command = alone(&folder);
            command.args(SHORT).args(["--output", &name]).args(policy).args(short);
            let output = command.output().unwrap();
            (folder.path().join(name), succeeded(&output).to_owned())
        };
        let (usual, said) = run("1024");
        assert!(!said.contains("data.memory_mib"), "{said}");
        let (spilled, said) = run("0");
        for file in ["adapter/adapter_model.safetensors", "journal/records.jsonl"] {
            let of = |run: &Path| std::fs::read(run.join(file)).unwrap();
            assert!(of(&usual) == of(&spilled), "{which}: {file}");
        }
        let line = "the training rows need more than data.memory_mib: ";
        assert_eq!(said.matches(line).count(), 1, "{said}");
        let manifest = json(&spilled.join("manifest.json"));
        let notices = manifest["notices"].as_array().unwrap().iter().filter_map(Value::as_str);
        let told: Vec<&str> = notices.filter(|notice| notice.starts_with(line)).collect();
        let count = format!("{0} of {0} are kept in a temporary file", manifest["samples"]);
        assert!(told.len() == 1 && told[0].contains(&count), "{told:?}");
    }
}

#[test]
fn a_folder_that_takes_no_temporary_file_is_one_line_with_the_next_step() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = alone(&folder);
    command.args(SHORT).args(["--quiet", "--output", "run", "--steps", "1", "--data-memory", "0"]);
    let output = command.env("TMPDIR", "/absent").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr).trim_end().lines().last().unwrap();
    for part in [
        "error: the temporary file for training rows in /absent can't be made: ",
        "TMPDIR",
        "data.memory_mib",
    ] {
        assert!(said.contains(part), "{said}");
    }
    assert!(!folder.path().join("run").exists());
}

/// Of a pipe nothing is left to be read again: the digest is that of what was read.
#[cfg(unix)]
#[test]
fn a_file_is_read_once_and_its_separator_is_told_where_its_name_does_not_say_it() {
    let folder = tempfile::tempdir().unwrap();
    let table = "prompt;answer\nHello?;Yes.\nWhy?;So.\n";
    let pipe = folder.path().join("rows.csv");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let writer = std::thread::spawn(move || std::fs::write(pipe, table));
    let mut command = alone(&folder);
    command.args(SHORT).args(["--output", "run", "--data", "rows.csv", "--steps", "1"]);
    let output = command.timeout(Duration::from_secs(120)).output().unwrap();
    let said = succeeded(&output);
    writer.join().unwrap().unwrap();
    assert_eq!(said.matches("rows.csv: read as CSV with semicolons").count(), 1, "{said}");
    let run = folder.path().join("run");
    assert_eq!(
        json(&run.join("manifest.json"))["data"][0]["sha256"],
        host_files::sha256::hex(table)
    );
    assert_eq!(json(&run.join("report.json"))["notices"][0]["guessed"], "CSV with semicolons");
    // A name that says it needs no line.
    std::fs::write(folder.path().join("plain.csv"), table.replace(';', ",")).unwrap();
    let output = train(&folder, "plain", &["--data", "plain.csv", "--steps", "1"]);
    assert!(!succeeded(&output).contains("read as"), "{}", text(&output.stderr));
}

/// A command that finds its data sets on the server, or in the cache of the folder.
fn with_hub(folder: &TempDir, hub: &FakeHub, offline: bool) -> assert_cmd::Command {
    let mut command = alone(folder);
    command.env("HF_ENDPOINT", &hub.endpoint).env("HF_HOME", folder.path().join("hf"));
    command.env("HF_HUB_OFFLINE", if offline { "1" } else { "0" });
    command
}

const LONG_RUN: [&str; 8] =
    ["--data", "org/rows", "--batch", "2", "--epochs", "5", "--checkpoint-every", "1"];

#[test]
fn a_run_on_a_data_set_of_the_hub_goes_on_with_its_commit_and_without_a_network() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (rows(20, "A number."), rows(30, "Another one."));
    let hub = FakeHub::start(&[("train.jsonl", &first), ("test.jsonl", "{}")], &Value::Null, None);
    let start = |output: &str, offline: bool| {
        let mut command = with_hub(&folder, &hub, offline);
        command.args(SHORT).args(["--quiet", "--output", output]).args(LONG_RUN);
        command
    };
    succeeded(&start("whole", false).output().unwrap());
    let whole = folder.path().join("whole");
    let config = std::fs::read_to_string(whole.join("config.toml")).unwrap();
    assert!(config.contains(&format!("hf:datasets/org/rows@{COMMIT}")), "{config}");
    let data = json(&whole.join("manifest.json"))["data"].clone();
    assert_eq!(data[0]["file"], "org/rows@0123456789ab:train.jsonl");
    assert_eq!(data[0]["sha256"], host_files::sha256::hex(&first));
    assert_eq!(hub.count("/resolve/"), 1, "the split alone, once");

    // Stopped; then the branch moves on.
    let command = start("run", false);
    let mut process = Command::new(command.get_program());
    process.args(command.get_args()).current_dir(folder.path());
    process.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let process = process.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let (run, begun) = (folder.path().join("run"), Instant::now());
    while !run.join("checkpoints/step-000002").exists() && begun.elapsed().as_secs() < 120 {
        std::thread::sleep(Duration::from_millis(2));
    }
    signal(&process, "INT");
    assert_eq!(process.wait_with_output().unwrap().status.code(), Some(130));
    hub.commit(NEXT_COMMIT, &[("train.jsonl", &second)]);
    let resumed =
        with_hub(&folder, &hub, false).args(["train", "--resume", "run"]).output().unwrap();
    succeeded(&resumed);
    assert!(adapter(&run) == adapter(&whole), "the rows are those of the first commit");
    assert_eq!(hub.count(NEXT_COMMIT), 0, "nobody asked for the other one");

    // What the cache has is there without a network: the branch as it was when it was asked for.
    succeeded(&start("offline", true).output().unwrap());
    assert!(adapter(&folder.path().join("offline")) == adapter(&whole));
    let absent =
        with_hub(&folder, &hub, true).args(["data", "check", "org/rows:test"]).output().unwrap();
    assert_eq!(absent.status.code(), Some(1));
    assert!(text(&absent.stderr).contains("HF_HUB_OFFLINE"), "{}", text(&absent.stderr));
    // With one it is what the branch is now.
    succeeded(&start("moved", false).output().unwrap());
    let moved = folder.path().join("moved");
    assert_eq!(
        json(&moved.join("manifest.json"))["data"][0]["file"],
        "org/rows@fedcba987654:train.jsonl"
    );
    assert!(adapter(&moved) != adapter(&whole));
    // A check names the data set as a training does.
    let check = with_hub(&folder, &hub, false)
        .args(["data", "check", "org/rows", "--json"])
        .output()
        .unwrap();
    succeeded(&check);
    let found: Value = serde_json::from_slice(&check.stdout).unwrap();
    assert_eq!(found["files"][0]["file"], "org/rows@fedcba987654:train.jsonl");
    assert_eq!(found["files"][0]["rows"], 30);
}
