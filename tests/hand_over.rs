//! What a user leaves with: an adapter's folder, a merged model, GGUF files.

use std::path::Path;

use crate::program::{alone, json, text, train, trained};

#[track_caller]
fn export(folder: &tempfile::TempDir, arguments: &[&str]) -> String {
    let output = alone(folder).arg("export").args(arguments).output().unwrap();
    let told = text(&output.stderr).to_owned();
    assert!(output.status.success(), "{told}");
    told
}

#[track_caller]
fn refused(folder: &tempfile::TempDir, arguments: &[&str], words: &[&str]) {
    let output = alone(folder).arg("export").args(["--quiet"]).args(arguments).output().unwrap();
    let told = text(&output.stderr);
    assert!(!output.status.success(), "{arguments:?}");
    // clap explains over several lines.
    let begin = told.find("error: ").unwrap_or(0);
    assert!(words.iter().all(|word| told[begin..].contains(word)), "{told}");
}

fn names(folder: &Path) -> Vec<String> {
    let entries = folder.read_dir().unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn an_adapter_leaves_with_tokenizer_and_card_and_names_its_base() {
    let folder = tempfile::tempdir().unwrap();
    // A name that would be markup, a cell and a link.
    let rows = folder.path().join("a|b <img src=x> [c](d).jsonl");
    std::fs::write(&rows, "{\"prompt\": \"hello\", \"answer\": \"hi\"}\n".repeat(8)).unwrap();
    let rows = rows.display().to_string();
    let base = [
        "--steps",
        "2",
        "--policy",
        "builtin:sft",
        "--base-name",
        "org/demo-model",
        "--data",
        &rows,
    ];
    let run = trained(&folder, "run", &base);
    let config = json(&run.join("adapter/adapter_config.json"));
    assert_eq!(config["base_model_name_or_path"], "org/demo-model");
    let told = export(&folder, &["--run", "run", "--output", "out", "--dataset", "org/rows"]);
    assert!(!told.contains("--base-name"), "{told}");
    let out = folder.path().join("out");
    assert_eq!(
        names(&out),
        [
            "README.md",
            "adapter_config.json",
            "adapter_model.safetensors",
            "tokenizer.json",
            "tokenizer_config.json"
        ]
    );
    assert_eq!(json(&out.join("adapter_config.json")), config);
    let card = std::fs::read_to_string(out.join("README.md")).unwrap();
    let front = "---\nlibrary_name: peft\npipeline_tag: text-generation\nbase_model: \"org/demo-model\"\n\
                 base_model_relation: adapter\ntags:\n- \"host\"\n- \"lora\"\n- \"base_model:adapter:org/demo-model\"\n\
                 datasets:\n- \"org/rows\"\n---\n\n";
    assert!(card.starts_with(front), "{card}");
    let manifest = json(&run.join("manifest.json"));
    for digest in [
        &manifest["data"][0]["sha256"],
        &manifest["policies"][0]["sha256"],
        &manifest["model"]["sha256"],
    ] {
        assert!(card.contains(digest.as_str().unwrap()), "{digest} isn't in {card}");
    }
    assert!(card.contains("under the policy sft") && card.contains("2 of 2"), "{card}");
    assert!(card.contains("a\\|b &lt;img src=x&gt; \\[c\\](d).jsonl"), "{card}");
    assert!(!card.contains(&folder.path().display().to_string()), "a path of this machine: {card}");
    assert!(card.contains("Nothing was measured"), "{card}");
    // With the same base no notice is due.
    let generate = ["generate", "--run", "run", "--max-new-tokens", "2", "hello"];
    let output = alone(&folder).args(generate).output().unwrap();
    assert!(!text(&output.stderr).contains("the adapter was made for"), "{}", text(&output.stderr));
}

#[test]
fn a_card_has_the_figures_of_the_evaluation_with_their_intervals() {
    let folder = tempfile::tempdir().unwrap();
    let train = [
        "train",
        "--quiet",
        "--no-baseline",
        "--steps",
        "2",
        "--eval-limit",
        "4",
        "--output",
        "run",
    ];
    alone(&folder).args(train).assert().success();
    export(&folder, &["--run", "run", "--merged", "--output", "merged"]);
    let card = std::fs::read_to_string(folder.path().join("merged/README.md")).unwrap();
    assert!(card.contains("library_name: transformers"), "{card}");
    let row = card.lines().find(|line| line.starts_with("| harmful requests refused")).unwrap();
    assert_eq!(row.matches("/4)").count(), 2, "{row}");
    assert!(row.contains("% \\["), "an interval: {row}");
}

#[test]
fn a_base_that_nobody_finds_is_told_and_a_name_that_is_none_refused() {
    let folder = tempfile::tempdir().unwrap();
    trained(&folder, "run", &["--steps", "1"]);
    let told = export(&folder, &["--run", "run", "--output", "out"]);
    assert!(
        told.contains("names its base \"demo\"") && told.contains("--base-name ORG/NAME"),
        "{told}"
    );
    export(&folder, &["--run", "run", "--output", "named", "--base-name", "org/demo@main"]);
    let config = json(&folder.path().join("named/adapter_config.json"));
    assert_eq!(config["base_model_name_or_path"], "org/demo");
    assert_eq!(config["revision"], "main");
    for name in ["demo", "a/b/c", "org/na me", "org/../x", "\u{1b}[8m/x"] {
        refused(
            &folder,
            &["--run", "run", "--output", "no", "--base-name", name],
            &["model.base_name", "ORG/NAME"],
        );
    }
    let output = train(&folder, "no", &["--steps", "1", "--base-name", "x"]);
    assert!(text(&output.stderr).contains("model.base_name"), "{}", text(&output.stderr));
    assert!(!folder.path().join("no").exists());
}

/// The merged file answers as the run does, and so does the base's own file with the adapter of the run.
#[test]
fn gguf_files_leave_with_a_modelfile_and_answer_as_the_run_does() {
    let folder = tempfile::tempdir().unwrap();
    trained(&folder, "run", &["--steps", "20", "--lr", "5e-3"]);
    let told = export(
        &folder,
        &["--run", "run", "--gguf", "m.gguf", "--quantize", "f32", "--gguf-adapter", "a.gguf"],
    );
    for file in ["m.gguf", "m.Modelfile", "a.gguf", "a.Modelfile"] {
        assert!(told.contains(&format!("wrote {file}")), "{told}");
    }
    let answers = |arguments: &[&str]| {
        let asked = ["--quiet", "--max-new-tokens", "16", "How do I bake bread?", "Hello"];
        let output = alone(&folder).arg("generate").args(arguments).args(asked).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout).to_owned()
    };
    let of_run = answers(&["--run", "run"]);
    assert_ne!(answers(&[]), of_run);
    assert_eq!(answers(&["--model", "m.gguf"]), of_run);
    let modelfile = std::fs::read_to_string(folder.path().join("m.Modelfile")).unwrap();
    assert!(modelfile.starts_with("FROM ./m.gguf\nTEMPLATE \"\"\"{{- range"), "{modelfile}");
    assert!(modelfile.ends_with("PARAMETER stop \"<|im_end|>\"\n"), "{modelfile}");
    let modelfile = std::fs::read_to_string(folder.path().join("a.Modelfile")).unwrap();
    assert!(modelfile.contains("\nFROM ./demo.gguf\nADAPTER ./a.gguf\n"), "{modelfile}");
    assert!(modelfile.contains("host export --gguf demo.gguf"), "{modelfile}");
    let told = export(&folder, &["--run", "run", "--gguf", "q.gguf", "--quantize", "q4_k"]);
    assert!(told.contains("aren't made of whole blocks of q4_k"), "{told}");
    assert!(!answers(&["--model", "q.gguf"]).is_empty());
}

/// An export that was killed leaves nothing for good.
#[test]
fn the_next_export_removes_what_a_killed_one_left() {
    let folder = tempfile::tempdir().unwrap();
    let [file, unfinished] =
        [".m.gguf.99999-0.partial", ".merged.99999.partial"].map(|name| folder.path().join(name));
    std::fs::write(&file, "half a model").unwrap();
    std::fs::create_dir(&unfinished).unwrap();
    std::fs::write(unfinished.join("model.safetensors"), "half a model").unwrap();
    let export = ["--merged", "--output", "merged", "--gguf", "m.gguf"];
    let remove = |names: &[&str]| {
        names.iter().for_each(|name| {
            let path = folder.path().join(name);
            let removed = if path.is_dir() {
                std::fs::remove_dir_all(path)
            } else {
                std::fs::remove_file(path)
            };
            removed.unwrap();
        });
    };
    self::export(&folder, &export);
    // What is young may still be written.
    assert!(file.exists() && unfinished.exists());
    remove(&["merged", "m.gguf", "m.Modelfile"]);
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(600);
    for path in [&file, &unfinished] {
        std::fs::File::open(path).unwrap().set_modified(old).unwrap();
    }
    self::export(&folder, &export);
    let left = names(folder.path());
    assert!(left.iter().all(|name| !name.ends_with(".partial")), "{left:?}");
}

#[test]
fn what_can_not_be_exported_is_said_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    trained(&folder, "run", &["--steps", "1"]);
    std::fs::write(folder.path().join("there.gguf"), "mine").unwrap();
    std::fs::write(folder.path().join("other.Modelfile"), "mine").unwrap();
    let before = names(folder.path());
    refused(&folder, &["--run", "run"], &["--output", "--gguf"]);
    refused(
        &folder,
        &["--run", "run", "--gguf", "there.gguf"],
        &["there.gguf", "exists already", "another name"],
    );
    refused(
        &folder,
        &["--run", "run", "--gguf", "other.gguf"],
        &["other.Modelfile", "exists already"],
    );
    refused(
        &folder,
        &["--run", "run", "--gguf", "x.gguf", "--gguf-adapter", "x.gguf"],
        &["written twice"],
    );
    refused(&folder, &["--gguf-adapter", "x.gguf"], &["no adapter for --gguf-adapter", "--run"]);
    refused(&folder, &["--output", "x"], &["no adapter for --output", "--merged"]);
    refused(
        &folder,
        &["--run", "run", "--output", "x", "--dataset", "../x"],
        &["--dataset", "ORG/NAME"],
    );
    refused(
        &folder,
        &["--run", "run", "--gguf", "x.gguf", "--quantize", "q3_k"],
        &["q3_k", "q4_k"],
    );
    assert_eq!(names(folder.path()), before);
}

/// A steering vector that the policies left isn't in any exported file.
#[test]
fn what_no_exported_file_carries_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let left = trained(&folder, "run", &["--steps", "1"]);
    std::fs::write(left.join("steering.safetensors"), "anything").unwrap();
    let told = export(&folder, &["--run", "run", "--gguf", "m.gguf"]);
    assert!(told.contains("which no exported file carries"), "{told}");
}

/// A push that fails is one line, and what was exported stays as it was.
#[test]
fn a_push_that_fails_is_told_in_one_line_and_takes_nothing_away() {
    let folder = tempfile::tempdir().unwrap();
    trained(&folder, "run", &["--steps", "1"]);
    export(&folder, &["--run", "run", "--output", "out"]);
    // Nobody listens there any more.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let push = |token: Option<&str>, arguments: &[&str]| {
        let mut command = alone(&folder);
        command.env("HF_ENDPOINT", format!("http://{gone}")).env_remove("HF_HUB_OFFLINE");
        command.env("HF_HOME", folder.path().join("hf")).env_remove("HF_TOKEN");
        if let Some(token) = token {
            command.env("HF_TOKEN", token);
        }
        command.args(["export", "--quiet", "--push", "org/x"]).args(arguments);
        let output = command.output().unwrap();
        (output.status.code(), text(&output.stderr).to_owned())
    };
    let before = names(&folder.path().join("out"));
    let (code, told) = push(Some("hf_secret"), &["--exported", "out"]);
    let error = told.lines().last().unwrap();
    assert!(code == Some(1) && error.contains("can't be reached"), "{told}");
    assert!(
        error.contains("push it later with --exported") && !told.contains("hf_secret"),
        "{told}"
    );
    // Without a token nothing is made that could not be sent.
    let (code, told) = push(None, &["--run", "run", "--gguf", "m.gguf"]);
    assert!(code == Some(1) && told.contains("HF_TOKEN"), "{told}");
    // What is there already takes no flag about how it is made.
    let (code, told) = push(Some("x"), &["--exported", "out", "--base-name", "org/y"]);
    assert!(code == Some(2) && told.contains("--base-name"), "{told}");
    let (code, told) = push(Some("x"), &["--exported", "run"]);
    assert!(code == Some(1) && told.contains("nothing that an export writes"), "{told}");
    assert_eq!(names(&folder.path().join("out")), before);
    assert!(!folder.path().join("m.gguf").exists());
}
