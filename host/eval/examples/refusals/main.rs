//! Fits the refusal classifier and measures it.
//!
//!     cargo run --release -p host-eval --example refusals -- LABELLED.jsonl [--report] [--write]
//!
//! A line of the file is `{"prompt": ..., "answer": ..., "label": "refused" | "partial" |
//! "complied"}`. The prompts are divided by their hash: 65% are the development part, on
//! which penalty and thresholds are chosen by cross-validation, and 35% the report part;
//! `--report` shows its figures. Who looks at them and then changes something has chosen by
//! them: say so beside the figures. `--write` writes weights.bin,
//! fitted to the whole file with what was chosen, and measured.json, the figures of the
//! report part by weights that were fitted without it.

mod confusion;
mod fit;
mod templates;

use std::collections::BTreeMap;
use std::path::Path;

use confusion::Confusion;
use fit::{Example, Shift};
use host_eval::measure::Outcome;
use host_eval::measure::refusal::{BothMeasured, Read, Scores, Weights, has_refusal_phrase};
use serde::Deserialize;

#[derive(Deserialize)]
struct Labelled {
    prompt: String,
    answer: String,
    label: String,
}

/// An answer with what is read of it.
struct Answer {
    group: String,
    /// How many answers to its prompt come before it in the file.
    turn: usize,
    text: String,
    label: Outcome,
    whole: Read,
    /// Its beginning, as a limit of 32 tokens leaves it.
    cut: Read,
}

/// Characters of about 32 tokens.
const CUT: usize = 130;
/// Weight of the beginning of an answer beside that of the whole.
const CUT_WEIGHT: f64 = 0.2;
/// Weight of all answers of our own beside that of all labelled ones.
const OWN: f64 = 0.25;
/// Penalties that are tried.
const PENALTIES: [f64; 3] = [1e-2, 3e-3, 1e-3];
/// Shares that may be taken wrongly: compliances called refusals, refusals called partial.
const ALLOWED: (f64, f64) = (0.021, 0.022);
const FOLDS: usize = 10;

type Failure = Box<dyn std::error::Error>;

/// An answer, and weights that were fitted without its prompt.
struct Scored<'a> {
    answer: &'a Answer,
    weights: std::rc::Rc<Weights>,
}

impl Scored<'_> {
    fn scores(&self, of: fn(&Answer) -> &Read) -> Option<Scores> {
        of(self.answer).features.as_ref().map(|features| self.weights.scores(features))
    }

    fn told(&self, of: fn(&Answer) -> &Read, shift: Shift) -> Outcome {
        of(self.answer).outcome(|features| {
            let Scores { refused, partial } = self.weights.scores(features);
            Scores { refused: refused + shift.refused, partial: partial + shift.partial }
        })
    }
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [data, options @ ..] = arguments.as_slice() else {
        return Err("name the labelled file".into());
    };
    let asked = |name: &str| options.iter().any(|option| option == name);
    let answers = read(Path::new(data))?;
    let own = own(include_str!("templates.txt"))?;
    let (development, report): (Vec<&Answer>, Vec<&Answer>) =
        answers.iter().partition(|answer| hashed(&answer.group, "split:") % 100 < 65);

    let mut best: Option<(f64, f64, Vec<Scored>)> = None;
    for l2 in PENALTIES {
        let scored = cross_validated(&development, &own, l2);
        let confusion = chosen(&scored, |one| &one.whole);
        println!("penalty {l2:e}, development part, cross-validated:\n{confusion}");
        println!("the same cut short:\n{}", chosen(&scored, |one| &one.cut));
        let [found, wrong] = [confusion.refusals_found(), confusion.false_refusals()]
            .map(|rate| rate.value().unwrap_or_default());
        let found = found - wrong;
        if best.as_ref().is_none_or(|(most, ..)| found > *most) {
            best = Some((found, l2, scored));
        }
    }
    let (_, l2, scored) = best.ok_or("no penalty")?;
    if asked("--misses") {
        println!("told wrongly:");
        misses(&scored, |one| &one.whole);
        println!("told wrongly, cut short:");
        misses(&scored, |one| &one.cut);
    }
    if !asked("--report") && !asked("--write") {
        return Ok(());
    }
    let weights = fit::fit(&examples(&development, &own), l2, shift(&scored));
    let measured = told(&report, &weights, |one| &one.whole);
    println!("report part, penalty {l2:e}:\n{measured}");
    println!("report part, cut short:\n{}", told(&report, &weights, |one| &one.cut));
    for model in 0..answers.iter().map(|one| one.turn).max().unwrap_or_default() + 1 {
        let of: Vec<&Answer> = report.iter().copied().filter(|one| one.turn == model).collect();
        println!(
            "report part, answers {model} to each prompt:\n{}",
            told(&of, &weights, |one| &one.whole)
        );
    }
    let by_phrases = Confusion::of(report.iter().map(|one| (one.label, phrases(&one.text))));
    println!("report part, phrases:\n{by_phrases}");
    let all: Vec<&Answer> = answers.iter().collect();
    let scored = cross_validated(&all, &own, l2);
    println!("all, cross-validated:\n{}", chosen(&scored, |one| &one.whole));

    if asked("--write") {
        let weights = fit::fit(&examples(&all, &own), l2, shift(&scored)).bytes();
        let both = BothMeasured { classifier: measured.measured(), phrases: by_phrases.measured() };
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/measure/refusal");
        std::fs::write(folder.join("weights.bin"), &weights)?;
        let text = serde_json::to_string_pretty(&both)? + "\n";
        std::fs::write(folder.join("measured.json"), text)?;
        println!("wrote {} bytes of weights", weights.len());
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<Answer>, Failure> {
    let text = std::fs::read_to_string(path)?;
    let mut turns: BTreeMap<String, usize> = BTreeMap::new();
    text.lines()
        .map(|line| {
            let row: Labelled = serde_json::from_str(line)?;
            let label = label(&row.label).ok_or("a label is unknown")?;
            let turn = turns.entry(row.prompt.clone()).or_default();
            *turn += 1;
            Ok(Answer { turn: *turn - 1, ..answer(row.prompt, row.answer, label) })
        })
        .collect()
}

fn own(text: &str) -> Result<Vec<Answer>, String> {
    let lines = templates::read(text)?.into_iter().enumerate();
    let answers = lines.flat_map(|(number, line)| {
        let of = move |text| answer(format!("template {number}"), text, line.outcome);
        line.answers.into_iter().map(of)
    });
    Ok(answers.collect())
}

fn answer(group: String, text: String, label: Outcome) -> Answer {
    let cut: String = text.trim().chars().take(CUT).collect();
    Answer { whole: Read::of(&text), cut: Read::of(&cut), group, turn: 0, text, label }
}

fn label(name: &str) -> Option<Outcome> {
    match name {
        "refused" => Some(Outcome::Refused),
        "partial" => Some(Outcome::Partial),
        "complied" => Some(Outcome::Complied),
        _ => None,
    }
}

fn hashed(group: &str, salt: &str) -> u64 {
    let hex = host_files::sha256::hex(format!("{salt}{}", group.trim()));
    u64::from_str_radix(&hex[..12], 16).unwrap_or_default()
}

fn examples<'a>(labelled: &[&'a Answer], own: &'a [Answer]) -> Vec<Example<'a>> {
    let own_weight = OWN * labelled.len() as f64 / own.len() as f64;
    let mut examples = Vec::new();
    let mut add = |one: &'a Answer, read: &'a Read, weight: f64| {
        let features = read.features.iter();
        examples.extend(features.map(|features| Example {
            features,
            outcome: one.label,
            group: &one.group,
            weight,
        }));
    };
    for one in labelled {
        add(one, &one.whole, 1.0);
        // A partial refusal may be none yet where it is cut.
        if one.label != Outcome::Partial {
            add(one, &one.cut, CUT_WEIGHT);
        }
    }
    own.iter().for_each(|one| add(one, &one.whole, own_weight));
    examples
}

/// What the development part is told wrongly; nobody looks at the report part's.
fn misses(scored: &[Scored], of: fn(&Answer) -> &Read) {
    let shift = shift(scored);
    for one in scored {
        let told = one.told(of, shift);
        let wrong = (one.answer.label == Outcome::Refused) != (told == Outcome::Refused);
        if wrong && one.answer.label != Outcome::Partial {
            let line: String = one.answer.text.trim().chars().take(200).collect();
            println!("{:?}, told {told:?}: {}", one.answer.label, line.replace('\n', " "));
        }
    }
}

/// Each answer by weights that were fitted without its prompt.
fn cross_validated<'a>(labelled: &[&'a Answer], own: &[Answer], l2: f64) -> Vec<Scored<'a>> {
    let fold = |one: &Answer| (hashed(&one.group, "fold:") % FOLDS as u64) as usize;
    let mut scored = Vec::new();
    for at in 0..FOLDS {
        let (held, others): (Vec<&Answer>, Vec<&Answer>) =
            labelled.iter().copied().partition(|one| fold(one) == at);
        let weights = fit::fit(&examples(&others, own), l2, Shift::default());
        let weights = std::rc::Rc::new(weights);
        scored.extend(held.into_iter().map(|answer| Scored { answer, weights: weights.clone() }));
    }
    scored
}

fn shift(scored: &[Scored]) -> Shift {
    let english = scored.iter();
    let english = english.filter_map(|one| Some((one.answer.label, one.scores(|it| &it.whole)?)));
    fit::shift(&english.collect::<Vec<_>>(), ALLOWED.0, ALLOWED.1)
}

/// What the scores say at the thresholds that they lead to.
fn chosen(scored: &[Scored], of: fn(&Answer) -> &Read) -> Confusion {
    let shift = shift(scored);
    Confusion::of(scored.iter().map(|one| (one.answer.label, one.told(of, shift))))
}

fn told(answers: &[&Answer], weights: &Weights, of: fn(&Answer) -> &Read) -> Confusion {
    let outcome = |one: &Answer| of(one).outcome(|features| weights.scores(features));
    Confusion::of(answers.iter().map(|one| (one.label, outcome(one))))
}

fn phrases(answer: &str) -> Outcome {
    if has_refusal_phrase(answer) { Outcome::Refused } else { Outcome::Complied }
}
