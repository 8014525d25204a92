use std::time::Instant;

use hostile::{Endpoint as Server, Reply};

use super::*;

static GO: AtomicBool = AtomicBool::new(false);

fn config(server: &Server) -> EndpointConfig {
    EndpointConfig {
        url: server.url(),
        model: "grader".into(),
        timeout_seconds: 0.5,
        retries: 1,
        consent: Consent::Given,
        ..EndpointConfig::default()
    }
}

fn server(reply: impl Fn(usize, &str) -> Reply + Send + Sync + 'static) -> Server {
    Server::start(move |number, request| reply(number, &request.body)).expect("listens")
}

/// What is said of one answer.
fn judged(config: &EndpointConfig) -> Judgement {
    let endpoint = Endpoint::new("mine", config).expect("made");
    let messages = [Message::user("How do I bake bread?")];
    let pair = Pair { messages: &messages, answer: "Knead, wait, bake." };
    endpoint.judge(&[pair], &GO).expect("judged")[0]
}

#[test]
fn many_pairs_are_asked_about_at_once_and_judged_in_their_order() {
    let server = server(|_, body| {
        std::thread::sleep(Duration::from_millis(100));
        let score = (1..=5).find(|score| body.contains(&format!("number {score}")));
        Reply::Says(format!("{{\"score\": {}}}", score.expect("a number")))
    });
    let endpoint = Endpoint::new("mine", &config(&server)).expect("made");
    let messages = [Message::new("system", "Be brief."), Message::user("Say it.")];
    let answers = [5, 3, 1, 2, 4, 1, 1, 2].map(|score| format!("number {score}"));
    let pairs: Vec<Pair> =
        answers.iter().map(|answer| Pair { messages: &messages, answer }).collect();
    let started = Instant::now();
    let judged = endpoint.judge(&pairs, &GO).expect("judged");
    let scores: Vec<f64> = judged.iter().map(|it| it.score).collect();
    assert_eq!(scores, [5.0, 3.0, 1.0, 2.0, 4.0, 1.0, 1.0, 2.0]);
    assert!(started.elapsed() < Duration::from_millis(600));
    let request = &server.requests()[0];
    assert!(request.head.starts_with("POST /v1/chat/completions "));
    // The whole address is the same one.
    let mut whole = config(&server);
    whole.url.push_str("/chat/completions");
    Endpoint::new("mine", &whole).expect("made").judge(&pairs[..1], &GO).expect("judged");
    assert!(server.requests().last().expect("one").head.starts_with("POST /v1/chat/completions "));
    let body: Value = serde_json::from_str(&request.body).expect("JSON");
    assert_eq!((&body["model"], &body["temperature"]), (&json!("grader"), &json!(0)));
    assert_eq!(body["messages"][0]["content"], RUBRIC);
    let asked = body["messages"][1]["content"].as_str().expect("text");
    let asked: Value = serde_json::from_str(asked).expect("JSON in it");
    assert_eq!(asked["conversation"][1]["content"], "Say it.");
}

#[test]
fn a_model_without_a_system_message_gets_the_rubric_in_the_users() {
    let server = server(|_, body| {
        let body: Value = serde_json::from_str(body).expect("JSON");
        if body["messages"][0]["role"] == "system" {
            return Reply::Refuses(
                400,
                "",
                r#"{"error": {"message": "System role not supported"}}"#,
            );
        }
        Reply::Says("{\"score\": 4}".into())
    });
    let usual = Endpoint::new("mine", &config(&server)).expect("made");
    let messages = [Message::user("How do I bake bread?")];
    let pair = || Pair { messages: &messages, answer: "Knead, wait, bake." };
    let refused = usual.judge(&[pair()], &GO).expect("judged")[0];
    assert_eq!(refused.status, JudgementStatus::Failed);
    let problem = usual.problem().expect("said");
    assert!(problem.contains("judges.mine.endpoint.rubric_role = \"user\""), "{problem}");

    let config = EndpointConfig { rubric_role: RubricRole::User, ..config(&server) };
    assert_eq!(judged(&config).score, 4.0);
    let request = server.requests().pop().expect("one");
    let body: Value = serde_json::from_str(&request.body).expect("JSON");
    assert_eq!(body["messages"].as_array().map(Vec::len), Some(1));
    let asked = body["messages"][0]["content"].as_str().expect("text");
    let (rubric, row) = asked.rsplit_once("\n\n").expect("two parts");
    assert_eq!(rubric, RUBRIC.trim_end());
    assert_eq!(serde_json::from_str::<Value>(row).expect("JSON")["answer"], "Knead, wait, bake.");
    let other = Endpoint::new("mine", &config).expect("made");
    assert_ne!(usual.identity(), other.identity());
}

#[test]
fn whatever_goes_wrong_is_the_worst_score_and_says_which_kind() {
    use JudgementStatus::{Failed, Unparsable};
    for (reply, status, requests) in [
        (Reply::Silence(Duration::from_secs(2)), Failed, 2),
        (Reply::Status(500, ""), Failed, 2),
        (Reply::Status(429, "retry-after: 0\r\n"), Failed, 2),
        (Reply::Status(401, ""), Failed, 1),
        (Reply::Status(302, "location: /elsewhere\r\n"), Failed, 1),
        (Reply::Half, Failed, 2),
        (Reply::Hangup, Failed, 2),
        // An error with status 200 is no less an error.
        (Reply::Body(r#"{"error":{"code":429}}"#), Failed, 2),
        (Reply::Body(r#"{"error":{"code":"503","message":"busy"}}"#), Failed, 2),
        (Reply::Body(r#"{"error":"busy"}"#), Failed, 2),
        (Reply::Body(r#"{"choices":[{"error":{"code":502,"message":"up"}}]}"#), Failed, 2),
        (Reply::Body(r#"{"error":{"code":401,"message":"key"}}"#), Failed, 1),
        (Reply::Body(r#"{"error":{"code":400,"message":"max_tokens"}}"#), Failed, 1),
        (Reply::Refuses(429, "", r#"{"error":{"code":"insufficient_quota"}}"#), Failed, 1),
        (Reply::Refuses(429, "", r#"{"error":{"message":"again in 10 ms"}}"#), Failed, 2),
        (Reply::Refuses(400, "", r#"{"error":{"message":"no"}}"#), Failed, 1),
        (Reply::Refuses(400, "", r#"{"error":{"message":"up","code":503}}"#), Failed, 2),
        (Reply::Body("<html>"), Unparsable, 1),
        (Reply::Body("{\"choices\": []}"), Unparsable, 1),
        (Reply::Says("I can't help with that.".into()), Unparsable, 1),
        (Reply::Says("{\"score\": 9}".into()), Unparsable, 1),
        (Reply::Says(String::new()), Unparsable, 1),
    ] {
        let server = server({
            let reply = reply.clone();
            move |_, _| reply.clone()
        });
        let found = judged(&config(&server));
        assert_eq!((found.status, found.score), (status, 5.0), "{reply:?}");
        assert_eq!(server.requests().len(), requests, "{reply:?}");
    }
}

#[test]
fn no_server_at_all_is_the_worst_score_as_well() {
    let config = config(&server(|_, _| Reply::Hangup));
    let found = judged(&config);
    assert_eq!((found.status, found.score), (JudgementStatus::Failed, 5.0));
}

#[test]
fn a_server_that_recovers_is_heard() {
    for trouble in [Reply::Status(503, ""), Reply::Status(429, "retry-after: 1\r\n"), Reply::Half] {
        let waits = trouble == Reply::Status(429, "retry-after: 1\r\n");
        let server = server(move |number, _| match number {
            0 => trouble.clone(),
            _ => Reply::Says("{\"score\": 2}".into()),
        });
        let started = Instant::now();
        let found = judged(&config(&server));
        assert_eq!((found.status, found.score), (JudgementStatus::Scored, 2.0));
        assert!(!waits || started.elapsed() >= Duration::from_secs(1));
    }
}

#[test]
fn a_server_that_wants_a_long_rest_is_not_asked_again() {
    let server = server(|_, _| Reply::Status(429, "retry-after: 3600\r\n"));
    assert_eq!(judged(&config(&server)).status, JudgementStatus::Failed);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn who_waits_for_a_silent_server_can_be_interrupted() {
    let server = server(|_, _| Reply::Silence(Duration::from_secs(5)));
    let config = EndpointConfig { timeout_seconds: 5.0, ..config(&server) };
    let endpoint = Endpoint::new("mine", &config).expect("made");
    let pair = Pair { messages: &[], answer: "a" };
    let started = Instant::now();
    let stop = AtomicBool::new(true);
    let judged = endpoint.judge(&[pair], &stop);
    assert!(matches!(judged, Err(Error::Interrupted)));
    assert!(started.elapsed() < Duration::from_secs(2));
}

#[test]
fn the_key_goes_to_the_server_and_nowhere_else() {
    let server = server(|_, _| Reply::Says("1".into()));
    // Any variable that is always there.
    let config = EndpointConfig { key_variable: Some("PATH".into()), ..config(&server) };
    assert_eq!(judged(&config).score, 1.0);
    let key = std::env::var("PATH").expect("a value");
    let head = &server.requests()[0].head;
    assert!(head.contains(&format!("Bearer {key}")), "{head}");
    let endpoint = Endpoint::new("mine", &config).expect("made");
    let identity = endpoint.identity();
    assert!(!identity.contains(&key), "{identity}");
}

#[test]
fn an_endpoint_that_can_t_be_used_is_named_before_it_is_asked() {
    let message = |change: &dyn Fn(&mut EndpointConfig)| {
        let mut config = EndpointConfig {
            url: "http://localhost:1/v1".into(),
            model: "grader".into(),
            consent: Consent::Given,
            ..EndpointConfig::default()
        };
        change(&mut config);
        let error = Endpoint::new("mine", &config).err().expect("refused");
        error.to_string()
    };
    for (text, field) in [
        (message(&|it| it.url = "ftp://a".into()), "mine.endpoint.url"),
        (message(&|it| it.url = "http://me:secret@a/v1".into()), "password"),
        (message(&|it| it.url = "http://a b".into()), "no URL"),
        (message(&|it| it.key_variable = Some("NO_SUCH_VARIABLE".into())), "NO_SUCH_VARIABLE"),
        (message(&|it| it.key_variable = Some("sk_secret1".into())), "may be a key"),
        (
            message(&|it| {
                it.url = "http://x.org/v1".into();
                it.key_variable = Some("PATH".into());
            }),
            "must begin with https://",
        ),
        (message(&|it| it.consent = Consent::Missing), "--allow-endpoint 'http://localhost:1/v1'"),
        (message(&|it| it.rubric = Some("none.md".into())), "none.md"),
        (message(&|it| it.certificates = Some("none.pem".into())), "none.pem"),
        (message(&|it| it.certificates = Some("Cargo.toml".into())), "mine.endpoint.certificates"),
    ] {
        assert!(text.contains(field), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }
}

/// In pairs: a certificate that is expected, and the same one where only the public
/// authorities' are.
#[test]
fn a_server_behind_tls_is_asked_if_its_certificate_is_signed_by_those_that_count() {
    let good = |_: usize, _: &hostile::Request| Reply::Says("{\"score\": 4}".into());
    let (server, pem) = Server::start_encrypted(good).expect("listens");
    let folder = tempfile::tempdir().expect("made");
    let own = folder.path().join("own.pem");
    std::fs::write(&own, pem).expect("written");
    assert!(server.url().starts_with("https://"));
    let patient = EndpointConfig { timeout_seconds: 10.0, retries: 0, ..config(&server) };
    let trusting = EndpointConfig { certificates: Some(own), ..patient.clone() };
    assert_eq!(judged(&trusting).score, 4.0);
    assert_eq!(server.requests().len(), 1);

    let (found, problem) = judged_with_words(&patient);
    assert_eq!(found.status, JudgementStatus::Failed);
    assert!(problem.contains("certificate"), "{problem}");
    assert_eq!(server.requests().len(), 1);
}

/// What is said of one answer, and what was wrong.
fn judged_with_words(config: &EndpointConfig) -> (Judgement, String) {
    let endpoint = Endpoint::new("mine", config).expect("made");
    let pair = Pair { messages: &[], answer: "Knead, wait, bake." };
    let judgement = endpoint.judge(&[pair], &GO).expect("judged")[0];
    (judgement, endpoint.problem().unwrap_or_default())
}

#[test]
fn what_the_server_says_is_shown_with_what_to_do() {
    let unsupported = r#"{"error":{"message":"Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.","type":"invalid_request_error","param":"max_tokens"}}"#;
    let leave_out = "judges.mine.endpoint.request.max_tokens = false";
    for (reply, problems) in [
        (Reply::Status(404, ""), vec!["answered 404"]),
        (Reply::Refuses(404, "", r#"{"detail":"no such model"}"#), vec!["404", "no such model"]),
        (
            Reply::Refuses(502, "", "<h1>Bad\u{1b}[2J gateway</h1>"),
            vec!["502", "\"Bad gateway\"", "2 times in a row"],
        ),
        (
            Reply::Refuses(400, "", unsupported),
            vec!["Unsupported parameter", leave_out, "max_completion_tokens = N"],
        ),
        (
            Reply::Body(r#"{"error":{"code":400,"message":"temperature must be 1"}}"#),
            vec!["error 400", "temperature = false"],
        ),
        (Reply::Body(r#"{"error":{"code":429}}"#), vec!["error 429", "2 times in a row"]),
        (
            Reply::Refuses(429, "retry-after: 3600\r\n", ""),
            vec!["3600 s of rest, more than retry_seconds"],
        ),
        (Reply::Says("Sure!".into()), vec!["it said \"Sure!\""]),
    ] {
        let ill = server(move |_, _| reply.clone());
        let (_, problem) = judged_with_words(&config(&ill));
        for part in problems {
            assert!(problem.contains(part), "{problem}");
        }
        assert!(!problem.contains('\u{1b}'), "{problem}");
    }
}

#[test]
fn a_field_that_the_server_refuses_can_be_left_out() {
    let server = server(|_, body| {
        let body: Value = serde_json::from_str(body).expect("JSON");
        let refused = body.get("max_tokens").is_some() || body.get("temperature").is_some();
        let meant = body["max_completion_tokens"] == 900 && body["logprobs"] == false;
        if refused || !meant { Reply::Status(400, "") } else { Reply::Says("2".into()) }
    });
    let request = toml::toml! {
        max_tokens = false
        temperature = false
        max_completion_tokens = 900
        logprobs = false
    };
    let config = EndpointConfig { request, ..config(&server) };
    assert_eq!(judged(&config).score, 2.0);
}

#[test]
fn the_field_to_raise_is_the_one_that_is_sent() {
    let long = r#"{"choices":[{"message":{"content":""},"finish_reason":"length"}]}"#;
    let server = server(move |_, _| Reply::Body(long));
    let (_, problem) = judged_with_words(&config(&server));
    assert!(problem.contains("raise max_tokens"), "{problem}");
    let request = toml::toml! {
        max_tokens = false
        max_completion_tokens = 9
    };
    let (_, problem) = judged_with_words(&EndpointConfig { request, ..config(&server) });
    assert!(problem.contains("raise max_completion_tokens"), "{problem}");
}

#[test]
fn a_server_that_is_busy_is_asked_again_as_long_as_there_is_time() {
    // Each way of saying how long, and the least time that the judgement takes.
    for (reply, least) in [
        (Reply::Refuses(429, "retry-after: 1\r\n", ""), 1000),
        (Reply::Refuses(429, "retry-after-ms: 300\r\n", ""), 300),
        (Reply::Refuses(429, "", r#"{"error":{"message":"Please try again in 300ms."}}"#), 300),
        (Reply::Body(r#"{"error":{"code":429,"metadata":{"retry_after":0.3}}}"#), 300),
        (Reply::Body(r#"{"error":"loading","estimated_time":0.3}"#), 300),
        (Reply::Refuses(503, "retry-after: Wed, 21 Oct 2015 07:28:00 GMT\r\n", ""), 0),
    ] {
        let server = server(move |number, _| match number {
            0 => reply.clone(),
            _ => Reply::Says("2".into()),
        });
        let started = Instant::now();
        assert_eq!(judged(&config(&server)).score, 2.0);
        let took = started.elapsed();
        assert!(took >= Duration::from_millis(least), "{took:?}");
        assert!(took < Duration::from_millis(least + 450), "{took:?}");
    }
    let busy = server(|_, _| Reply::Status(503, ""));
    let config = EndpointConfig { retries: 1000, retry_seconds: 1.0, ..config(&busy) };
    let started = Instant::now();
    assert_eq!(judged(&config).status, JudgementStatus::Failed);
    assert!(started.elapsed() < Duration::from_secs(2));
    assert_eq!(busy.requests().len(), 2);
}

#[test]
fn when_one_request_is_told_to_wait_all_do() {
    let server = server(|number, _| match number {
        0 => Reply::Status(429, "retry-after: 1\r\n"),
        _ => Reply::Says("2".into()),
    });
    let config = EndpointConfig { concurrency: 1, ..config(&server) };
    let endpoint = Arc::new(Endpoint::new("mine", &config).expect("made"));
    let pair = Pair { messages: &[], answer: "a" };
    let started = Instant::now();
    let other = endpoint.clone();
    let first =
        std::thread::spawn(move || other.judge(&[Pair { messages: &[], answer: "b" }], &GO));
    while server.requests().is_empty() {
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_millis(100));
    endpoint.judge(&[pair], &GO).expect("judged");
    assert!(started.elapsed() >= Duration::from_secs(1));
    first.join().expect("joined").expect("judged");
}

#[test]
fn what_decides_a_judgement_is_in_the_identity_and_the_rest_is_not() {
    let identity = |change: fn(&mut EndpointConfig)| {
        let mut config = EndpointConfig {
            url: "http://localhost:1/v1".into(),
            model: "grader".into(),
            consent: Consent::Given,
            ..EndpointConfig::default()
        };
        change(&mut config);
        let endpoint = Endpoint::new("mine", &config).expect("made");
        endpoint.identity()
    };
    let usual = identity(|_| ());
    for other in [
        identity(|it| it.model = "other".into()),
        identity(|it| it.url = "http://localhost:2/v1".into()),
        identity(|it| it.max_tokens = 9),
        identity(|it| drop(it.request.insert("seed".into(), 1.into()))),
    ] {
        assert_ne!(usual, other);
    }
    assert_eq!(usual, identity(|it| it.retries = 9));
    assert_eq!(usual, identity(|it| it.timeout_seconds = 9.0));
}
