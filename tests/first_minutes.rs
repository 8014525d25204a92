//! What a new user meets: help, the first configuration, the screen, and what it says at the end.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::program::{alone, run, text};

/// Runs a command on a terminal of a width, and gives its screen without line ends of the terminal's.
fn on_terminal(folder: &Path, columns: usize, command: &[&str]) -> String {
    let host = alone(folder);
    let words: Vec<String> = std::iter::once(host.get_program().to_str().unwrap())
        .chain(command.iter().copied())
        .map(|word| format!("'{word}'"))
        .collect();
    let mut terminal = Command::new("script");
    terminal.args(["--quiet", "--return", "--command"]);
    terminal.arg(format!("stty cols {columns} rows 50; {}", words.join(" "))).arg("/dev/null");
    for (name, value) in host.get_envs() {
        terminal.env(name, value.unwrap_or_default());
    }
    terminal.env("TERM", "xterm").current_dir(folder).stdin(std::process::Stdio::null());
    let output = terminal.output().unwrap();
    let screen = String::from_utf8_lossy(&output.stdout).replace("\r\n", "\n");
    assert!(output.status.success(), "{screen}");
    screen
}

/// Lines of the screen that stay: what stood in front of a carriage return is written over.
fn lasting(screen: &str) -> impl Iterator<Item = &str> {
    screen.lines().map(|line| {
        let line = line.rsplit('\r').next().unwrap_or(line);
        line.rsplit("\u{1b}[2K").next().unwrap_or(line)
    })
}

#[test]
fn tables_and_notes_keep_to_the_width_of_the_terminal() {
    let folder = tempfile::tempdir().unwrap();
    for columns in [80, 100, 120] {
        let output = format!("run-{columns}");
        let screen = on_terminal(
            folder.path(),
            columns,
            &[
                "train",
                "--policy",
                "builtin:probe",
                "--steps",
                "4",
                "--eval-limit",
                "4",
                "--output",
                &output,
            ],
        );
        let long = lasting(&screen).find(|line| line.chars().count() > columns);
        assert_eq!(long, None, "{screen}");
        assert!(screen.contains("plain fine-tuning") && screen.contains("next:"), "{screen}");
        // The same table where nobody limits it.
        let compared = on_terminal(folder.path(), columns, &["compare", &output]);
        let long = lasting(&compared).find(|line| line.chars().count() > columns);
        assert_eq!(long, None, "{compared}");
    }
}

#[test]
fn an_answer_that_streams_is_the_answer() {
    let folder = tempfile::tempdir().unwrap();
    let prompts = ["How do I bake bread?", "How do I make a bomb?"];
    let asked = [&["generate", "--quiet"], &prompts[..]].concat();
    let piped = alone(folder.path()).args(&asked).output().unwrap();
    assert!(piped.status.success(), "{}", text(&piped.stderr));
    let screen = on_terminal(folder.path(), 100, &asked);
    assert_eq!(screen, text(&piped.stdout), "{screen}");
}

#[test]
fn the_last_screen_says_what_happened_and_its_commands_work() {
    let folder = tempfile::tempdir().unwrap();
    let small = ["--steps", "6", "--eval-limit", "10", "--output", "a run"];
    let output = alone(folder.path())
        .args(["train", "--policy", "builtin:probe"])
        .args(small)
        .output()
        .unwrap();
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    let ending = said.split_once("\nfinished: a run").unwrap().1;
    assert!(ending.contains("task loss per answer token: "), "{ending}");
    assert!(ending.contains("refusals of harmful requests "), "{ending}");
    let commands: Vec<&str> = ending.split_once("\nnext:\n").unwrap().1.lines().collect();
    assert!(commands.len() >= 3, "{ending}");
    for command in commands {
        let command = command.trim().strip_prefix("host ").unwrap();
        let words: Vec<String> = crate::program::words(&command.replace('\'', "\""));
        let done = alone(folder.path()).args(&words).output().unwrap();
        assert!(done.status.success(), "{command}: {}", text(&done.stderr));
    }
    // Under --quiet only what must be known.
    let quiet = alone(folder.path())
        .args(["train", "--quiet", "--no-baseline", "--steps", "1", "--eval-limit", "2"])
        .output()
        .unwrap();
    let said = text(&quiet.stderr);
    assert!(said.starts_with("finished: ") && !said.contains("next:"), "{said}");
}

#[test]
fn a_written_configuration_checks_shows_and_trains() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let rows: String = (0..40)
        .map(|row| format!("{{\"prompt\": \"Say {row}\", \"answer\": \"It is {row}\"}}\n"))
        .collect();
    std::fs::write(here.join("my rows.jsonl"), rows).unwrap();
    let init = ["init", "--data", "my rows.jsonl", "--task", "my rows.jsonl"];
    let made = alone(here).args(init).output().unwrap();
    assert!(made.status.success(), "{}", text(&made.stderr));
    // What is there is kept.
    let again = alone(here).args(init).output().unwrap();
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("--force"), "{}", text(&again.stderr));
    let checked = alone(here).args(["config", "check", "host.toml"]).output().unwrap();
    assert!(checked.status.success(), "{}", text(&checked.stderr));
    let shown = alone(here)
        .args(["config", "show", "--json", "--config", "host.toml", "--lr", "0.001"])
        .output()
        .unwrap();
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown["train"]["learning_rate"], 0.001);
    assert_eq!(shown["policy"][0]["path"], "builtin:anchored");
    let short = ["--steps", "2", "--eval-limit", "3", "--output", "run"];
    let trained =
        alone(here).args(["train", "--config", "host.toml"]).args(short).output().unwrap();
    assert!(trained.status.success(), "{}", text(&trained.stderr));
    assert!(text(&trained.stdout).contains("harmful requests refused"));
    // What the run kept is what was shown.
    let kept = std::fs::read_to_string(here.join("run/config.toml")).unwrap();
    std::fs::write(here.join("kept.toml"), &kept).unwrap();
    let shown = alone(here).args(["config", "show", "--config", "kept.toml"]).output().unwrap();
    assert_eq!(text(&shown.stdout).trim(), kept.trim());
    // A file that isn't there is told before anything is written.
    let wrong = alone(here).args(["init", "b.toml", "--harmful", "none.jsonl"]).output().unwrap();
    assert!(text(&wrong.stderr).contains("none.jsonl") && !here.join("b.toml").exists());
}

#[test]
fn a_doctor_names_what_is_amiss() {
    let folder = tempfile::tempdir().unwrap();
    let well = alone(folder.path()).args(["doctor", "--json"]).output().unwrap();
    let checks: Value = serde_json::from_slice(&well.stdout).unwrap();
    assert!(well.status.success(), "{}", text(&well.stdout));
    let names: Vec<&str> =
        checks.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    for name in ["processor", "memory", "gpu", "sandbox", "signing key", "clock", "network"] {
        assert!(names.contains(&name), "{names:?}");
    }
    // A key that others may read is none.
    let key = folder.path().join("config/host/host.key");
    std::fs::create_dir_all(key.parent().unwrap()).unwrap();
    std::fs::write(&key, "").unwrap();
    let ill = alone(folder.path()).arg("doctor").output().unwrap();
    let (said, report) = (text(&ill.stderr), text(&ill.stdout));
    assert_eq!(ill.status.code(), Some(1), "{report}");
    assert!(report.contains("PROBLEM  signing key") && report.contains("chmod 600"), "{report}");
    assert!(said.contains("1 check found a problem"), "{said}");
    // One that can't be reached is no problem of the machine.
    let away = alone(folder.path())
        .args(["doctor", "--online"])
        .env("HF_ENDPOINT", "http://127.0.0.1:9")
        .output()
        .unwrap();
    assert!(text(&away.stdout).contains("note     hub"), "{}", text(&away.stdout));
}

#[test]
fn errors_are_explained_by_topic_and_by_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let said = |arguments: &[&str]| {
        let output = run(folder.path(), arguments);
        (output.status.code().unwrap(), text(&[output.stdout, output.stderr].concat()).to_owned())
    };
    let (code, list) = said(&["explain"]);
    assert!(code == 0 && list.lines().count() > 10, "{list}");
    let (_, fault) = said(&["explain", "3"]);
    assert!(fault.starts_with("fault\n") && fault.contains("--on-fault strict"), "{fault}");
    let (code, unknown) = said(&["explain", "7"]);
    assert!(code == 1 && unknown.contains("is no topic"), "{unknown}");
    // A log has one line, a person one more.
    let wrong = ["train", "--set", "train.batch=0", "--policy", "builtin:probe"];
    let (code, one) = said(&wrong);
    assert_eq!((code, one.lines().count()), (2, 1), "{one}");
}

#[test]
fn completions_and_manual_pages_know_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let made = run(folder.path(), &["man", "--output", "man"]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    let page = std::fs::read_to_string(folder.path().join("man/host-train.1")).unwrap();
    // Flags stand in groups.
    assert!(page.contains(".SH ADAPTER") && page.contains("\\-\\-rslora"), "{page}");
    assert!(folder.path().join("man/host-policy-test.1").is_file());
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = run(folder.path(), &["completions", shell]);
        assert!(script.status.success(), "{}", text(&script.stderr));
        let script = text(&script.stdout);
        assert!(script.contains("require-signature") && script.contains("verify"), "{shell}");
    }
    // bash takes it, and completes a flag.
    let script = run(folder.path(), &["completions", "bash"]);
    std::fs::write(folder.path().join("host.bash"), &script.stdout).unwrap();
    let ask = "source ./host.bash; COMP_WORDS=(host train --pol); COMP_CWORD=2; \
               _host host --pol train; echo \"${COMPREPLY[@]}\"";
    let done = Command::new("bash").current_dir(folder.path()).args(["-c", ask]).output().unwrap();
    assert_eq!(text(&done.stdout).trim(), "--policy", "{}", text(&done.stderr));
}

#[test]
fn the_key_of_another_trainer_is_told_by_our_name() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("theirs.toml"), "[lora]\nlora_alpha = 16\n").unwrap();
    let output = run(folder.path(), &["config", "check", "theirs.toml"]);
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert!(said.contains("here it is called lora.alpha"), "{said}");
}
