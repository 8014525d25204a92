//! `host audit FILE` from outside: reports, exit codes, and what is left behind.

use crate::program::{plugin, run, text};
use crate::support::Guest;
use crate::support::scaling::judging;
use serde_json::Value;

/// Holds a riskier sample less.
fn careless() -> Guest {
    judging(&[("kl", "(f64.sub (f64.const 1) (local.get $r))")])
}

#[test]
fn the_policies_that_come_with_the_host_pass() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["probe", "fixed-kl", "sft"] {
        let file = &plugin(&format!("{name}.wasm"));
        let output = run(folder.path(), &["audit", file, "--repeats", "20", "--json", "-q"]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{name}: {said}");
        let audit: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(audit["passed"], true);
        assert_eq!(audit["inspection"]["name"], name);
        assert_eq!(audit["inspection"]["structure"]["imports"], Value::Array(Vec::new()));
        let wit = audit["inspection"]["wit"].as_str().unwrap();
        assert!(wit.contains("interface assessor"), "{wit}");
        let findings = audit["findings"].as_array().unwrap();
        let verdict = |id: &str| {
            let found = findings.iter().find(|finding| finding["id"] == id);
            found.unwrap_or_else(|| panic!("{name} has no {id}"))["verdict"].clone()
        };
        assert_eq!(verdict("purity"), "pass");
        let monotonic = if name == "probe" { "pass" } else { "not-applicable" };
        assert_eq!(verdict("monotonic"), monotonic);
        assert_eq!(verdict("ranges"), if name == "sft" { "note" } else { "pass" });
        assert_eq!(verdict("settings-unknown-key"), "pass");
    }
    assert!(folder.path().read_dir().unwrap().next().is_none());
}

#[test]
fn a_violation_is_named_and_exits_with_4() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("careless.wasm"), careless().component()).unwrap();
    let output = run(folder.path(), &["audit", "careless.wasm", "--repeats", "3"]);
    assert_eq!(output.status.code(), Some(4));
    let report = text(&output.stdout);
    assert!(report.starts_with("FAILED  fixed 1.2.3  careless.wasm"), "{report}");
    assert!(report.contains("FAIL  Higher risk, stronger hold [monotonic]"), "{report}");
    let last = text(&output.stderr).lines().last().unwrap();
    assert!(last.starts_with("error: ") && last.contains("monotonic"), "{last}");
}

#[test]
fn a_missing_signature_that_was_asked_for_exits_with_4() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("team.key");
    host_sandbox::Signer::create(&key).unwrap();
    let policy = folder.path().join("sft.wasm");
    std::fs::copy(plugin("sft.wasm"), &policy).unwrap();
    let arguments = ["audit", "sft.wasm", "--signed-by", "team.pub", "--repeats", "3"];
    let output = run(folder.path(), &arguments);
    assert_eq!(output.status.code(), Some(4));
    assert!(text(&output.stderr).lines().last().unwrap().contains("signature"));
    let sign = ["policy", "sign", "sft.wasm", "--key", "team.key", "--expires", "never"];
    assert_eq!(run(folder.path(), &sign).status.code(), Some(0));
    let output = run(folder.path(), &arguments);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("does not expire"));
}

/// What a policy says of itself can't become part of the page.
#[test]
fn the_page_stands_alone_and_escapes() {
    let folder = tempfile::tempdir().unwrap();
    let mut guest = careless();
    guest.descriptor.summary = "<script>alert(1)</script> & \"more\"".into();
    guest.descriptor.settings_schema =
        r#"{"properties": {"<b>": {"type": "string", "default": "</code><img src=x>"}}}"#.into();
    std::fs::write(folder.path().join("x.wasm"), guest.component()).unwrap();
    let arguments = ["audit", "x.wasm", "--repeats", "3", "--html", "out.html", "-q"];
    let output = run(folder.path(), &arguments);
    assert_eq!(output.status.code(), Some(4));
    let page = std::fs::read_to_string(folder.path().join("out.html")).unwrap();
    for outside in ["<script", "http://", "https://", "src=x>", "<img", "<b>", "<link", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(page.contains("&lt;script&gt;alert(1)&lt;"), "{page}");
    assert!(page.contains("FAILED") && page.contains("id=\"monotonic\""));
    assert!(page.trim_end().ends_with("</html>"));
}

#[test]
fn files_that_are_no_policy_end_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let whole = std::fs::read(plugin("probe.wasm")).unwrap();
    std::fs::write(folder.path().join("half.wasm"), &whole[..whole.len() / 2]).unwrap();
    let cases: [(&[&str], i32, &str); 7] = [
        (&["audit", "none.wasm"], 1, "none.wasm"),
        (&["audit", "half.wasm"], 1, "cut short"),
        (&["policy", "inspect", "half.wasm"], 1, "cut short"),
        (&["policy", "bench", "none.wasm"], 1, "none.wasm"),
        (&["policy", "test", "none.wasm"], 1, "none.wasm"),
        (&["audit"], 2, "--run"),
        (&["audit", "half.wasm", "--run", "runs/1"], 1, "cut short"),
    ];
    for (arguments, code, part) in cases {
        let output = run(folder.path(), arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(part), "{arguments:?}: {said}");
        assert!(output.stdout.is_empty() && !said.contains("panicked"), "{said}");
        assert!(code != 1 || said.lines().count() == 1, "{said}");
    }
}

#[test]
fn a_policy_that_cannot_describe_itself_is_a_fault() {
    let folder = tempfile::tempdir().unwrap();
    let guest = Guest::running("describe", "unreachable");
    std::fs::write(folder.path().join("dumb.wasm"), guest.component()).unwrap();
    let output = run(folder.path(), &["audit", "dumb.wasm"]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
}

#[test]
fn settings_are_those_of_the_policy() {
    let folder = tempfile::tempdir().unwrap();
    let file = &plugin("fixed-kl.wasm");
    let with = |settings: &[&str]| {
        let mut arguments = vec!["audit", file, "--repeats", "3", "--json", "-q"];
        settings.iter().for_each(|one| arguments.extend(["--settings", one]));
        run(folder.path(), &arguments)
    };
    let output = with(&["kl_weight=0.25", r#"{"task_weight": 2}"#]);
    let audit: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(audit["settings"], serde_json::json!({"kl_weight": 0.25, "task_weight": 2}));
    let findings = audit["findings"].as_array().unwrap();
    let ranges = findings.iter().find(|finding| finding["id"] == "ranges").unwrap();
    let measured = ranges["measured"].as_str().unwrap();
    assert!(measured.contains("KL weight always 0.25"), "{measured}");
    let output = with(&["kl_wight=0.25"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("kl_weight"), "{}", text(&output.stderr));
    assert_eq!(with(&["kl_weight"]).status.code(), Some(2));
}

/// The signals of a real run, which no audit made up: by its own settings and parameters.
#[test]
fn a_policy_is_audited_on_recorded_runs() {
    let folder = tempfile::tempdir().unwrap();
    let probe = plugin("probe.wasm");
    crate::program::trained(&folder, "one", &["--policy", &probe, "--steps", "3"]);
    crate::program::trained(&folder, "two", &["--policy", &probe, "--steps", "2", "--seed", "5"]);
    let audit = |file: &str, more: &[&str]| {
        let arguments = [&["audit", file, "--repeats", "3", "--json", "-q"], more].concat();
        let output = run(folder.path(), &arguments);
        let audit: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        (output.status.code(), audit, text(&output.stderr).to_owned())
    };
    let found = |audit: &Value, id: &str| {
        let findings = audit["findings"].as_array().unwrap();
        findings.iter().find(|finding| finding["id"] == id).unwrap().clone()
    };
    let runs = ["--run", "one", "two"];
    let (code, report, said) = audit(&probe, &runs);
    assert_eq!(code, Some(0), "{said}");
    assert!(found(&report, "recorded-hold")["measured"].as_str().unwrap().contains("5 steps"));
    for id in ["recorded-hold", "recorded-monotonic", "recorded-depends"] {
        assert_eq!(found(&report, id)["verdict"], "pass", "{report}");
    }
    // Two audits draw two runs.
    let (_, other, _) = audit(&probe, &[]);
    assert_ne!(report["seed"], other["seed"]);
    assert_ne!(report["run"]["seed"], other["run"]["seed"]);
    // A policy that needs what these runs didn't record.
    let (code, report, said) = audit(&plugin("judge.wasm"), &runs);
    assert_eq!(code, Some(4), "{said}");
    let hold = found(&report, "recorded-hold");
    assert!(hold["measured"].as_str().unwrap().contains("one: "), "{hold}");
    // A journal that was changed is nobody's signals.
    let records = folder.path().join("two/journal/records.jsonl");
    let genuine = std::fs::read_to_string(&records).unwrap();
    std::fs::write(&records, genuine.replacen("\"learning_rate\":", "\"learning_rate\": ", 1))
        .unwrap();
    let (code, _, said) = audit(&probe, &runs);
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("two: ") && said.contains("host audit --run"), "{said}");
}
