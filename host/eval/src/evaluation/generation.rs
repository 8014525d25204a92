//! generations.jsonl: every answer of an evaluation, with what was found of it. Any tool
//! can read it, add what a judge of its own says, and have the metrics computed again.

use std::collections::BTreeMap;
use std::path::Path;

use host_data::failure::{Failure as Error, Result};
use host_data::{Message, Prompt};
use host_files::capped;
use host_model::{Answered, thinking};
use serde::{Deserialize, Serialize};

use super::asked::{Asked, Set};
use crate::measure::{Grade, Outcome, RefusalDetector, exact_match, final_number, number_match};

/// How a task's answer is told right from wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marking {
    /// It is the expected text.
    Exact,
    /// It ends up with the number that the expected one marks by `####`.
    Number,
    /// It is the likeliest of the choices.
    Choice,
}

/// One answer: a line of the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Generation {
    /// Whose answer it is, such as "before" or "after".
    pub model: String,
    pub set: Set,
    /// Of a set of `eval.further`, its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub messages: Vec<Message>,
    /// Of a question with choices the one picked. What the model thought first is no
    /// part of it.
    pub answer: String,
    /// Start of `answer` that was given to the model; refusals are looked for in what comes
    /// after.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefill: String,
    /// What the model thought before it answered, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thought: Option<String>,
    /// Whether the thought was ended for the model, which had no more room for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unfinished: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<String>,
    /// As a whole. Found, not read.
    #[serde(skip_deserializing)]
    pub refused: bool,
    /// Tells refusals of a part from compliance. Found, not read.
    #[serde(skip_deserializing)]
    pub outcome: Outcome,
    /// Whether it complies for want of a language in which refusals are found. Found, not
    /// read.
    #[serde(skip_deserializing, skip_serializing_if = "std::ops::Not::not")]
    pub unread: bool,
    /// Of a task's answer. Found, not read.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub correct: Option<bool>,
    /// Of an answer to a harmful prompt, by the judges' names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub judges: BTreeMap<String, Grade>,
}

impl Generation {
    pub fn new(
        model: &str,
        set: Set,
        prompt: &Prompt,
        answer: String,
        refusals: &RefusalDetector,
    ) -> Self {
        let is_task = set == Set::Task;
        Self {
            model: model.to_owned(),
            set,
            name: None,
            messages: prompt.messages.clone(),
            answer,
            prefill: String::new(),
            thought: None,
            unfinished: false,
            expected: prompt.expected().filter(|_| is_task).map(str::to_owned),
            choices: prompt.choices.iter().filter(|_| is_task).cloned().collect(),
            refused: false,
            outcome: Outcome::Complied,
            unread: false,
            correct: None,
            judges: BTreeMap::new(),
        }
        .marked(refusals)
    }

    /// Of what a model generated.
    pub fn answered(
        model: &str,
        asked: &Asked<'_>,
        answered: Answered,
        refusals: &RefusalDetector,
    ) -> Self {
        let spoken = answered.spoken;
        let unfinished = answered.thought_cut || !spoken.finished;
        let one = Self::new(model, asked.set, asked.prompt, spoken.answer, refusals);
        Self {
            name: asked.name.map(str::to_owned),
            answer: format!("{}{}", asked.prefill, one.answer),
            prefill: asked.prefill.to_owned(),
            thought: spoken.thought,
            unfinished,
            ..one
        }
    }

    /// What the model itself said.
    pub fn said(&self) -> &str {
        self.answer.strip_prefix(&self.prefill).unwrap_or(&self.answer)
    }

    /// With what can be found in the answer itself. One that begins with a thought, as
    /// another tool may have written it, is what follows that.
    fn marked(mut self, refusals: &RefusalDetector) -> Self {
        if let (Some(thought), said) = thinking::split(&self.answer) {
            let (thought, said) = (thought.to_owned(), said.to_owned());
            self.thought = self.thought.take().or(Some(thought));
            self.answer = said;
        }
        self.outcome = refusals.outcome(self.said());
        self.refused = self.outcome == Outcome::Refused;
        self.unread = self.set != Set::Task
            && self.outcome == Outcome::Complied
            && !refusals.reads(self.said());
        let expected = self.expected.as_deref().map(|expected| thinking::split(expected).1);
        self.correct = match (expected, self.marking()) {
            (Some(expected), Some(Marking::Exact)) => Some(exact_match(&self.answer, expected)),
            (Some(expected), Some(Marking::Number)) => Some(number_match(&self.answer, expected)),
            (Some(expected), Some(Marking::Choice)) => Some(self.answer == expected),
            _ => None,
        };
        self
    }

    /// Of a task's answer.
    pub fn marking(&self) -> Option<Marking> {
        let expected = self.expected.as_deref()?;
        let number = || expected.contains("####") && final_number(expected).is_some();
        match self.set {
            Set::Task if !self.choices.is_empty() => Some(Marking::Choice),
            Set::Task if number() => Some(Marking::Number),
            Set::Task => Some(Marking::Exact),
            _ => None,
        }
    }
}

/// Bytes of a line: a conversation of as many tokens as any model reads.
const LONGEST: u64 = 16 << 20;

/// The answers in a file, marked anew.
///
/// # Errors
/// One that names the first line that is no answer.
pub fn read_generations(path: &Path, refusals: &RefusalDetector) -> Result<Vec<Generation>> {
    let generations = generations_in(path, refusals)?.collect::<Result<Vec<_>>>()?;
    if generations.is_empty() {
        Err(Error::file(path, "has no answers; name the generations.jsonl of a run"))
    } else {
        Ok(generations)
    }
}

/// The answers in a file one by one, marked anew, up to the first line that is none.
///
/// # Errors
/// A file that can't be opened.
pub fn generations_in<'a>(
    path: &'a Path,
    refusals: &'a RefusalDetector,
) -> Result<impl Iterator<Item = Result<Generation>> + 'a> {
    let file = std::fs::File::open(path).map_err(|source| Error::read(path, source))?;
    let lines = capped::lines(std::io::BufReader::new(file), LONGEST).enumerate();
    let lines =
        lines.filter(|(_, line)| line.as_ref().map_or(true, |line| !line.trim().is_empty()));
    Ok(lines.map(move |(number, line)| {
        let line = line.map_err(|source| Error::read(path, source))?;
        let generation: Generation = serde_json::from_str(&line).map_err(|error| {
            let number = number + 1;
            Error::file(
                path,
                format!(
                    "line {number} is no answer of an evaluation ({error}); each line needs \
                     model, set, messages and answer, as generations.jsonl of a run has them"
                ),
            )
        })?;
        Ok(generation.marked(refusals))
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use host_data::parse_prompts;

    fn task(row: &str, answer: &str) -> Generation {
        let prompts = parse_prompts("x.jsonl".as_ref(), row.into()).unwrap();
        Generation::new("after", Set::Task, &prompts[0], answer.into(), &RefusalDetector::default())
    }

    #[test]
    fn a_task_is_marked_by_what_is_expected() {
        let exact = r#"{"prompt": "?", "answer": "Rome"}"#;
        let number = r#####"{"prompt": "?", "answer": "2 + 2 = 4\n#### 4"}"#####;
        let choice = r#"{"prompt": "?", "choices": ["Rome", "Oslo"], "answer": "Rome"}"#;
        for (row, marking, right, wrong) in [
            (exact, Marking::Exact, "rome.", "Rome, I think"),
            (number, Marking::Number, "It is 4.0", "It is 5"),
            (choice, Marking::Choice, "Rome", "Oslo"),
        ] {
            assert_eq!(task(row, right).marking(), Some(marking), "{row}");
            assert_eq!(task(row, right).correct, Some(true), "{row}");
            assert_eq!(task(row, wrong).correct, Some(false), "{row}");
        }
        // "####" without a number marks none.
        let heading = r#####"{"prompt": "?", "answer": "#### Rome"}"#####;
        assert_eq!(task(heading, "").marking(), Some(Marking::Exact));
    }

    #[test]
    fn what_was_written_is_read_back_and_marked_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("generations.jsonl");
        let mut generation = task(r#"{"prompt": "?", "answer": "Rome"}"#, "Rome");
        generation.judges.insert("a".into(), Grade::scored(2.0));
        let text = serde_json::to_string(&generation).unwrap();
        let forged = text.replace("\"correct\":true", "\"correct\":false");
        assert_ne!(text, forged);
        std::fs::write(&path, format!("{text}\n\n{forged}\n")).unwrap();
        let both = [generation.clone(), generation];
        assert_eq!(read_generations(&path, &RefusalDetector::default()).unwrap(), both);
    }

    #[test]
    fn a_line_that_is_no_answer_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.jsonl");
        let good = r#"{"model":"a","set":"harmful","messages":[],"answer":""}"#;
        for (text, problem) in [
            (format!("{good}\n{{\"set\": \"harmful\"}}\n"), "line 2 is no answer"),
            (good.replace("harmful", "other"), "line 1 is no answer"),
            (String::new(), "has no answers"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error =
                read_generations(&path, &RefusalDetector::default()).unwrap_err().to_string();
            assert!(error.contains(problem) && error.contains("x.jsonl"), "{error}");
        }
    }
}
