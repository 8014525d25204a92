//! What a server says is wrong, whatever form it says it in: as the body of an error status, or
//! inside a reply with status 200.

use std::sync::LazyLock;
use std::time::Duration;

use host_files::text::clean;
use regex::Regex;
use serde_json::{Map, Value};

/// Most characters of a server's words that are shown.
const SHOWN: usize = 200;

/// Codes and types that name trouble no repetition mends, although the status may be one that
/// passes. Messages are not read for them: those of limits that pass speak of billing as well.
const LASTING: [&str; 10] = [
    "insufficient_quota",
    "invalid_request",
    "invalid_api_key",
    "authentication",
    "permission",
    "not_found",
    "unsupported",
    "context_length",
    "content_filter",
    "content_policy",
];

/// An error, read out of a body.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Complaint {
    /// In the server's words, fit for one line.
    pub words: String,
    /// The HTTP status that the body names.
    pub status: Option<u16>,
    /// For how long the server wants to be left alone.
    pub wait: Option<Duration>,
    /// Whether the words name trouble that lasts.
    pub lasting: bool,
}

impl Complaint {
    /// The error in a body of status 200; none if it is no error.
    pub fn in_reply(body: &str) -> Option<Self> {
        let reply: Value = serde_json::from_str(body).ok()?;
        error_of(&reply).map(|error| Self::of(&reply, error))
    }

    /// What the body of an error status says.
    pub fn of_body(body: &str) -> Self {
        if let Ok(reply) = serde_json::from_str::<Value>(body) {
            return Self::of(&reply, error_of(&reply).unwrap_or(&reply));
        }
        let words = clean(&without_tags(body), SHOWN);
        Self { wait: told_wait(&words), words, ..Self::default() }
    }

    fn of(reply: &Value, error: &Value) -> Self {
        let mut words = words_of(error);
        // A router's own words ("provider returned error") are less than those of the one behind.
        if let Some(raw) = error.pointer("/metadata/raw").and_then(Value::as_str) {
            words = format!("{words}: {raw}");
        }
        let words = clean(&words, SHOWN);
        let mut kinds = String::new();
        for key in ["code", "type", "status", "reason"] {
            if let Some(kind) = error.get(key).and_then(Value::as_str) {
                kinds = format!("{kinds} {kind}");
            }
        }
        let wait = find_wait(reply, 0).or_else(|| told_wait(&words));
        Self {
            status: [error, reply].into_iter().find_map(status_of),
            // Who says when to come again has something to give then.
            lasting: wait.is_none() && is_lasting(&kinds),
            wait,
            words,
        }
    }
}

/// The part of a reply that is an error.
fn error_of(reply: &Value) -> Option<&Value> {
    let object = reply.as_object()?;
    let said = |value: &&Value| !matches!(value, Value::Null | Value::Bool(false));
    let places =
        [object.get("error"), reply.pointer("/errors/0"), reply.pointer("/choices/0/error")];
    if let Some(error) = places.into_iter().flatten().find(said) {
        return Some(error);
    }
    let is_error = |key: &str| object.get(key).is_some_and(|value| value == "error");
    let speaks =
        || ["message", "detail", "msg", "error_msg"].iter().any(|key| object.contains_key(*key));
    let answers = object.get("choices").is_some_and(|choices| !choices.is_null());
    (is_error("object") || is_error("type") || (!answers && speaks())).then_some(reply)
}

fn words_of(error: &Value) -> String {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let of = |object: &Map<String, Value>| {
        let keys = ["message", "detail", "msg", "error_msg", "error", "description"];
        keys.iter().find_map(|key| object.get(*key).and_then(text))
    };
    let found = text(error).or_else(|| error.as_object().and_then(of));
    found.unwrap_or_else(|| error.to_string())
}

/// A number from 400 to 599 where servers put a status.
fn status_of(value: &Value) -> Option<u16> {
    let keys = ["code", "status", "status_code", "statusCode", "http_status", "error_code"];
    let number = |value: &Value| match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    let found = keys.iter().filter_map(|key| value.get(*key).and_then(number));
    let mut statuses = found.filter(|number| (400..600).contains(number));
    statuses.next().and_then(|number| u16::try_from(number).ok())
}

fn is_lasting(words: &str) -> bool {
    let words = words.to_lowercase();
    LASTING.iter().any(|word| words.contains(word))
}

/// A wait under one of the keys that servers use for it.
fn find_wait(value: &Value, depth: usize) -> Option<Duration> {
    match value {
        Value::Object(object) if depth < 6 => object.iter().find_map(|(key, value)| {
            let key = key.to_lowercase().replace(['_', '-'], "");
            match key.as_str() {
                "retryafter" | "retryafterseconds" | "retrydelay" | "estimatedtime" => {
                    seconds(value, 1.0)
                }
                "retryafterms" => seconds(value, 1e-3),
                _ => find_wait(value, depth + 1),
            }
        }),
        Value::Array(list) if depth < 6 => {
            list.iter().take(16).find_map(|value| find_wait(value, depth + 1))
        }
        _ => None,
    }
}

fn seconds(value: &Value, unit: f64) -> Option<Duration> {
    match value {
        Value::Number(number) => duration(number.as_f64()? * unit),
        Value::String(text) => match text.trim().parse::<f64>() {
            Ok(number) => duration(number * unit),
            Err(_) => spelled(text),
        },
        _ => None,
    }
}

/// None for what is no time.
pub fn duration(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok()
}

/// `20s`, `1.5s`, `350ms`, `6m0s`, `1h2m`.
pub fn spelled(text: &str) -> Option<Duration> {
    static WHOLE: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"^\s*(?:\d+(?:\.\d+)?\s*(?:ms|h|m|s)\s*)+$").ok());
    static PART: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"(\d+(?:\.\d+)?)\s*(ms|h|m|s)").ok());
    if !WHOLE.as_ref()?.is_match(text) {
        return None;
    }
    let parts = PART.as_ref()?.captures_iter(text).filter_map(|part| {
        let number: f64 = part[1].parse().ok()?;
        Some(
            number
                * match &part[2] {
                    "ms" => 1e-3,
                    "m" => 60.0,
                    "h" => 3600.0,
                    _ => 1.0,
                },
        )
    });
    duration(parts.sum())
}

/// A wait that is told in the words: "try again in 1.5s", "retry after 20 seconds".
fn told_wait(words: &str) -> Option<Duration> {
    static TOLD: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(
            r"(?i)(?:again|retry|wait)\s*(?:in|after|for)?\s*((?:\d+(?:\.\d+)?\s*(?:ms|h|m|s)\s*)+|\d+(?:\.\d+)?)\s*(milliseconds|seconds|minutes|second|minute|econds|econd|inutes|inute|illiseconds)?",
        )
        .ok()
    });
    let found = TOLD.as_ref()?.captures(words)?;
    let number = found.get(1)?.as_str();
    let unit = found.get(2).map_or("", |unit| unit.as_str()).to_lowercase();
    if unit.is_empty() {
        return spelled(number).or_else(|| duration(number.trim().parse().ok()?));
    }
    // "20 seconds" is read as "20 s" and "econds".
    let digits = number.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == ' ');
    let number: f64 = digits.trim().parse().ok()?;
    duration(
        number
            * if unit.contains("illi") {
                1e-3
            } else if unit.contains("inute") {
                60.0
            } else {
                1.0
            },
    )
}

/// The text of a page.
fn without_tags(body: &str) -> String {
    static TAG: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(r"(?is)<(?:script|style)\b.*?</(?:script|style)>|<[^>]*>").ok()
    });
    let body: String = body.chars().take(20_000).collect();
    TAG.as_ref().map_or(body.clone(), |tag| tag.replace_all(&body, " ").into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Its words, its status, its wait in seconds, whether it lasts.
    fn read(body: &str) -> Option<(String, Option<u16>, Option<f64>, bool)> {
        let found = Complaint::in_reply(body)?;
        Some((found.words, found.status, found.wait.map(|it| it.as_secs_f64()), found.lasting))
    }

    #[test]
    fn an_error_is_found_in_whatever_form_it_comes() {
        let limit = "Limit 3 a minute. Try again in 20s. To raise it see account/billing.";
        let body = format!(r#"{{"error":{{"message":"{limit}","code":"rate_limit_exceeded"}}}}"#);
        assert_eq!(read(&body), Some((limit.into(), None, Some(20.0), false)));
        for (body, words, status, wait, lasting) in [
            (r#"{"error":{"code":429}}"#, "{\"code\":429}", Some(429), None, false),
            (
                r#"{"error":{"message":"slow down","code":"429"}}"#,
                "slow down",
                Some(429),
                None,
                false,
            ),
            (r#"{"error":"busy"}"#, "busy", None, None, false),
            (
                r#"{"error":"Model is loading","estimated_time":20.5}"#,
                "Model is loading",
                None,
                Some(20.5),
                false,
            ),
            (r#"{"object":"error","message":"down","code":503}"#, "down", Some(503), None, false),
            (
                r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
                "Overloaded",
                None,
                None,
                false,
            ),
            (
                r#"{"choices":[{"error":{"code":502,"message":"upstream"},"finish_reason":"error"}]}"#,
                "upstream",
                Some(502),
                None,
                false,
            ),
            (r#"{"errors":[{"message":"a"}]}"#, "a", None, None, false),
            (
                r#"{"detail":"Rate limit exceeded, retry in 3 seconds"}"#,
                "Rate limit exceeded, retry in 3 seconds",
                None,
                Some(3.0),
                false,
            ),
            (
                r#"{"code":429,"msg":"too fast","retry_after_ms":1500}"#,
                "too fast",
                Some(429),
                Some(1.5),
                false,
            ),
            (
                r#"{"error":{"code":429,"message":"x","details":[{"retryDelay":"34s"}]}}"#,
                "x",
                Some(429),
                Some(34.0),
                false,
            ),
            (
                r#"{"error":{"message":"Please try again in 350ms.","type":"tokens"}}"#,
                "Please try again in 350ms.",
                None,
                Some(0.35),
                false,
            ),
            (
                r#"{"error":{"message":"Please try again in 6m0s."}}"#,
                "Please try again in 6m0s.",
                None,
                Some(360.0),
                false,
            ),
            (
                r#"{"error":{"message":"try again in 2 minutes"}}"#,
                "try again in 2 minutes",
                None,
                Some(120.0),
                false,
            ),
            (
                r#"{"error":{"message":"no money","code":"insufficient_quota"}}"#,
                "no money",
                None,
                None,
                true,
            ),
            (
                r#"{"error":{"message":"Provider returned error","code":429,"metadata":{"raw":"busy upstream"}}}"#,
                "Provider returned error: busy upstream",
                Some(429),
                None,
                false,
            ),
        ] {
            let want = (words.to_owned(), status, wait, lasting);
            assert_eq!(read(body), Some(want), "{body}");
        }
    }

    #[test]
    fn a_completion_is_no_error() {
        for body in [
            r#"{"choices":[{"message":{"content":"2"}}]}"#,
            r#"{"choices":[{"message":{"content":"2"}}],"error":null}"#,
            r#"{"choices":[{"message":{"content":"2"}}],"message":"ok"}"#,
            r#"{"choices":[]}"#,
            "<html>",
            "[]",
            "",
        ] {
            assert_eq!(read(body), None, "{body}");
        }
    }

    #[test]
    fn words_are_shown_on_one_line_without_what_a_terminal_obeys() {
        let long = "x".repeat(1000);
        for body in [
            "<html><style>p{}</style><h1>Bad\n gateway\u{1b}[2J</h1>".to_owned(),
            r#"{"error":{"message":"a\u001b[31m\nb\u202e"}}"#.to_owned(),
            format!(r#"{{"error":"{long}"}}"#),
        ] {
            let words = Complaint::of_body(&body).words;
            assert!(words.chars().count() <= SHOWN + 1, "{words}");
            assert!(!words.contains(['\n', '\u{1b}', '\u{202e}', '<']), "{words}");
        }
        assert_eq!(Complaint::of_body("<p>Bad <b>gateway</b>").words, "Bad gateway");
        assert_eq!(Complaint::of_body("").words, "");
    }
}
