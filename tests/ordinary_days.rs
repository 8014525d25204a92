//! Ordinary bad days: limits of a cluster, another user's home, an impatient person.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::program::{SHORT, alone, plugin, signal, start, text, train, trained};

/// Runs a short training from a shell that did something first.
fn after(folder: &TempDir, before: &str, policy: &str) -> Output {
    let program = alone(folder);
    let mut shell = Command::new("bash");
    shell.args(["-c", &format!("{before} && exec \"$0\" \"$@\"")]).arg(program.get_program());
    shell.args(SHORT).args(["--steps", "1", "--quiet", "--policy", policy, "--output", "run"]);
    shell.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell.current_dir(folder.path()).stdin(Stdio::null()).output().unwrap()
}

#[test]
fn a_limit_of_the_system_is_told_and_no_policy_blamed() {
    for (before, advice) in [("ulimit -v 2000000", "ulimit -v"), ("ulimit -t 1", "ulimit -t")] {
        let folder = tempfile::tempdir().unwrap();
        let output = after(&folder, before, &plugin("probe.wasm"));
        let said = text(&output.stderr);
        match output.status.code() {
            // Enough after all.
            Some(0) => {}
            // Killed by the system itself, which says so.
            None => {}
            code => {
                assert_eq!(code, Some(1), "{before}: {said}");
                assert_eq!(said.matches("error: ").count(), 1, "{before}: {said}");
                assert!(said.contains(advice), "{before}: {said}");
                assert!(!said.contains("error: policy"), "{before}: {said}");
            }
        }
    }
}

/// Less than what readers of templates and Parquet files may take at most.
#[test]
fn files_are_read_within_what_the_system_allows() {
    let folder = tempfile::tempdir().unwrap();
    let program = alone(&folder);
    let mut shell = Command::new("bash");
    shell.args(["-c", "ulimit -v 900000 && exec \"$0\" generate --quiet hello"]);
    shell.arg(program.get_program());
    shell.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = shell.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn ctrl_c_ends_a_calibration() {
    let folder = tempfile::tempdir().unwrap();
    let rows: String = (0..20_000)
        .map(|number| {
            let (label, split) = (number % 2, ["training", "validation", "test"][number / 2 % 3]);
            let words = "what is it ".repeat(20);
            format!(
                "{{\"prompt\": \"{words}{number}\", \"label\": {label}, \"split\": \"{split}\"}}\n"
            )
        })
        .collect();
    std::fs::write(folder.path().join("rows.jsonl"), rows).unwrap();
    let policy = plugin("probe.wasm");
    let own = ["--policy", &policy, "--labelled", "rows.jsonl", "--output", "run"];
    let mut child = start(&folder, &[&SHORT[..], &own].concat());
    // Until it has begun to read activations.
    let mut said = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("reading activations") {
        line.clear();
        assert_ne!(std::io::BufRead::read_line(&mut said, &mut line).unwrap(), 0, "it ended");
    }
    let started = Instant::now();
    signal(&child, "INT");
    // The pipe must not fill up meanwhile.
    let rest = std::thread::spawn(move || std::io::read_to_string(said));
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    rest.join().unwrap().unwrap();
    assert!(!folder.path().join("run").exists());
}

#[test]
fn another_user_s_cache_and_keys_are_nobody_s_code() {
    let folder = tempfile::tempdir().unwrap();
    let policy = plugin("fixed-kl.wasm");
    let made = trained(&folder, "first", &["--policy", &policy, "--steps", "1"]);
    let cache = folder.path().join("cache/host/policies");
    let key = folder.path().join("config/host/host.key");
    assert_eq!(std::fs::metadata(&key).unwrap().mode() & 0o777, 0o600);
    drop(made);
    let again = |name: &str| {
        let output = train(&folder, name, &["--policy", &policy, "--steps", "1"]);
        (output.status.code(), text(&output.stderr).to_owned())
    };
    // A folder above that anybody may rename things in.
    let above = folder.path().join("cache");
    let mode =
        |mode| std::fs::set_permissions(&above, std::fs::Permissions::from_mode(mode)).unwrap();
    mode(0o777);
    let (code, said) = again("replaceable");
    assert!(code == Some(0) && said.contains("others may replace it"), "{said}");
    mode(0o700);
    // Only root can give files away.
    if std::os::unix::fs::chown(&cache, Some(12345), None).is_err() {
        return;
    }
    let (code, said) = again("planted");
    assert!(code == Some(0) && said.contains("belongs to user 12345"), "{said}");
    assert!(said.contains("compiled at every start"), "{said}");
    std::os::unix::fs::chown(&cache, Some(0), None).unwrap();
    std::os::unix::fs::chown(&key, Some(12345), None).unwrap();
    let (code, said) = again("foreign-key");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("host.key") && said.contains("belongs to user 12345"), "{said}");
}
