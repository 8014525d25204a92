//! Trackers on servers: what they get, and what becomes of a run whose server fails.

use std::path::Path;
use std::time::{Duration, Instant};

use hostile::{Endpoint, Reply, Request};
use serde_json::Value;

use crate::program::{SHORT, alone, json, lines, text};

/// Trains two steps with a tracker; exit code and what it says on stderr.
fn tracked(folder: &Path, name: &str, more: &[&str]) -> (Option<i32>, String) {
    let arguments = [&SHORT[..], &["--steps", "2", "--output", name], more].concat();
    let output = alone(folder).env("TOKEN", "hunter2").args(arguments).output().unwrap();
    (output.status.code(), text(&output.stderr).to_owned())
}

/// The address of a server, without the path that a judge's has.
fn address(server: &Endpoint) -> String {
    server.url().trim_end_matches("/v1").to_owned()
}

fn path(request: &Request) -> &str {
    request.head.split(' ').nth(1).unwrap()
}

fn body(request: &Request) -> Value {
    serde_json::from_str(&request.body).unwrap()
}

/// Answers as MLflow does.
fn mlflow(_: usize, request: &Request) -> Reply {
    match path(request).rsplit('/').next().unwrap() {
        "get-by-name?experiment_name=host" => {
            Reply::Refuses(404, "", r#"{"error_code": "RESOURCE_DOES_NOT_EXIST"}"#)
        }
        "create" if path(request).contains("experiments") => {
            Reply::Body(r#"{"experiment_id": "7"}"#)
        }
        "create" => Reply::Body(r#"{"run": {"info": {"run_id": "abc"}}}"#),
        "get?run_id=abc" => Reply::Body(
            r#"{"run": {"data": {"metrics": [{"key": "train/loss", "value": 1.0, "step": "1"}]}}}"#,
        ),
        _ => Reply::Body("{}"),
    }
}

/// All metrics that a server was sent, as key, step and value.
fn metrics(server: &Endpoint) -> Vec<(String, u64, f64)> {
    let mut metrics = Vec::new();
    for request in server.requests().iter().filter(|one| path(one).ends_with("runs/log-batch")) {
        let body = body(request);
        assert_eq!(body["run_id"], "abc");
        for metric in body["metrics"].as_array().into_iter().flatten() {
            let key = metric["key"].as_str().unwrap().to_owned();
            metrics.push((
                key,
                metric["step"].as_u64().unwrap(),
                metric["value"].as_f64().unwrap(),
            ));
        }
    }
    metrics
}

#[test]
fn mlflow_gets_a_run_with_parameters_metrics_and_its_end_and_nothing_twice() {
    let folder = tempfile::tempdir().unwrap();
    let server = Endpoint::start(mlflow).unwrap();
    let flag = format!("mlflow={}", address(&server));
    let key = ["--set", "trackers.mlflow.token_variable=TOKEN"];
    let (code, said) = tracked(folder.path(), "run", &[&["--track", &flag][..], &key].concat());
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("note: mlflow"), "{said}");
    let mut found = metrics(&server);
    for line in lines(&folder.path().join("run/metrics.jsonl")) {
        let step = line["step"].as_u64().unwrap();
        for (name, value) in line.as_object().unwrap().iter().filter(|(name, _)| *name != "step") {
            let Some(value) = value.as_f64() else { continue };
            let place = found.iter().position(|one| *one == (format!("train/{name}"), step, value));
            found.swap_remove(place.unwrap_or_else(|| panic!("{name} of step {step}")));
        }
    }
    assert!(found.is_empty(), "{found:?}");
    let requests = server.requests();
    assert!(requests.iter().all(|one| one.head.contains("Bearer hunter2")));
    let all: String = requests.iter().map(|one| one.body.as_str()).collect();
    assert!(all.contains(r#"{"key":"train.max_steps","value":"2"}"#), "{all}");
    assert!(!all.contains("hunter2") && !all.contains(folder.path().to_str().unwrap()), "{all}");
    let last = body(requests.last().unwrap());
    assert_eq!((&last["run_id"], &last["status"]), (&"abc".into(), &"FINISHED".into()));
    let run = folder.path().join("run");
    let config = std::fs::read_to_string(run.join("config.toml")).unwrap();
    assert!(config.contains("token_variable = \"TOKEN\"") && !config.contains("hunter2"));
    assert_eq!(json(&run.join("trackers.json"))["mlflow"]["runs"]["plain"], "abc");

    // A folder of a run may be anybody's: it needs the word, and then goes on in the same run.
    std::fs::remove_dir_all(run.join("adapter")).unwrap();
    std::fs::remove_file(run.join("stages.json")).unwrap();
    let before = server.requests().len();
    let go_on = |more: &[&str]| {
        let arguments = [&["train", "--resume", "run", "--quiet"][..], more].concat();
        let output = alone(&folder).env("TOKEN", "hunter2").args(arguments).output().unwrap();
        (output.status.code(), text(&output.stderr).to_owned())
    };
    let (code, said) = go_on(&[]);
    let word = format!("{} key=TOKEN", address(&server));
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains(&format!("--allow-endpoint '{word}'")), "{said}");
    assert_eq!(server.requests().len(), before);
    let (code, said) = go_on(&["--allow-endpoint", &word]);
    assert_eq!(code, Some(0), "{said}");
    assert!(!server.requests()[before..].iter().any(|one| path(one).ends_with("runs/create")));
}

#[test]
fn whatever_a_server_does_the_run_ends_in_time_with_the_same_adapter_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let (code, said) = tracked(folder.path(), "alone", &[]);
    assert_eq!(code, Some(0), "{said}");
    let adapter = |name: &str| {
        let file = folder.path().join(name).join("adapter/adapter_model.safetensors");
        std::fs::read(file).unwrap()
    };
    let failures: [(&str, Reply, &str); 7] = [
        ("slow", Reply::Silence(Duration::from_secs(60)), "left out"),
        ("broken", Reply::Status(500, ""), "answered 500"),
        ("denied", Reply::Refuses(401, "", r#"{"message": "no \u001b[31mkey"}"#), "no key"),
        ("elsewhere", Reply::Status(302, "location: http://127.0.0.1:1/\r\n"), "answered 302"),
        ("garbage", Reply::Body("<html>"), "without the identifier"),
        ("hangup", Reply::Hangup, "can't be reached"),
        ("half", Reply::Half, "can't be reached"),
    ];
    for (name, reply, expected) in failures {
        let server = Endpoint::start(move |_, _| reply.clone()).unwrap();
        let flag = format!("mlflow={}", address(&server));
        let short = ["--track", &flag, "--set", "trackers.flush_seconds=2"];
        let started = Instant::now();
        let (code, said) = tracked(folder.path(), name, &short);
        assert_eq!(code, Some(0), "{name}: {said}");
        assert!(started.elapsed() < Duration::from_secs(20), "{name}: {:?}", started.elapsed());
        assert!(said.contains(expected), "{name}: {said}");
        let told = said.lines().filter(|line| line.contains("note: mlflow")).count();
        assert!((1..=2).contains(&told), "{name}: {said}");
        assert!(!said.contains('\u{1b}'), "{name}: {said}");
        assert_eq!(adapter(name), adapter("alone"), "{name}");
        let notices = json(&folder.path().join(name).join("manifest.json"))["notices"].to_string();
        assert!(notices.contains("records were left out"), "{name}: {notices}");
    }
}

#[test]
fn a_collector_gets_gauges_without_a_series_per_step_and_one_trace_of_the_stages() {
    let folder = tempfile::tempdir().unwrap();
    let server = Endpoint::start(|_, _| Reply::Body("{}")).unwrap();
    let flag = format!("otlp={}", address(&server));
    let more = ["--policy", "builtin:fixed-kl", "--track", &flag];
    let (code, said) = tracked(folder.path(), "run", &more);
    assert_eq!(code, Some(0), "{said}");
    let (mut losses, mut spans) = (Vec::new(), Vec::new());
    for request in server.requests() {
        let body = body(&request);
        let resource = body.pointer("/resourceMetrics/0/resource");
        let resource = resource.or(body.pointer("/resourceSpans/0/resource")).unwrap().to_string();
        for part in
            [r#""service.name","value":{"stringValue":"host"}"#, "fixed-kl", r#""host.run""#]
        {
            assert!(resource.contains(part), "{resource}");
        }
        let metrics = body.pointer("/resourceMetrics/0/scopeMetrics/0/metrics");
        for metric in metrics.and_then(Value::as_array).into_iter().flatten() {
            for point in metric["gauge"]["dataPoints"].as_array().unwrap() {
                assert_eq!(point["attributes"].as_array().unwrap().len(), 1);
                assert!(point["timeUnixNano"].as_str().unwrap().parse::<u64>().is_ok());
                if metric["name"] == "host.train.loss" {
                    losses.push(point["asDouble"].as_f64().unwrap());
                }
            }
        }
        let sent = body.pointer("/resourceSpans/0/scopeSpans/0/spans").cloned();
        spans.extend(sent.as_ref().and_then(Value::as_array).into_iter().flatten().cloned());
    }
    let metrics = lines(&folder.path().join("run/metrics.jsonl"));
    let expected: Vec<f64> = metrics.iter().map(|line| line["loss"].as_f64().unwrap()).collect();
    assert_eq!(losses, expected);
    let (root, stages): (Vec<Value>, Vec<Value>) =
        spans.into_iter().partition(|span| span.get("parentSpanId").is_none());
    assert_eq!((root.len(), &root[0]["name"]), (1, &"host train".into()));
    assert!(!stages.is_empty());
    let nanoseconds =
        |span: &Value, field: &str| -> u64 { span[field].as_str().unwrap().parse().unwrap() };
    for stage in &stages {
        assert_eq!(stage["traceId"], root[0]["traceId"]);
        assert_eq!(stage["parentSpanId"], root[0]["spanId"]);
        assert_eq!(stage["spanId"].as_str().unwrap().len(), 16);
        let (from, until) =
            (nanoseconds(stage, "startTimeUnixNano"), nanoseconds(stage, "endTimeUnixNano"));
        assert!(from <= until && from >= nanoseconds(&root[0], "startTimeUnixNano"));
    }
    assert!(stages.iter().any(|stage| stage["name"].as_str().unwrap().contains("fixed-kl")));
}

#[test]
fn a_webhook_gets_one_message_after_the_rest_that_it_asks_for_and_its_address_stays_secret() {
    let folder = tempfile::tempdir().unwrap();
    let server = Endpoint::start(|number, _| match number {
        0 => Reply::Status(429, "retry-after: 1\r\n"),
        _ => Reply::Body("ok"),
    });
    let server = server.unwrap();
    let url = format!("{}/services/s3cret", address(&server));
    let started = Instant::now();
    let (code, said) = tracked(folder.path(), "run", &["--track", &format!("webhook={url}")]);
    assert_eq!(code, Some(0), "{said}");
    assert!(started.elapsed() >= Duration::from_secs(1));
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    assert!(path(&requests[1]) == "/services/s3cret");
    let sent = body(&requests[1]);
    assert_eq!((&sent["run"], &sent["status"]), (&"run".into(), &"finished".into()));
    assert_eq!(sent["text"], "run: finished after 2 of 2 steps");
    assert_eq!(sent["figures"]["after/steps"], 2.0);
    assert!(!said.contains("s3cret"), "{said}");
    for file in ["config.toml", "manifest.json", "report.json"] {
        let text = std::fs::read_to_string(folder.path().join("run").join(file)).unwrap();
        assert!(!text.contains("s3cret"), "{file}");
    }
    // A variable keeps it out of the list of processes, too.
    let short = [&SHORT[..], &["--quiet", "--steps", "1", "--output", "b"]].concat();
    let track = ["--track", "webhook=env:HOOK"];
    let output = alone(&folder).env("HOOK", &url).args(short).args(track).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn nothing_is_told_to_another_machine_at_the_word_of_a_file_or_in_clear() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.toml");
    for (table, flag) in [
        ("[trackers.mlflow]\nurl = \"https://x.invalid\"", "https://x.invalid"),
        (
            "[trackers.otlp]\nurl = \"https://x.invalid\"\ntoken_variable = \"TOKEN\"",
            "https://x.invalid key=TOKEN",
        ),
        ("[trackers.webhook]\nurl = \"https://x.invalid/a\"", "https://x.invalid/a"),
        (
            "[trackers.mlflow]\nurl = \"http://127.0.0.1:1\"\ntoken_variable = \"TOKEN\"",
            "http://127.0.0.1:1 key=TOKEN",
        ),
    ] {
        std::fs::write(&file, table).unwrap();
        let (code, said) = tracked(folder.path(), "run", &["--config", "a.toml"]);
        assert_eq!(code, Some(2), "{table}: {said}");
        assert!(said.contains(&format!("--allow-endpoint '{flag}'")), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
    for flag in ["mlflow=http://x.invalid", "otlp=ftp://x.invalid", "webhook=https://a:b@x.invalid"]
    {
        let (code, said) = tracked(folder.path(), "run", &["--track", flag]);
        assert_eq!(code, Some(2), "{flag}: {said}");
        assert!(!folder.path().join("run").exists());
    }
}
