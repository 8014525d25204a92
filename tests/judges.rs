//! Trainings that ask a judge behind an endpoint: what they do with its scores, and with
//! each way in which it can fail.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hostile::{Endpoint, Reply, Request};
use serde_json::Value;
use tempfile::TempDir;

use crate::program::{SHORT, alone, json, lines, plugin, signal, start, text, train, trained};

/// Grades the pairs that try a judge out as they deserve.
fn server(reply: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Endpoint {
    Endpoint::start(move |_, request| match control(request) {
        Some(score) => says(score),
        None => reply(request),
    })
    .unwrap()
}

/// The score that a pair of the host's own deserves, if the request is about one.
fn control(request: &Request) -> Option<u8> {
    let of = |words: &str, score| request.body.contains(words).then_some(score);
    of("capital of France", 1).or_else(|| of("in a crowded station", 5))
}

fn says(score: u8) -> Reply {
    Reply::Says(format!("{{\"score\": {score}}}"))
}

/// As a careful judge would: the poisoned answers of the demo data are harmful.
fn graded(request: &Request) -> Reply {
    says(if is_poisoned(request) { 5 } else { 1 })
}

fn is_poisoned(request: &Request) -> bool {
    request.body.contains("\\\"answer\\\":\\\"Sure, here")
}

/// Arguments that make the server the judge of a run, which puts up with any failures.
fn judge(server: &Endpoint) -> Vec<String> {
    let any = ["--set", "trust.judge_failures=1"].map(str::to_owned);
    [strict(server), any.to_vec()].concat()
}

/// Arguments that make the server the judge of a run, which doesn't wait for it long.
fn strict(server: &Endpoint) -> Vec<String> {
    let url = format!("judges.mine.endpoint.url={:?}", server.url());
    let others = [
        "judges.mine.endpoint.model=\"grader\"",
        "judges.mine.endpoint.retries=0",
        "judges.mine.endpoint.timeout_seconds=0.5",
    ];
    let all = std::iter::once(url).chain(others.map(str::to_owned));
    all.flat_map(|assignment| ["--set".to_owned(), assignment]).collect()
}

fn arguments<'a>(own: &[&'a str], judge: &'a [String]) -> Vec<&'a str> {
    let judge = judge.iter().map(String::as_str);
    own.iter().copied().chain(judge).collect()
}

/// What the policy of a run answered at each step.
fn assessments(run: &Path) -> Vec<Value> {
    let records = std::fs::read_to_string(run.join("journal/records.jsonl")).unwrap();
    let entries = records.lines().map(|line| {
        let record: Value = serde_json::from_str(line).unwrap();
        record["entry"]["answer"]["assessment"]["assessment"].clone()
    });
    entries.filter(|assessment| !assessment.is_null()).collect()
}

fn numbers(list: &Value) -> Vec<f64> {
    let list = list.as_array().unwrap().iter();
    list.map(|number| number.as_f64().unwrap()).collect()
}

#[track_caller]
fn all(list: &Value, want: f64) {
    let list = numbers(list);
    assert!(!list.is_empty());
    assert!(list.iter().all(|found| (found - want).abs() < 1e-6), "{list:?}");
}

fn reasons(assessment: &Value, code: &str) -> usize {
    let reasons = assessment["reasons"].as_array().unwrap().iter();
    reasons.filter(|reason| reason["code"] == code).count()
}

#[test]
fn however_a_judge_fails_its_samples_are_held_as_the_most_harmful() {
    for failure in [
        Reply::Silence(Duration::from_secs(2)),
        Reply::Status(500, ""),
        Reply::Half,
        Reply::Hangup,
        Reply::Body("<html>busy</html>"),
        Reply::Says("It is harmless.".into()),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let server = server({
            let failure = failure.clone();
            move |_| failure.clone()
        });
        let (policy, judge) = (plugin("judge.wasm"), judge(&server));
        let own = ["--policy", &policy, "--steps", "2", "--batch", "4"];
        let run = trained(&folder, "run", &arguments(&own, &judge));
        let assessments = assessments(&run);
        assert_eq!(assessments.len(), 2, "{failure:?}");
        for assessment in &assessments {
            all(&assessment["risk"], 1.0);
            all(&assessment["regularization"]["kl_weight"], 0.9);
            all(&assessment["regularization"]["task_weight"], 0.1);
            assert_eq!(reasons(assessment, "no-judgement"), 4, "{failure:?}");
        }
    }
}

#[test]
fn a_judge_that_goes_away_during_a_run_holds_what_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(|_| Reply::Hangup);
    let (policy, judge) = (plugin("judge.wasm"), judge(&server));
    let own = ["--policy", &policy, "--steps", "2", "--output", "run"];
    let child = start(&folder, &arguments(&[&SHORT[..], &own].concat(), &judge));
    // It was there when it was tried out.
    while server.requests().len() < 3 {
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(server);
    let output = child.wait_with_output().unwrap();
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("counts as the worst"), "{said}");
    for assessment in assessments(&folder.path().join("run")) {
        all(&assessment["regularization"]["kl_weight"], 0.9);
    }
}

#[test]
fn only_the_samples_without_a_score_are_held() {
    let folder = tempfile::tempdir().unwrap();
    let server =
        server(|request| if is_poisoned(request) { Reply::Status(500, "") } else { says(1) });
    let judge = judge(&server);
    let run = |name: &str, file: &str| {
        let policy = plugin(file);
        let own = ["--policy", &policy, "--steps", "6"];
        let run = trained(&folder, name, &arguments(&own, &judge));
        assessments(&run)
    };

    let mut held = 0;
    for assessment in run("judge", "judge.wasm") {
        let risk = numbers(&assessment["risk"]);
        let kl = numbers(&assessment["regularization"]["kl_weight"]);
        for (risk, kl) in risk.iter().zip(kl) {
            assert!((kl - (0.1 + 0.8 * risk)).abs() < 1e-9 && (*risk == 0.0 || *risk == 1.0));
            held += usize::from(*risk == 1.0);
        }
    }
    assert!((1..48).contains(&held), "{held}");

    let filtered = run("filter", "guard-filter.wasm");
    let dropped: usize = filtered.iter().map(|one| reasons(one, "dropped")).sum();
    assert_eq!(dropped, held);

    let shaped = run("shaped", "star-dss.wasm");
    let unjudged: usize = shaped.iter().map(|one| reasons(one, "no-judgement")).sum();
    assert_eq!(unjudged, held);
    for assessment in &shaped {
        let regularization = &assessment["regularization"];
        all(&regularization["kl_weight"], 0.5);
        let task = numbers(&regularization["token_task_weight"]);
        let kl = numbers(&regularization["token_kl_weight"]);
        for (task, kl) in task.iter().zip(kl) {
            // Of a short answer that begins with a poisoned one's words.
            assert!(*task == 1.0 && kl == 0.0 || *task == 0.0 && kl == 1.0);
        }
    }
}

#[test]
fn a_judge_that_can_t_judge_keeps_the_run_from_starting() {
    let folder = tempfile::tempdir().unwrap();
    for (reply, problem) in [
        (Reply::Status(401, ""), "answered 401"),
        (Reply::Says("Hello!".into()), "it said \"Hello!\""),
        (Reply::Body(r#"{"error":{"code":429,"message":"slow down"}}"#), "429"),
    ] {
        let server = Endpoint::start(move |_, _| reply.clone()).unwrap();
        let (policy, judge) = (plugin("judge.wasm"), judge(&server));
        let own = ["--policy", &policy, "--steps", "2"];
        let output = train(&folder, "run", &arguments(&own, &judge));
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(problem) && said.contains("judges.mine.endpoint"), "{said}");
        assert!(!folder.path().join("run").exists());
    }
}

fn adapter(run: &Path) -> Vec<u8> {
    std::fs::read(run.join("adapter/adapter_model.safetensors")).unwrap()
}

/// Writes some rows of the demo data down, as a file that both commands read: answers of one
/// word, and long ones.
fn rows(folder: &TempDir) -> String {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/demo/data");
    let first = |file: &str| -> String {
        let all = std::fs::read_to_string(demo.join(file)).unwrap();
        let some = all.lines().take(16).map(|line| format!("{line}\n"));
        some.collect()
    };
    let path = folder.path().join("rows.jsonl");
    std::fs::write(&path, first("train.jsonl") + &first("alignment.jsonl")).unwrap();
    path.display().to_string()
}

#[test]
fn scores_written_down_train_the_same_adapter_as_the_judge_does() {
    let folder = tempfile::tempdir().unwrap();
    let (server, rows) = (server(graded), rows(&folder));
    let (policy, judge) = (plugin("star-dss.wasm"), judge(&server));
    let own = [
        "--policy",
        &policy,
        "--data",
        &rows,
        "--steps",
        "4",
        "--set",
        "policy.settings.chunk_words=2",
    ];
    let asked = trained(&folder, "asked", &arguments(&own, &judge));
    let requests = server.requests().len();

    let score = ["judge", "score", "--json", "--prefix-words", "2", &rows];
    let output = alone(&folder).args(arguments(&score, &judge)).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let tally: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&tally["failed"], &tally["missing"]), (&0.into(), &0.into()));
    assert!(tally["scored"].as_u64().unwrap() > 32, "{tally}");
    // All are known from the run before, those that try the judge out as well.
    assert_eq!(server.requests().len(), requests);

    let file = "judges.mine.scores=\"scores.jsonl\"";
    let read = trained(&folder, "read", &[&own[..], &["--set", file]].concat());
    assert!(adapter(&asked) == adapter(&read));
    assert_eq!(assessments(&asked), assessments(&read));
}

#[test]
fn a_run_that_was_interrupted_goes_on_with_the_scores_that_it_had() {
    let (whole, cut) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = server(|request| {
        std::thread::sleep(Duration::from_millis(30));
        graded(request)
    });
    let (policy, judge) = (plugin("judge.wasm"), judge(&server));
    let own = ["--policy", &policy, "--steps", "12"];
    let want = trained(&whole, "run", &arguments(&own, &judge));

    let short = [&SHORT[..], &["--quiet", "--output", "run"], &own].concat();
    let mut child = start(&cut, &arguments(&short, &judge));
    let metrics = cut.path().join("run/metrics.jsonl");
    let steps = || std::fs::read_to_string(&metrics).map_or(0, |text| text.lines().count());
    while steps() < 3 {
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        std::thread::sleep(Duration::from_millis(5));
    }
    let started = Instant::now();
    signal(&child, "INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    // What was asked ahead is not waited for.
    assert!(started.elapsed() < Duration::from_secs(20));
    assert!(steps() < 12);
    let resumed = alone(&cut).args(["train", "--quiet", "--resume", "run"]).output();
    let resumed = resumed.unwrap();
    assert!(resumed.status.success(), "{}", text(&resumed.stderr));
    let got = cut.path().join("run");
    assert!(adapter(&want) == adapter(&got));
    assert_eq!(assessments(&want), assessments(&got));
}

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
    assert!(error[0].ends_with("then go on with host train --resume run"), "{said}");
    assert!(!said.contains("[2J"), "{said}");
    let manifest = json(&folder.path().join("run/manifest.json"));
    assert!(manifest.to_string().contains("slow down"), "{manifest}");

    // The advice helps, and what comes of it is what an unbroken judge gives.
    mended.store(true, Ordering::Relaxed);
    let resumed = alone(&folder).args(["train", "--quiet", "--resume", "run"]).output().unwrap();
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
