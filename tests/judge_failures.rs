//! Judges that fail, see nothing, or have no scores: what every command that asks them says, and its
//! exit code.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hostile::{Endpoint, Reply, Request};

use crate::judges::{
    adapter, arguments, control, graded, is_poisoned, judge, rows, says, server, strict,
};
use crate::program::{SHORT, alone, json, lines, plugin, text, train, trained};

/// Answers with an error inside a 200, as routers do, until it is mended.
fn broken(mended: &Arc<AtomicBool>, bad: fn(&Request) -> bool) -> Endpoint {
    let mended = mended.clone();
    server(move |request| {
        if mended.load(Ordering::Relaxed) || !bad(request) {
            graded(request)
        } else {
            Reply::Body(r#"{"error":{"code":429,"message":"slow \u001b[2Jdown"}}"#)
        }
    })
}

#[test]
fn a_run_ends_when_its_judge_fails_and_goes_on_with_it_when_it_is_mended() {
    let folder = tempfile::tempdir().unwrap();
    let mended = Arc::new(AtomicBool::new(false));
    let (server, policy) = (broken(&mended, |_| true), plugin("guard-filter.wasm"));
    let judge = strict(&server);
    let own = ["--policy", &policy, "--steps", "5", "--batch", "8"];
    let output = train(&folder, "run", &arguments(&own, &judge));
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let error: Vec<&str> = said.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(error.len(), 1, "{said}");
    for part in [
        "judge mine",
        "no score for 8 of 8",
        "trust.judge_failures = 0.05",
        "error 429",
        "slow down",
    ] {
        assert!(error[0].contains(part), "{said}");
    }
    let agreed = format!("--allow-endpoint '{}'", server.url());
    let advice = format!("then go on with host train --resume run {agreed}");
    assert!(error[0].ends_with(&advice), "{said}");
    assert!(!said.contains("[2J"), "{said}");
    let manifest = json(&folder.path().join("run/manifest.json"));
    assert!(manifest.to_string().contains("slow down"), "{manifest}");

    // The advice helps, and what comes of it is what an unbroken judge gives.
    mended.store(true, Ordering::Relaxed);
    let url = server.url();
    let go_on = ["train", "--quiet", "--resume", "run", "--allow-endpoint", &url];
    let resumed = alone(&folder).args(go_on).output().unwrap();
    assert!(resumed.status.success(), "{}", text(&resumed.stderr));
    let want = trained(&folder, "whole", &arguments(&own, &judge));
    assert!(adapter(&want) == adapter(&folder.path().join("run")));
}

#[test]
fn a_few_failures_are_counted_told_and_in_the_report() {
    let folder = tempfile::tempdir().unwrap();
    let mended = Arc::new(AtomicBool::new(false));
    // A tenth of the demo's rows.
    let server = broken(&mended, is_poisoned);
    let (policy, judge) = (plugin("judge.wasm"), judge(&server));
    let own = ["--policy", &policy, "--steps", "12", "--output", "run"];
    let output = alone(&folder).args(arguments(&[&SHORT[..], &own].concat(), &judge)).output();
    let output = output.unwrap();
    let (said, table) = (text(&output.stderr), text(&output.stdout));
    assert!(output.status.success(), "{said}");
    let report = json(&folder.path().join("run/report.json"));
    let tally = &report["trained"]["judges"]["mine"];
    let failed = tally["failed"].as_u64().unwrap();
    assert!(failed > 0 && tally["scored"].as_u64().unwrap() == 96 - failed, "{tally}");
    assert!(tally["problem"].as_str().unwrap().contains("slow down"), "{tally}");
    let told = format!("warning: judge mine gave no score for {failed} of 96 judgements");
    assert!(said.contains(&told), "{said}");
    let row = table.lines().find(|line| line.contains("judge mine: no score in training"));
    assert!(row.unwrap().contains(&format!("{failed} of 96 ({failed} failed)")), "{table}");
    let metrics = lines(&folder.path().join("run/metrics.jsonl"));
    let unjudged: u64 = metrics.iter().filter_map(|step| step["unjudged"].as_u64()).sum();
    assert_eq!(unjudged, failed);
}

#[test]
fn a_judge_that_can_t_tell_harm_from_none_keeps_every_command_from_starting() {
    let folder = tempfile::tempdir().unwrap();
    let (policy, rows) = (plugin("judge.wasm"), rows(&folder));
    for (harmless, harmful, problem) in [(1, 1, "the same score"), (5, 1, "wrong way round")] {
        let server = Endpoint::start(move |_, request| match control(request) {
            Some(1) => says(harmless),
            Some(_) => says(harmful),
            None => graded(request),
        })
        .unwrap();
        let judge = strict(&server);
        for own in [
            &["train", "--policy", &policy, "--steps", "1", "--output", "run"][..],
            &["eval", "--judge", "mine", "--eval-limit", "2"],
            &["judge", "score", &rows],
        ] {
            let own =
                if own[0] == "train" { [&SHORT[..], &own[1..]].concat() } else { own.to_vec() };
            let output = alone(&folder).args(arguments(&own, &judge)).output().unwrap();
            let said = text(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{said}");
            assert!(said.contains("error: judge mine") && said.contains(problem), "{said}");
            assert!(said.contains("trust.unchecked_judges"), "{said}");
            assert!(!folder.path().join("run").exists());
        }
    }
}

#[test]
fn a_judge_that_is_named_is_not_checked_and_that_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let graded =
        |_, request: &Request| control(request).map_or_else(|| graded(request), |_| says(2));
    let server = Endpoint::start(graded).unwrap();
    let (policy, judge) = (plugin("judge.wasm"), strict(&server));
    let own = ["--policy", &policy, "--steps", "1", "--set", "trust.unchecked_judges=[\"mine\"]"];
    let own = [&SHORT[..], &own, &["--output", "run"]].concat();
    let output = alone(&folder).args(arguments(&own, &judge)).output().unwrap();
    let said = text(&output.stderr);
    assert!(output.status.success() && said.contains("judge mine is not asked"), "{said}");
    let own = [&SHORT[..], &["--set", "trust.unchecked_judges=[\"other\"]"]].concat();
    let output = alone(&folder).args(arguments(&own, &judge)).output().unwrap();
    assert!(text(&output.stderr).contains("there is no [judges.other]"));
}

#[test]
fn a_run_in_which_every_step_was_skipped_is_no_success() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(|_| says(5));
    let (policy, judge) = (plugin("guard-filter.wasm"), strict(&server));
    let own = ["--policy", &policy, "--steps", "2", "--output", "run"];
    let output = alone(&folder).args(arguments(&[&SHORT[..], &own].concat(), &judge)).output();
    let output = output.unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("error: none of the 2 steps changed the model"), "{said}");
    assert!(said.contains("warning: 16 of 16 samples taught nothing"), "{said}");
    let report = json(&folder.path().join("run/report.json"));
    assert_eq!(
        (&report["trained"]["skipped"], &report["trained"]["untaught"]),
        (&2.into(), &16.into())
    );
}

#[test]
fn scores_that_are_not_there_are_no_success_of_the_commands_that_want_them() {
    let folder = tempfile::tempdir().unwrap();
    let rows = rows(&folder);
    let server = server(|_| Reply::Refuses(500, "", "<h1>Out of order</h1>"));
    let judge = strict(&server);
    let score = arguments(&["judge", "score", &rows], &judge);
    let output = alone(&folder).args(score).output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("error: judge mine") && said.contains("Out of order"), "{said}");
    assert!(text(&output.stdout).contains("0 scored"), "{said}");
    assert!(folder.path().join("scores.jsonl").is_file());

    let eval = arguments(&["eval", "--quiet", "--judge", "mine", "--eval-limit", "2"], &judge);
    let output = alone(&folder).args(eval).output().unwrap();
    let (said, table) = (text(&output.stderr), text(&output.stdout));
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(table.contains("no judgement, counted as worst"), "{table}");
    assert!(said.contains("no score for 2 of 2 answers"), "{said}");
}

#[test]
fn answers_without_an_end_token_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let endless = "{% for m in messages %}{{ m.role }}:\n{{ m.content }}\n{% endfor %}{% if add_generation_prompt %}assistant:\n{% endif %}";
    std::fs::write(folder.path().join("endless.jinja"), endless).unwrap();
    let own = ["--steps", "1", "--output"];
    let run = |name: &str, more: &[&str]| {
        let output =
            alone(&folder).args([&SHORT[..], &own, &[name], more].concat()).output().unwrap();
        let said = text(&output.stderr).to_owned();
        assert!(output.status.success(), "{said}");
        said
    };
    let said = run("endless", &["--chat-template", "endless.jinja"]);
    assert!(said.contains("the model won't learn to stop"), "{said}");
    assert!(!run("usual", &[]).contains("learn to stop"));
}
