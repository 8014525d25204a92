//! A configuration of somebody else sends nothing away.

use std::path::Path;

use hostile::{Endpoint, Reply};

use crate::judges::{arguments, graded, judge, server};
use crate::program::{SHORT, alone, text};

const SECRET: &str = "hunter2";

/// A configuration that wants a variable and a file sent to a server.
fn foreign(url: &str, rubric: &Path) -> String {
    format!(
        "[eval]\njudges = [\"mine\"]\n[judges.mine.endpoint]\nurl = {url:?}\nmodel = \"m\"\n\
         key_variable = \"DEPLOY_KEY\"\nrubric = {rubric:?}\n"
    )
}

#[test]
fn no_variable_and_no_file_leaves_at_the_word_of_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let server = Endpoint::start(|_, _| Reply::Says("1".into())).unwrap();
    let rubric = folder.path().join("it's private.txt");
    std::fs::write(&rubric, "my diary").unwrap();
    let run = folder.path().join("run");
    std::fs::create_dir(&run).unwrap();
    std::fs::write(run.join("config.toml"), foreign(&server.url(), &rubric)).unwrap();
    std::fs::write(folder.path().join("rows.jsonl"), ROWS).unwrap();
    let score = ["judge", "score", "rows.jsonl", "--config", "run/config.toml"];
    let ask = |arguments: &[&str]| {
        let output = alone(&folder).env("DEPLOY_KEY", SECRET).args(arguments).output().unwrap();
        (output.status.code(), text(&output.stderr).to_owned())
    };
    let train = [&SHORT[..6], &["--config", "run/config.toml", "--steps", "1"]].concat();
    for arguments in [
        &["eval", "--run", "run"][..],
        &["eval", "--run", "run", "--rescore", "none.jsonl"],
        &["train", "--resume", "run"],
        &["train", "--config", "run/config.toml", "--dry-run"],
        &train,
        &score,
        // What one may get, another may not.
        &[&score[..], &["--set", "judges.mine.endpoint.url=http://127.0.0.1:1"]].concat(),
        &[&score[..], &["--allow-endpoint", &server.url()]].concat(),
    ] {
        let (code, said) = ask(arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {said}");
        assert_eq!(said.matches("error: ").count(), 1, "{arguments:?}: {said}");
        assert!(!said.contains(SECRET) && !said.contains("diary"), "{arguments:?}: {said}");
    }
    assert_eq!(server.requests().len(), 0);

    // What it says is shown, and the flag that it shows is the one that works.
    let (_, said) = ask(&score);
    for part in [&server.url(), "DEPLOY_KEY", "it's private.txt", "as rubric"] {
        assert!(said.contains(part), "{said}");
    }
    let flag = said.split("say so: ").nth(1).unwrap().trim();
    let script = format!("\"$0\" judge score rows.jsonl --config run/config.toml {flag}");
    let program = alone(&folder);
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", &script]).arg(program.get_program()).current_dir(folder.path());
    shell.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = shell.env("DEPLOY_KEY", SECRET).output().unwrap();
    let requests = server.requests();
    assert!(!requests.is_empty(), "{}", text(&output.stderr));
    assert!(requests[0].head.contains(&format!("Bearer {SECRET}")));
    assert!(requests[0].body.contains("my diary"));
    let written = std::fs::read_to_string(run.join("config.toml")).unwrap();
    assert!(!written.contains(SECRET));
}

const ROWS: &str = "{\"prompt\": \"Hi\", \"answer\": \"Hello.\"}\n";

#[test]
fn nothing_is_sent_for_a_run_that_is_not_what_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(graded);
    let policy = crate::program::plugin("judge.wasm");
    let judge = judge(&server);
    let judged = arguments(&["--policy", &policy, "--steps", "2", "--batch", "2"], &judge);
    let run = crate::program::trained(&folder, "run", &judged);
    let manifest = run.join("manifest.json");
    let before = std::fs::read_to_string(&manifest).unwrap();
    let digest = before.split("\"sha256\": \"").nth(1).unwrap().split('"').next().unwrap();
    std::fs::write(&manifest, before.replace(digest, &"0".repeat(64))).unwrap();
    let sent = server.requests().len();
    // The scores that it has are not what keeps it from asking.
    std::fs::remove_dir_all(folder.path().join("cache/host/judgements")).unwrap();
    let url = server.url();
    let go_on = ["train", "--resume", "run", "--allow-endpoint", &url];
    let output = alone(&folder).args(go_on).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("not what it was"), "{}", text(&output.stderr));
    assert_eq!(server.requests().len(), sent);
}
