//! The useful task: its name, how its answers are marked, how long they may be.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How an answer is told right from wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Marking {
    /// It is the expected text.
    Exact,
    /// It ends up with the number of the expected one.
    Number,
    /// The likeliest of the expected answers of all questions.
    Choice,
}

/// `sst2`, `gsm8k:number:256`: NAME_train.jsonl and NAME_eval.jsonl of the data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Of the files.
    pub name: String,
    /// None goes by the expected answer: a number after `####`, choices of the row, else the text.
    pub marking: Option<Marking>,
    /// Longest answer, in tokens; none is that of other answers.
    pub answer_tokens: Option<usize>,
}

impl Default for Task {
    fn default() -> Self {
        Self { name: "sst2".into(), marking: None, answer_tokens: None }
    }
}

impl FromStr for Task {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(':');
        let name = parts.next().unwrap_or_default();
        if name.is_empty() || name.contains(['/', '\\']) {
            return Err("begin with the name of a task, such as sst2".into());
        }
        let mut task = Self { name: name.into(), ..Self::default() };
        for part in parts {
            match part {
                "exact" => task.marking = Some(Marking::Exact),
                "number" => task.marking = Some(Marking::Number),
                "choice" => task.marking = Some(Marking::Choice),
                _ => match part.parse() {
                    Ok(tokens) if tokens > 0 => task.answer_tokens = Some(tokens),
                    _ => {
                        return Err(format!(
                            "{part:?} is neither exact, number or choice nor a number of tokens; \
                             write NAME:number:256"
                        ));
                    }
                },
            }
        }
        Ok(task)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_task_has_a_name_a_marking_and_a_limit() {
        let task: Task = "gsm8k:number:256".parse().unwrap();
        assert_eq!((task.name.as_str(), task.marking), ("gsm8k", Some(Marking::Number)));
        assert_eq!(task.answer_tokens, Some(256));
        assert_eq!("sst2".parse::<Task>().unwrap(), Task::default());
        for wrong in ["", ":number", "a/b", "gsm8k:numbers", "gsm8k:0", "gsm8k:-3"] {
            assert!(wrong.parse::<Task>().is_err(), "{wrong}");
        }
    }
}
