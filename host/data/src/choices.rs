//! The choices of a multiple-choice question.

use serde_json::Value;

use super::error::{Error, Place, Result};
use super::fields::Fields;
use super::shown::kind;

/// The texts under `choices`; none if the record has no such key. If its `answer` is a
/// number, the place of the right choice counted from 0, that choice takes its place, and
/// true is returned with them.
pub(super) fn take(row: &mut Fields<'_>) -> Result<(Vec<String>, bool)> {
    let Some(value) = row.take("choices") else {
        return Ok((Vec::new(), false));
    };
    let texts: Option<Vec<String>> = value.as_array().and_then(|list| {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        list.iter().map(text).collect()
    });
    let choices = match texts {
        Some(choices) if are_distinct(&choices) => choices,
        Some(_) => {
            let found = "a list with too few, empty or equal texts";
            return Err(row.wrong("choices", found, "two or more different texts"));
        }
        None => {
            return Err(row.wrong("choices", kind(&value), "two or more different texts"));
        }
    };
    if let Some(number @ Value::Number(_)) = row.left().get("answer") {
        let index = number.as_u64().and_then(|at| usize::try_from(at).ok());
        let Some(right) = index.and_then(|at| choices.get(at)) else {
            let expected = "the place of a choice counted from 0, or its text";
            return Err(row.wrong("answer", number.to_string(), expected));
        };
        row.put("answer", right.as_str().into());
        return Ok((choices, true));
    }
    Ok((choices, false))
}

/// The answer must be one of the choices, if there are any.
pub(super) fn check(place: &Place, choices: &[String], answer: Option<&str>) -> Result<()> {
    match answer {
        Some(answer) if !choices.is_empty() && choices.iter().all(|choice| choice != answer) => {
            Err(Error::Field {
                place: place.clone(),
                field: "answer".into(),
                found: format!("{answer:?}"),
                expected: "one of the choices, or its place counted from 0",
            })
        }
        _ => Ok(()),
    }
}

fn are_distinct(choices: &[String]) -> bool {
    let mut seen = std::collections::HashSet::new();
    let fresh = |choice: &String| !choice.trim().is_empty() && seen.insert(choice.clone());
    choices.len() >= 2 && choices.iter().all(fresh)
}

#[cfg(test)]
mod tests {
    use crate::{Prompt, parse_prompts};

    fn parse(line: &str) -> Result<Vec<Prompt>, String> {
        parse_prompts("x.jsonl".as_ref(), line.as_bytes().to_vec()).map_err(|e| e.to_string())
    }

    #[test]
    fn the_answer_is_a_choice_or_its_place() {
        for answer in ["\"Rome\"", "1"] {
            let line =
                format!(r#"{{"prompt": "?", "choices": ["Oslo", "Rome"], "answer": {answer}}}"#);
            let prompts = parse(&line).expect("good");
            assert_eq!(prompts[0].choices, ["Oslo", "Rome"]);
            assert_eq!(prompts[0].expected(), Some("Rome"));
        }
        let chat = r#"{"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "Oslo"}], "choices": ["Oslo", "Rome"]}"#;
        assert_eq!(parse(chat).expect("good")[0].choices.len(), 2);
        assert!(parse(r#"{"prompt": "?", "answer": "a"}"#).expect("good")[0].choices.is_empty());
    }

    #[test]
    fn anything_else_is_refused() {
        for (rest, problem) in [
            (r#""choices": ["a", "b"], "answer": "c""#, "`answer` is \"c\""),
            (r#""choices": ["a", "b"], "answer": 2"#, "`answer` is 2"),
            (r#""choices": ["a", "a"], "answer": "a""#, "`choices` is a list with"),
            (r#""choices": ["a"], "answer": "a""#, "`choices` is a list with"),
            (r#""choices": ["a", 2], "answer": "a""#, "`choices` is a list but"),
        ] {
            let error = parse(&format!(r#"{{"prompt": "?", {rest}}}"#)).expect_err(rest);
            assert!(error.contains(problem), "{error}");
        }
    }
}
