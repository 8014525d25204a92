//! Sizes of what crosses the boundary.

use crate::wit::{Activations, Examples, JudgeScores, Signals};
use std::mem::size_of_val;

/// Bytes of the lists in signals; the rest is small and bounded.
pub fn of_signals(signals: &Signals) -> usize {
    let prefixes = signals.prefixes.iter();
    let prefixes =
        prefixes.map(|p| p.offsets.len() * 4 + p.ends.len() * 4 + p.judgements.len() * 16);
    let tokens = signals.tokens.as_ref();
    let tokens = tokens.map_or(0, |t| 4 * (t.offsets.len() + t.current.len() + t.reference.len()));
    let trials = signals.trials.iter().map(|trial| size_of_val(&trial.margins[..]));
    let canary = signals.canary.as_ref().map_or(0, |canary| size_of_val(&canary.margins[..]));
    size_of_val(&signals.samples[..])
        + sizes(&signals.activations, &signals.judges)
        + prefixes.sum::<usize>()
        + tokens
        + trials.sum::<usize>()
        + canary
}

fn sizes(activations: &[Activations], judges: &[JudgeScores]) -> usize {
    let activations = activations.iter().map(|a| size_of_val(&a.values[..]));
    let judges = judges.iter().map(|j| j.judgements.len() * 16);
    activations.sum::<usize>() + judges.sum::<usize>()
}

/// Bytes of labelled examples.
pub fn of_examples(examples: &Examples) -> usize {
    size_of_val(&examples.examples[..]) + sizes(&examples.activations, &examples.judges)
}
