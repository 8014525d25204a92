use super::{Layers, RunConfig};

fn resolved(text: &str) -> Result<RunConfig, String> {
    let mut layers = Layers::default();
    let added = layers.add_text(text, "run.toml");
    let resolved = added.and_then(|()| layers.resolve());
    resolved.map_err(|error| error.to_string())
}

#[test]
fn each_kind_is_read_and_written_back() {
    let text = "[judges.a]\nscores = \"a.jsonl\"\n\
        [judges.b.endpoint]\nurl = \"http://a/v1\"\nmodel = \"m\"\nrequest = { seed = 1 }\n\
        [judges.c.classifier]\nmodel = \"c\"\nharmful = [\"toxic\"]\nreads = \"answer\"\n\
        [judges.d.embedding]\nmodel = \"d\"\nhead = \"h.json\"\n\
        [judges.e.guard]\nmodel = \"e\"\nasks = \"conversation\"\n";
    let config = resolved(text).expect("good");
    assert_eq!(config.judges.len(), 5);
    let written = toml::to_string(&config).expect("toml");
    assert_eq!(resolved(&written), Ok(config));
}

#[test]
fn a_judge_of_no_kind_or_two_or_without_what_it_needs_is_named() {
    for (text, says) in [
        ("[judges.a]\nscore = \"a\"", "judges.a"),
        ("[judges.a]\n", "judges.a"),
        ("[judges.a]\nscores = \"a\"\nguard = { model = \"m\" }", "judges.a"),
        ("[judges.a.endpoint]\nmodel = \"m\"", "judges.a.endpoint.url"),
        ("[judges.a.endpoint]\nurl = \"http://a\"", "judges.a.endpoint.model"),
        (
            "[judges.a.endpoint]\nurl = \"http://a\"\nmodel = \"m\"\nconcurrency = 0",
            "judges.a.endpoint.concurrency",
        ),
        ("[judges.a.endpoint]\nurls = \"http://a\"", "did you mean url?"),
        ("[judges.a.classifier]\nmodel = \"m\"", "judges.a.classifier.harmful"),
        ("[judges.a.embedding]\nmodel = \"m\"", "judges.a.embedding.head"),
        ("[judges.a.guard]\nharmful = \"no\"", "judges.a.guard.model"),
    ] {
        let message = resolved(text).expect_err("refused");
        assert!(message.contains(says), "{message}");
    }
}
