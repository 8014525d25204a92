//! What others wrote is shown and never obeyed, and nobody needs to be there to read it.

use std::fs::{self, File};
use std::process::{Command, Stdio};

use crate::program::{SHORT, alone, plugin, root, run, signal, start, text, trained};

/// Line breaks with a verdict behind them, and escapes that hide what follows.
const FORGED: &str = "probe 1.0\n  chain      whole\npassed\n\u{1b}[8m\u{9b}8m\u{202e}\u{2028}\r";

fn is_plain(shown: &str) -> bool {
    !shown.contains(|c: char| c != '\n' && (c.is_control() || "\u{202e}\u{2028}".contains(c)))
}

#[test]
fn a_name_in_a_journal_writes_no_line_of_the_verdict() {
    let folder = tempfile::tempdir().unwrap();
    let policy = plugin("fixed-kl.wasm");
    let run_folder = trained(&folder, "run", &["--policy", &policy, "--steps", "1"]);
    let records = run_folder.join("journal/records.jsonl");
    let written = fs::read_to_string(&records).unwrap();
    let forged = serde_json::to_string(FORGED).unwrap();
    let name = written.split("\"name\":\"").nth(1).unwrap().split('"').next().unwrap();
    let swapped =
        written.replacen(&format!("\"name\":\"{name}\""), &format!("\"name\":{forged}"), 1);
    assert_ne!(swapped, written);
    fs::write(&records, swapped).unwrap();
    for json in [&[][..], &["--json"]] {
        let output = alone(&folder).args(["audit", "--run", "run"]).args(json).output().unwrap();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(4), "{stdout}{stderr}");
        assert!(is_plain(stdout) && is_plain(stderr), "{stdout}{stderr}");
        assert!(!stdout.lines().any(|line| line.starts_with("passed")), "{stdout}");
        if json.is_empty() {
            assert_eq!(
                stdout.lines().filter(|line| line.starts_with("  chain")).count(),
                1,
                "{stdout}"
            );
        }
    }
}

#[test]
fn a_report_and_names_of_files_are_cells_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let made = trained(&folder, "run", &["--steps", "1"]);
    let report = made.join("report.json");
    let written = fs::read_to_string(&report).unwrap();
    let policy =
        "=HYPERLINK(\"http://x\")|<script>a()</script>\\input{x}\n% \\end{tabular}\u{1b}[8m";
    let forged = written.replacen(
        "\"policy\": null",
        &format!("\"policy\": {}", serde_json::json!(policy)),
        1,
    );
    assert_ne!(forged, written);
    fs::write(&report, forged).unwrap();
    let named = folder.path().join("=1\n| forged\u{1b}[8m |");
    fs::rename(&made, &named).unwrap();
    let named = named.to_str().unwrap();
    for format in ["text", "markdown", "csv", "latex", "json"] {
        let output = run(folder.path(), &["compare", named, "--format", format]);
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{stderr}");
        assert!(is_plain(stdout) && is_plain(stderr), "{format}: {stdout}{stderr}");
        assert!(!stdout.lines().any(|line| line.starts_with("| forged")), "{format}: {stdout}");
        match format {
            "markdown" => assert!(!stdout.contains("<script>"), "{stdout}"),
            "latex" => assert!(!stdout.contains("\\input"), "{stdout}"),
            "csv" => {
                let cells = stdout.split([',', '\n', ';']).map(|cell| cell.trim_start_matches('"'));
                assert!(!cells.into_iter().any(|cell| cell.starts_with('=')), "{stdout}");
            }
            "json" => assert!(serde_json::from_str::<serde_json::Value>(stdout).is_ok()),
            _ => {}
        }
    }
}

#[test]
fn arguments_and_files_that_are_named_are_shown_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [
        &["train", "--epochs", "\u{1b}[8m\n"][..],
        &["no-such\u{1b}]0;title\u{7}"],
        &["policy", "new", "x\nerror: y", "--lang", "rust"],
        &["audit", "a\nerror: b\u{1b}[2J.wasm"],
        &["policy", "verify", "x\u{9b}8m", "--key", "RWQ\u{202e}"],
        &["compare", "a\u{1b}[1A\n"],
        &["eval", "--run", "a\u{2028}\u{1b}[8m"],
    ] {
        let output = run(folder.path(), arguments);
        let stderr = text(&output.stderr);
        assert!(matches!(output.status.code(), Some(1 | 2)), "{arguments:?}: {stderr}");
        assert!(is_plain(stderr), "{arguments:?}: {stderr:?}");
        let errors = stderr.lines().filter(|line| line.starts_with("error: "));
        assert_eq!(errors.count(), 1, "{arguments:?}: {stderr}");
    }
}

#[test]
fn a_run_goes_on_when_nobody_can_read_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let program = alone(&folder);
    let command = |name: &str| {
        let mut command = Command::new(program.get_program());
        command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.current_dir(folder.path()).args(SHORT).args(["--steps", "2", "--output", name]);
        command.env("RUST_LOG", "debug").stdout(Stdio::null());
        command
    };
    let full = File::options().write(true).open("/dev/full").unwrap();
    let status = command("full").stderr(full).status().unwrap();
    assert_eq!(status.code(), Some(0));
    let mut closed = command("closed").stderr(Stdio::piped()).spawn().unwrap();
    drop(closed.stderr.take());
    assert_eq!(closed.wait().unwrap().code(), Some(0));
    for name in ["full", "closed"] {
        assert!(folder.path().join(name).join("report.json").is_file(), "{name}");
    }
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = command("data").stdout(full).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "a result that can't be written is an error");
    assert!(text(&output.stderr).contains("error: stdout: "), "{}", text(&output.stderr));
}

#[test]
fn a_hangup_stops_a_run_with_a_checkpoint_and_nohup_keeps_it_going() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = |name: &'static str, steps: &'static str| {
        [&SHORT[..], &["--output", name, "--steps", steps]].concat()
    };
    let begun = |name: &str| {
        let metrics = folder.path().join(name).join("metrics.jsonl");
        let some = || fs::read_to_string(&metrics).is_ok_and(|text| text.contains('\n'));
        for _ in 0..600 {
            if some() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        panic!("{name} took no step");
    };
    // Tests that run under nohup hand that on.
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    if u64::from_str_radix(ignored.trim(), 16).unwrap() & 1 == 0 {
        let mut hung_up = start(&folder, &arguments("hung-up", "100000"));
        begun("hung-up");
        // As a terminal and its shell do.
        (0..3).for_each(|_| signal(&hung_up, "HUP"));
        assert_eq!(hung_up.wait().unwrap().code(), Some(130));
        assert!(folder.path().join("hung-up/checkpoints").is_dir());
    }

    let program = alone(&folder);
    let mut kept = Command::new("nohup");
    kept.arg(program.get_program()).args(arguments("kept", "60"));
    kept.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    kept.current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut kept = kept.spawn().unwrap();
    begun("kept");
    signal(&kept, "HUP");
    assert_eq!(kept.wait().unwrap().code(), Some(0));
    assert_eq!(crate::program::lines(&folder.path().join("kept/metrics.jsonl")).len(), 60);
}

/// Beside `host/cli/src/out.rs` nothing of the program prints.
#[test]
fn nothing_prints_past_the_one_writer() {
    let mut folders = vec![root().join("host/cli/src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs")
                && !path.ends_with("out.rs")
            {
                let source = fs::read_to_string(&path).unwrap();
                for word in ["println!", "print!", "io::stdout", "stderr()."] {
                    let found = source.contains(word) && !source.contains("stderr().is_terminal()");
                    assert!(!found, "{}: {word}", path.display());
                }
            }
        }
    }
}
