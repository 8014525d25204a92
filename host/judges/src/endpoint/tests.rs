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
    let body: Value = serde_json::from_str(&request.body).expect("JSON");
    assert_eq!((&body["model"], &body["temperature"]), (&json!("grader"), &json!(0)));
    assert_eq!(body["messages"][0]["content"], RUBRIC);
    let asked = body["messages"][1]["content"].as_str().expect("text");
    let asked: Value = serde_json::from_str(asked).expect("JSON in it");
    assert_eq!(asked["conversation"][1]["content"], "Say it.");
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
    assert!(matches!(endpoint.try_out(&stop), Err(Error::Interrupted)));
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

    assert_eq!(judged(&patient).status, JudgementStatus::Failed);
    let endpoint = Endpoint::new("mine", &patient).expect("made");
    let text = endpoint.try_out(&GO).expect_err("refused").to_string();
    assert!(text.contains("certificate"), "{text}");
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn trying_out_says_what_is_wrong_and_what_to_do() {
    let well = server(|_, _| Reply::Says("{\"score\": 1}".into()));
    let endpoint = Endpoint::new("mine", &config(&well)).expect("made");
    endpoint.try_out(&GO).expect("works");
    for (reply, problem) in [
        (Reply::Status(404, ""), "answered 404"),
        (Reply::Says("Sure!".into()), "it said \"Sure!\""),
    ] {
        let ill = server(move |_, _| reply.clone());
        let endpoint = Endpoint::new("mine", &config(&ill)).expect("made");
        let text = endpoint.try_out(&GO).expect_err("refused").to_string();
        assert!(text.contains(problem), "{text}");
        assert!(text.contains("[judges.mine.endpoint]"), "{text}");
    }
}

#[test]
fn what_decides_a_judgement_is_in_the_identity_and_the_rest_is_not() {
    let identity = |change: fn(&mut EndpointConfig)| {
        let mut config = EndpointConfig {
            url: "http://localhost:1/v1".into(),
            model: "grader".into(),
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
