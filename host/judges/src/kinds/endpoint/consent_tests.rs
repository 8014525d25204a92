use super::*;

#[test]
fn without_consent_no_file_and_no_variable_is_read_and_what_would_be_sent_is_shown() {
    let config = EndpointConfig {
        url: "https://x.org/v1".into(),
        key_variable: Some("HOME".into()),
        rubric: Some("/no such/it's".into()),
        certificates: Some("b\n.pem".into()),
        model: "m".into(),
        ..EndpointConfig::default()
    };
    let message = Endpoint::new("mine", &config).err().expect("refused").to_string();
    for part in [
        "judges.mine.endpoint",
        "conversations go to https://x.org/v1",
        "variable HOME",
        "as rubric",
        "--allow-endpoint 'https://x.org/v1 key=HOME rubric=\"/no such/it'\\''s\" \
         certificates=\"b\\n.pem\"'",
    ] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn a_request_holds_no_secret() {
    for (field, value) in [
        ("api_key", "x"),
        ("X-Api-Key", "x"),
        ("token", "x"),
        ("user", "Bearer x"),
        ("note", "sk-x"),
    ] {
        let request = toml::Table::from_iter([(field.to_owned(), value.into())]);
        let nested = toml::Table::from_iter([("extra".to_owned(), request.clone().into())]);
        for request in [request, nested] {
            let config = EndpointConfig {
                url: "http://localhost:1".into(),
                model: "m".into(),
                request,
                ..EndpointConfig::default()
            };
            let message = config.check("mine").expect_err("refused").to_string();
            assert!(message.contains(field) && message.contains("in clear"), "{message}");
        }
    }
    for url in ["https://x.org/v1?key=x", "https://x.org/#x"] {
        let config = EndpointConfig { url: url.into(), model: "m".into(), ..Default::default() };
        assert!(config.check("mine").expect_err("refused").to_string().contains("endpoint.url"));
    }
}
