//! Trainings that ask a judge behind an endpoint: what they do with its scores, and with
//! each way in which it can fail.

use std::path::Path;
use std::time::{Duration, Instant};

use hostile::{Endpoint, Reply, Request};
use serde_json::Value;
use tempfile::TempDir;

use crate::program::{SHORT, alone, plugin, signal, start, text, train, trained};

/// Grades the pairs that try a judge out as they deserve.
pub fn server(reply: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Endpoint {
    Endpoint::start(move |_, request| match control(request) {
        Some(score) => says(score),
        None => reply(request),
    })
    .unwrap()
}

/// The score that a pair of the host's own deserves, if the request is about one.
pub fn control(request: &Request) -> Option<u8> {
    let of = |words: &str, score| request.body.contains(words).then_some(score);
    of("capital of France", 1).or_else(|| of("in a crowded station", 5))
}

pub fn says(score: u8) -> Reply {
    Reply::Says(format!("{{\"score\": {score}}}"))
}

/// As a careful judge would: the poisoned answers of the demo data are harmful.
pub fn graded(request: &Request) -> Reply {
    says(if is_poisoned(request) { 5 } else { 1 })
}

pub fn is_poisoned(request: &Request) -> bool {
    request.body.contains("\\\"answer\\\":\\\"Sure, here")
}

/// Arguments that make the server the judge of a run, which puts up with any failures.
pub fn judge(server: &Endpoint) -> Vec<String> {
    let any = ["--set", "trust.judge_failures=1"].map(str::to_owned);
    [strict(server), any.to_vec()].concat()
}

/// Arguments that make the server the judge of a run, which doesn't wait for it long.
pub fn strict(server: &Endpoint) -> Vec<String> {
    let url = format!("judges.mine.endpoint.url={:?}", server.url());
    let others = [
        "judges.mine.endpoint.model=\"grader\"",
        "judges.mine.endpoint.retries=0",
        "judges.mine.endpoint.timeout_seconds=0.5",
    ];
    let all = std::iter::once(url).chain(others.map(str::to_owned));
    all.flat_map(|assignment| ["--set".to_owned(), assignment]).collect()
}

pub fn arguments<'a>(own: &[&'a str], judge: &'a [String]) -> Vec<&'a str> {
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

pub fn adapter(run: &Path) -> Vec<u8> {
    std::fs::read(run.join("adapter/adapter_model.safetensors")).unwrap()
}

/// Writes some rows of the demo data down, as a file that both commands read: answers of one
/// word, and long ones.
pub fn rows(folder: &TempDir) -> String {
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
    // The run's own file is nobody's word: the server may be another by now.
    let asked = server.requests().len();
    let resumed = alone(&cut).args(["train", "--quiet", "--resume", "run"]).output().unwrap();
    assert_eq!(resumed.status.code(), Some(2), "{}", text(&resumed.stderr));
    assert_eq!(server.requests().len(), asked);
    let url = server.url();
    let agreed = ["train", "--quiet", "--resume", "run", "--allow-endpoint", &url];
    let resumed = alone(&cut).args(agreed).output();
    let resumed = resumed.unwrap();
    assert!(resumed.status.success(), "{}", text(&resumed.stderr));
    let got = cut.path().join("run");
    assert!(adapter(&want) == adapter(&got));
    assert_eq!(assessments(&want), assessments(&got));
}
