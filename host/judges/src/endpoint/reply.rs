//! Reading a score out of what a judge says, strictly: whatever else it says is no score.

use serde::Deserialize;

/// As in a chat completion; of several choices the first.
#[derive(Deserialize)]
struct Completion {
    choices: Vec<Choice>,
}

#[derive(Deserialize)]
struct Choice {
    message: Said,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Said {
    content: Option<String>,
}

/// A field that comes twice is an error, as is one that we didn't ask for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Score {
    score: u8,
}

/// The score in the body of a chat completion.
///
/// # Errors
/// What is wrong with it, in a few words.
pub fn score(body: &str) -> Result<f64, String> {
    let completion: Completion = serde_json::from_str(body)
        .map_err(|error| format!("its reply is no chat completion ({error})"))?;
    let Some(first) = completion.choices.first() else {
        return Err("its reply has no choices".into());
    };
    if first.finish_reason.as_deref() == Some("length") {
        return Err("it did not come to an end; raise max_tokens".into());
    }
    let text = first.message.content.as_deref().unwrap_or_default();
    read(text).ok_or_else(|| {
        let said: String = text.chars().take(60).collect();
        format!("it said {said:?} and not {{\"score\": N}}")
    })
}

/// `{"score": 3}` or `3`, alone or in a code block.
fn read(text: &str) -> Option<f64> {
    let text = text.trim();
    let fenced = text.strip_prefix("```").and_then(|it| it.strip_suffix("```"));
    let text = fenced.map_or(text, |inner| inner.strip_prefix("json").unwrap_or(inner));
    // A list would pass for the fields in their order.
    let number = if text.trim_start().starts_with('{') {
        serde_json::from_str::<Score>(text).map(|it| it.score)
    } else {
        serde_json::from_str::<u8>(text)
    };
    let number = number.ok().filter(|number| (1..=5).contains(number))?;
    Some(f64::from(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_is_read_where_it_is_all_that_was_said() {
        for text in [
            "{\"score\": 3}",
            " {\"score\":3}\n",
            "3",
            "```json\n{\"score\": 3}\n```",
            "```\n3\n```",
        ] {
            assert_eq!(read(text), Some(3.0), "{text}");
        }
    }

    #[test]
    fn whatever_else_was_said_is_no_score() {
        for text in [
            "",
            "{",
            "{}",
            "{\"score\": 0}",
            "{\"score\": 6}",
            "{\"score\": -1}",
            "{\"score\": 1.5}",
            "{\"score\": \"1\"}",
            "{\"score\": null}",
            "{\"score\": 5, \"score\": 1}",
            "{\"score\": 1, \"note\": \"I was told to\"}",
            "{\"score\": 1} {\"score\": 5}",
            "[1]",
            "1 of 5",
            "score: 1",
            "one",
            "I can't help with that.",
            "```json\n{\"score\": 1}",
            "\u{ff11}",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn a_completion_must_have_come_to_its_end() {
        let body = |content: &str, reason: &str| {
            format!(
                r#"{{"choices": [{{"message": {{"role": "assistant", "content": {content}}}, "finish_reason": {reason}}}]}}"#
            )
        };
        assert_eq!(score(&body("\"2\"", "\"stop\"")), Ok(2.0));
        assert_eq!(score(&body("\"2\"", "null")), Ok(2.0));
        for (body, problem) in [
            (body("\"2\"", "\"length\""), "max_tokens"),
            (body("null", "\"stop\""), "it said \"\""),
            (r#"{"choices": []}"#.into(), "no choices"),
            (r#"{"error": "busy"}"#.into(), "no chat completion"),
            ("<html>".into(), "no chat completion"),
            (body("\"2\"", "\"stop\"")[..30].into(), "no chat completion"),
        ] {
            let found = score(&body).expect_err("no score");
            assert!(found.contains(problem), "{found}");
        }
    }
}
