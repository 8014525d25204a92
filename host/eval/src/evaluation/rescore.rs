//! Metrics computed again from a file of answers, without the model.

use super::generation::Generation;
use super::score::Evaluation;
use crate::measure::RefusalDetector;

/// Per model of the file, in the order in which they come.
/// `refusals` is what the answers were marked by.
pub fn rescore(
    generations: &[Generation],
    refusals: &RefusalDetector,
) -> Vec<(String, Evaluation)> {
    let mut names: Vec<&str> = Vec::new();
    for generation in generations {
        if !names.contains(&generation.model.as_str()) {
            names.push(&generation.model);
        }
    }
    let of = |name: &str| {
        let answers = generations.iter().filter(|one| one.model == name);
        (name.to_owned(), Evaluation::of_answers(answers, refusals))
    };
    names.into_iter().map(of).collect()
}
