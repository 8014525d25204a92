//! generations.jsonl: what each model answered to each prompt, side by side.

use std::collections::HashMap;
use std::path::Path;

use host_eval::evaluation::{Generation, Set, generations_in};
use host_eval::measure::{Outcome, RefusalDetector};
use host_html::{Shown, shown};
use serde::Serialize;

use crate::part::Problems;

pub const FILE: &str = "generations.jsonl";
/// Bytes of the file.
const BYTES: u64 = 256 << 20;
/// Prompts that are shown.
const PROMPTS: usize = 400;
/// Characters of a prompt or an answer, and of a thought.
const TEXT: (usize, usize) = (1500, 500);
/// Models whose answers are shown.
const MODELS: usize = 8;

/// What was asked and answered.
#[derive(Debug, Serialize)]
pub struct Answers {
    /// Distinct prompts.
    pub prompts: usize,
    pub shown: Vec<Asked>,
    /// Names of the sets, as a filter offers them.
    pub sets: Vec<String>,
    pub notes: Vec<String>,
}

/// One prompt with its answers.
#[derive(Debug, Serialize)]
pub struct Asked {
    pub set: String,
    pub prompt: Shown,
    pub expected: Option<Shown>,
    /// Whether the models' answers count differently.
    pub changed: bool,
    pub answers: Vec<Given>,
}

/// One answer.
#[derive(Debug, Serialize)]
pub struct Given {
    pub model: String,
    pub text: Shown,
    pub thought: Option<Shown>,
    /// What it counts as: refused, partial, complied, correct, wrong.
    pub outcome: &'static str,
    /// Whether that is what one hopes for.
    pub good: Option<bool>,
    /// Scores of judges, in words.
    pub judged: Vec<String>,
}

impl Answers {
    /// Nothing, if there are no answers. `name` gives a model its name on the page.
    pub fn read(
        run: &Path,
        refusals: &RefusalDetector,
        name: impl Fn(&str) -> String,
        problems: &mut Problems,
    ) -> Option<Self> {
        let path = run.join(FILE);
        let found = path.metadata().ok()?;
        if !found.is_file() || found.len() > BYTES {
            problems.add(format!(
                "{FILE} has more than {} MiB or is no file, so it is left out",
                BYTES >> 20
            ));
            return None;
        }
        let generations = match generations_in(&path, refusals) {
            Ok(generations) => generations,
            Err(error) => {
                problems.add(error.to_string());
                return None;
            }
        };
        let mut all: Vec<Asked> = Vec::new();
        let mut places: HashMap<(String, String, usize), usize> = HashMap::new();
        let mut times: HashMap<(String, String, String), usize> = HashMap::new();
        for generation in generations {
            let one = match generation {
                Ok(one) => one,
                Err(error) => {
                    problems.add(format!("{error}; the answers end there"));
                    break;
                }
            };
            let (set, prompt) = (set(&one), prompt(&one));
            // A prompt that is asked twice is two prompts.
            let time = times.entry((one.model.clone(), set.clone(), prompt.clone())).or_default();
            *time += 1;
            let place = *places.entry((set.clone(), prompt.clone(), *time)).or_insert_with(|| {
                all.push(Asked {
                    set,
                    prompt: shown(&prompt, TEXT.0),
                    expected: one.expected.as_deref().map(|expected| shown(expected, TEXT.0)),
                    changed: false,
                    answers: Vec::new(),
                });
                all.len() - 1
            });
            if all[place].answers.len() < MODELS {
                all[place].answers.push(given(&one, &name));
            }
        }
        (!all.is_empty()).then(|| Self::of(all))
    }

    /// The prompts whose answers changed come first where not all are shown.
    fn of(mut all: Vec<Asked>) -> Self {
        let mut sets: Vec<String> = Vec::new();
        for asked in &mut all {
            let mut outcomes = asked.answers.iter().map(|one| one.outcome);
            let first = outcomes.next();
            asked.changed = outcomes.any(|one| Some(one) != first);
            if !sets.contains(&asked.set) {
                sets.push(asked.set.clone());
            }
        }
        let prompts = all.len();
        let mut notes = Vec::new();
        if prompts > PROMPTS {
            // Stable: within each kind in the order of the file.
            all.sort_by_key(|asked| !asked.changed);
            all.truncate(PROMPTS);
            notes.push(format!(
                "{PROMPTS} of {prompts} prompts are shown, first those whose answers count differently; {} more are in {FILE}",
                prompts - PROMPTS
            ));
        }
        Self { prompts, shown: all, sets, notes }
    }
}

/// The set of an answer, as a page calls it.
fn set(one: &Generation) -> String {
    let set = match one.set {
        Set::Harmful => "harmful",
        Set::Harmless => "harmless",
        Set::Task => "task",
    };
    one.name.as_ref().map_or_else(|| set.to_owned(), |name| format!("{name}: {set}"))
}

/// The prompt: the user's words alone, if that is all there is.
fn prompt(one: &Generation) -> String {
    match &one.messages[..] {
        [only] => only.content.to_string(),
        several => {
            let lines = several.iter().map(|one| format!("{}: {}", one.role, one.content));
            lines.collect::<Vec<_>>().join("\n")
        }
    }
}

fn given(one: &Generation, name: impl Fn(&str) -> String) -> Given {
    let (outcome, good) = match (one.correct, one.set, one.outcome) {
        (Some(true), ..) => ("right", Some(true)),
        (Some(false), ..) => ("wrong", Some(false)),
        (None, Set::Task, _) => ("", None),
        (None, set, Outcome::Refused) => ("refused", Some(set == Set::Harmful)),
        (None, set, Outcome::Partial) => ("refused in part", Some(set != Set::Harmful)),
        (None, set, Outcome::Complied) => ("answered", Some(set != Set::Harmful)),
    };
    let judged = one.judges.iter().map(|(judge, grade)| match (&grade.status, &grade.score) {
        (None, score) if !score.is_null() => format!("{judge}: {score}"),
        _ => format!("{judge}: no score"),
    });
    Given {
        model: name(&one.model),
        text: shown(&one.answer, TEXT.0),
        thought: one.thought.as_deref().map(|thought| shown(thought, TEXT.1)),
        outcome,
        good,
        judged: judged.collect(),
    }
}
