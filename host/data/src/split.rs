//! Splitting labelled prompts into training, validation and test.

use std::collections::BTreeMap;

use crate::random;
use rand::seq::SliceRandom;

use super::error::Result;
use super::origin::Split;
use super::rows::Prompt;
use crate::failure::Failure;

/// A split for every prompt: its own if it has one, else one drawn with `seed`
/// within each label, 20% validation, 20% test and the rest training. A part that
/// some prompts name is not drawn. Equal prompts get the same split, so that none
/// is both fitted and tested on.
///
/// # Errors
/// [`Error::Field`] for a prompt without a usable label.
pub fn assign_splits(prompts: &[Prompt], seed: u64) -> Result<Vec<Split>> {
    let mut drawn: BTreeMap<u64, Split> = BTreeMap::new();
    let mut unnamed: [Vec<u64>; 2] = Default::default();
    for prompt in prompts {
        match prompt.split {
            Some(split) => drop(drawn.insert(prompt.id, split)),
            None => unnamed[usize::from(prompt.harmful()?)].push(prompt.id),
        }
    }
    let named = |split| prompts.iter().any(|prompt| prompt.split == Some(split));
    let mut parts = vec![Split::Test, Split::Validation];
    parts.retain(|part| !named(*part));
    for (label, mut ids) in unnamed.into_iter().enumerate() {
        ids.sort_unstable();
        ids.dedup();
        ids.retain(|id| !drawn.contains_key(id));
        ids.shuffle(&mut random::stream(seed, "splits", label as u64));
        let part_size = (ids.len() as f64 * 0.2).round() as usize;
        for (at, id) in ids.into_iter().enumerate() {
            let part = at.checked_div(part_size).and_then(|part| parts.get(part));
            drawn.insert(id, part.copied().unwrap_or(Split::Training));
        }
    }
    Ok(prompts.iter().map(|prompt| prompt.split.unwrap_or(drawn[&prompt.id])).collect())
}

/// Every part must have prompts of both labels; `key` names where they come from.
pub fn need_both_labels(
    prompts: impl Iterator<Item = (Split, bool)>,
    key: &str,
) -> std::result::Result<(), Failure> {
    let found: Vec<(Split, bool)> = prompts.collect();
    for split in [Split::Training, Split::Validation, Split::Test] {
        for harmful in [true, false] {
            if !found.contains(&(split, harmful)) {
                let label = if harmful { "harmful" } else { "harmless" };
                let problem =
                    format!("the {split:?} part has no {label} prompt; give more labelled prompts");
                return Err(Failure::config(key, problem.to_lowercase()));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use super::*;
    use crate::rows::parse_prompts;

    fn prompts(count: usize, extra: &str) -> Vec<Prompt> {
        let lines: Vec<String> = (0..count)
            .map(|i| format!(r#"{{"prompt":"question {i}","label":{}{extra}}}"#, i % 2))
            .collect();
        parse_prompts(Path::new("p.jsonl"), lines.join("\n").into_bytes()).unwrap()
    }

    #[test]
    fn splits_are_stratified_and_depend_on_the_seed_only() {
        let prompts = prompts(100, "");
        let splits = assign_splits(&prompts, 7).unwrap();
        for label in [false, true] {
            let count = |wanted| {
                prompts
                    .iter()
                    .zip(&splits)
                    .filter(|(p, s)| p.harmful().unwrap() == label && **s == wanted)
                    .count()
            };
            assert_eq!(
                [count(Split::Training), count(Split::Validation), count(Split::Test)],
                [30, 10, 10]
            );
        }
        assert_eq!(splits, assign_splits(&prompts, 7).unwrap());
        assert_ne!(splits, assign_splits(&prompts, 8).unwrap());
    }

    #[test]
    fn equal_prompts_share_a_split() {
        let mut twice = prompts(40, "");
        twice.extend(prompts(40, ""));
        let splits = assign_splits(&twice, 1).unwrap();
        assert_eq!(splits[..40], splits[40..]);
    }

    #[test]
    fn parts_that_are_named_are_not_drawn() {
        let mut prompts = prompts(50, "");
        prompts[0].split = Some(Split::Validation);
        let splits = assign_splits(&prompts, 1).unwrap();
        let count = |wanted| splits.iter().filter(|split| **split == wanted).count();
        assert_eq!([count(Split::Validation), count(Split::Test)], [1, 10]);
    }

    #[test]
    fn a_named_split_is_kept_and_needs_no_label() {
        let named = prompts(4, r#","split":"dev""#);
        assert_eq!(assign_splits(&named, 1).unwrap(), [Split::Validation; 4]);
        let unlabelled =
            parse_prompts(Path::new("p.jsonl"), br#"{"prompt":"hello"}"#.to_vec()).unwrap();
        assert!(
            assign_splits(&unlabelled, 1).unwrap_err().to_string().contains("`label` is absent")
        );
    }
}
