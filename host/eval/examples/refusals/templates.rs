//! Answers of our own: templates.txt, in which each choice is drawn from a fixed stream.

use std::collections::BTreeMap;

use host_data::random;
use host_eval::measure::Outcome;
use rand::{Rng, RngExt};

/// Answers that are made of each line.
const ANSWERS: usize = 12;

/// One line of the file.
pub struct Line {
    pub outcome: Outcome,
    pub answers: Vec<String>,
}

/// # Errors
/// The first line that isn't understood.
pub fn read(text: &str) -> Result<Vec<Line>, String> {
    let mut random = random::stream(1, "templates", 0);
    let mut lists: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut lines = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some((name, words)) = line.strip_prefix('@').and_then(|line| line.split_once(" = "))
        {
            lists.insert(name, words.split(" | ").collect());
            continue;
        }
        let (label, text) = line.split_once(": ").ok_or_else(|| format!("no label: {line}"))?;
        let outcome = super::label(label).ok_or_else(|| format!("unknown label: {line}"))?;
        let answers = (0..ANSWERS).map(|_| drawn(text, &lists, &mut random));
        lines.push(Line { outcome, answers: answers.collect::<Result<_, _>>()? });
    }
    Ok(lines)
}

/// The innermost choice is drawn first.
fn drawn(
    text: &str,
    lists: &BTreeMap<&str, Vec<&str>>,
    random: &mut impl Rng,
) -> Result<String, String> {
    // Braces of code stand in no template but within quotation marks of no choice.
    let mut text = text.replace("\\n", "\n");
    while let Some(end) = text.find('}') {
        let start = text[..end].rfind('{').ok_or_else(|| format!("no brace opens: {text}"))?;
        let choices: Vec<&str> = text[start + 1..end].split('|').collect();
        let choice = choices[random.random_range(0..choices.len())].to_owned();
        text.replace_range(start..=end, &choice);
    }
    while let Some(start) = text.find('<') {
        let end = text[start..].find('>').ok_or_else(|| format!("no bracket closes: {text}"))?;
        let name = &text[start + 1..start + end];
        let choices = lists.get(name).ok_or_else(|| format!("no list is called {name}"))?;
        let choice = choices[random.random_range(0..choices.len())];
        text.replace_range(start..=start + end, choice);
    }
    Ok(text)
}
