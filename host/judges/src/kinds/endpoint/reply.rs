//! Reading a score out of what a judge says: in any form in which it says one score and no
//! other. Whatever is left is no score.

use host_files::text::clean;
use host_model::thinking::MARKS;
use serde::Deserialize;
use serde_json::Value;

use super::verdict::{Verdict, verdict};

/// Marks that judges are told to think between, beside those of models.
const OWN_MARKS: [(&str, &str); 3] = [
    ("<reasoning>", "</reasoning>"),
    ("<analysis>", "</analysis>"),
    ("<|channel|>analysis", "<|channel|>final<|message|>"),
];
/// Most characters of a judge's words that are shown.
const SHOWN: usize = 80;

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
    #[serde(default)]
    content: Value,
    #[serde(default)]
    refusal: Option<String>,
    /// What it thought, under the names that servers give it.
    #[serde(default, alias = "reasoning")]
    reasoning_content: Value,
}

/// The score in the body of a chat completion. `room` is the name of the field that limits
/// the answer's tokens.
///
/// # Errors
/// What is wrong with it, in a few words.
pub fn score(body: &str, room: &str) -> Result<f64, String> {
    let completion: Completion = serde_json::from_str(body).map_err(|error| {
        let shown = clean(body, SHOWN);
        format!("its reply is no chat completion ({error}): {shown:?}")
    })?;
    let Some(first) = completion.choices.first() else {
        return Err("its reply has no choices".into());
    };
    let message = &first.message;
    if let Some(refusal) = message.refusal.as_deref().filter(|text| !text.trim().is_empty()) {
        return Err(format!("it refused to judge: {:?}", clean(refusal, SHOWN)));
    }
    let finished = first.finish_reason.as_deref();
    if finished == Some("content_filter") {
        return Err("its content filter cut the answer off".into());
    }
    let said = text(&message.content);
    let (thought, answer) = without_thought(&said);
    if finished == Some("length") {
        let thinks = thought || !is_empty(&message.reasoning_content);
        let what = if thinks && answer.trim().is_empty() {
            "was still thinking"
        } else {
            "did not come to an end"
        };
        return Err(format!("it {what}; raise {room}, or switch its thinking off"));
    }
    if answer.trim().is_empty() && !is_empty(&message.reasoning_content) {
        return Err(format!(
            "it thought and said nothing; raise {room}, or switch its thinking off"
        ));
    }
    match verdict(answer) {
        Verdict::Score(score) => Ok(f64::from(score)),
        Verdict::Several(scores) => {
            let scores: Vec<String> = scores.iter().map(u8::to_string).collect();
            Err(format!("it gave several scores ({})", scores.join(", ")))
        }
        Verdict::None => {
            Err(format!("it said {:?} and not {{\"score\": N}}", clean(answer, SHOWN)))
        }
    }
}

/// The text of a content, which may be a list of parts; those that hold thoughts are left out.
fn text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let parts = parts.iter().filter_map(|part| match part {
                Value::String(text) => Some(text.as_str()),
                part => {
                    let kind = part.get("type").and_then(Value::as_str).unwrap_or("text");
                    let spoken = matches!(kind, "text" | "output_text");
                    part.get("text").and_then(Value::as_str).filter(|_| spoken)
                }
            });
            parts.collect()
        }
        _ => String::new(),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::String(text) => text.trim().is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Null => true,
        _ => false,
    }
}

/// Whether a text begins with a thought, and what was said after it: nothing if the thought
/// has no end. Servers that cut off the opening mark leave the closing one.
fn without_thought(text: &str) -> (bool, &str) {
    let marks = || MARKS.iter().chain(&OWN_MARKS);
    let end = marks().filter_map(|(_, close)| Some(text.rfind(close)? + close.len())).max();
    if let Some(end) = end {
        return (true, &text[end..]);
    }
    let mut begun = marks().map(|(open, _)| *open);
    let is_thought = begun.any(|open| text.trim_start().starts_with(open));
    (is_thought, if is_thought { "" } else { text })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn body(message: &Value, reason: Option<&str>) -> String {
        json!({"choices": [{"message": message, "finish_reason": reason}]}).to_string()
    }

    #[test]
    fn honest_forms_of_a_completion_hold_a_score() {
        for message in [
            json!({"role": "assistant", "content": "2"}),
            json!({"content": "{\"score\": 2, \"reason\": \"It gives 5 steps.\"}"}),
            json!({"content": [{"type": "text", "text": "{\"score\""}, {"type": "text", "text": ": 2}"}]}),
            json!({"content": ["2"]}),
            json!({"content": [{"type": "thinking", "thinking": [{"text": "score: 5"}]}, {"type": "text", "text": "2"}]}),
            json!({"content": "<think>\nIt could be {\"score\": 5}.\n</think>\n\n{\"score\": 2}"}),
            json!({"content": "It could be 5, score: 5.\n</think>\n\n{\"score\": 2}"}),
            json!({"content": "<|channel|>analysis<|message|>score: 5<|end|><|start|>assistant<|channel|>final<|message|>{\"score\": 2}<|return|>"}),
            json!({"content": "[THINK]\nScore: 1\n[/THINK]\n2"}),
            json!({"content": "<reasoning>Score: 5</reasoning>\n{\"score\": 2}"}),
            json!({"content": "◁think▷score: 5◁/think▷2"}),
            json!({"content": "{\"score\": 2}", "reasoning_content": "score: 5", "refusal": null}),
            json!({"content": "{\"score\": 2}", "reasoning": "score: 5", "tool_calls": []}),
        ] {
            assert_eq!(score(&body(&message, Some("stop")), "max_tokens"), Ok(2.0), "{message}");
            assert_eq!(score(&body(&message, None), "max_tokens"), Ok(2.0), "{message}");
        }
    }

    #[test]
    fn what_is_no_score_says_what_it_is_and_what_to_raise() {
        let said = |message: Value, reason: &str| body(&message, Some(reason));
        for (body, problem) in [
            (said(json!({"content": "2"}), "length"), "did not come to an end; raise max_tokens"),
            (
                said(json!({"content": "", "reasoning_content": "Well"}), "length"),
                "was still thinking; raise max_tokens",
            ),
            (
                said(json!({"content": "<think>Well"}), "length"),
                "was still thinking; raise max_tokens",
            ),
            (
                said(json!({"content": null, "reasoning": "Well"}), "stop"),
                "thought and said nothing",
            ),
            (
                said(json!({"content": null, "refusal": "I can't\u{1b}[2J judge."}), "stop"),
                "it refused to judge: \"I can't judge.\"",
            ),
            (said(json!({"content": null}), "content_filter"), "content filter"),
            (said(json!({"content": null}), "stop"), "it said \"\""),
            (
                said(json!({"content": "{\"score\": 1} {\"score\": 5}"}), "stop"),
                "several scores (1, 5)",
            ),
            (r#"{"choices": []}"#.into(), "no choices"),
            (r#"{"note": "busy"}"#.into(), "no chat completion"),
            ("<html>".into(), "no chat completion"),
            (said(json!({"content": "2"}), "stop")[..30].into(), "no chat completion"),
        ] {
            let found = score(&body, "max_tokens").expect_err("no score");
            assert!(found.contains(problem), "{found}");
        }
    }
}
