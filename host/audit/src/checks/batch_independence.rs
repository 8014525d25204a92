//! Whether the same sample gets the same answer wherever it stands and whoever is
//! beside it.

use super::{
    SAMPLES,
    finding::{Check, Finding, Group},
    observed::{Recorder, number},
};
use crate::synthetic::{Row, Step};
use host_contract::Assessment;
use host_sandbox::Result;

const ORDER: Check = Check::new("order", Group::Behaviour, "Order of the samples");
const INDEPENDENCE: Check =
    Check::new("batch-independence", Group::Behaviour, "Independence of the batch");

/// Sums in another order differ in their last bits.
const SAME: f64 = 1e-9;

pub(super) fn checks(recorder: &Recorder<'_>) -> Vec<Finding> {
    vec![
        order(recorder).unwrap_or_else(|error| ORDER.broken(&error)),
        independence(recorder).unwrap_or_else(|error| INDEPENDENCE.broken(&error)),
    ]
}

/// The same samples, turned round and rotated.
fn order(recorder: &Recorder<'_>) -> Result<Finding> {
    let step = Step::graded((0..SAMPLES).map(|i| i as f64 / 7.0), 0.5);
    let straight = recorder.assess(&step, &[])?.assessment;
    let mut worst = 0.0f64;
    for order in [
        (0..SAMPLES).rev().collect::<Vec<usize>>(),
        (0..SAMPLES).map(|i| (i + 3) % SAMPLES).collect(),
    ] {
        let rows = order.iter().map(|i| step.rows[*i]).collect();
        let turned = recorder.assess(&Step { rows, ..step.clone() }, &[])?.assessment;
        for (place, original) in order.iter().enumerate() {
            worst = worst.max(difference(&turned, place, &straight, *original));
        }
    }
    let measured = format!("largest difference of a sample's risk or weights: {}", number(worst));
    Ok(if worst <= SAME {
        ORDER.pass(measured, "How a batch is shuffled changes nothing for a sample.")
    } else {
        ORDER.note(
            measured,
            "The place of a sample in its batch changes its answer. That is rarely meant.",
        )
    })
}

/// One middling sample among harmless ones, among harmful ones, and alone; the signals
/// of the run as a whole stay the same.
fn independence(recorder: &Recorder<'_>) -> Result<Finding> {
    let sample = Row { key: 1000, level: 0.5 };
    let mut seen = Vec::new();
    for others in [Some(0.0), Some(1.0), None] {
        let mut step =
            Step::of(if others.is_some() { SAMPLES - 1 } else { 0 }, others.unwrap_or(0.5));
        step.danger = 0.5;
        step.rows.insert(0, sample);
        seen.push(recorder.assess(&step, &[])?.assessment);
    }
    let worst = seen.iter().map(|one| difference(one, 0, &seen[0], 0));
    let worst = worst.fold(0.0, f64::max);
    let measured = format!(
        "a sample among harmless ones, among harmful ones and alone: its risk or \
         weights differ by {}",
        number(worst)
    );
    Ok(if worst <= SAME {
        INDEPENDENCE.pass(measured, "Each sample is judged by itself.")
    } else {
        INDEPENDENCE.note(
            measured,
            "Samples are judged as a batch: a few harmful ones among many harmless \
             ones may be diluted, and harmless ones are held with them. A policy \
             may want that; know it.",
        )
    })
}

fn difference(a: &Assessment, i: usize, b: &Assessment, j: usize) -> f64 {
    let of = |one: &Assessment, i: usize| {
        let r = &one.regularization;
        [one.risk[i], r.task_weight[i], r.kl_weight[i]]
    };
    let pairs = of(a, i).into_iter().zip(of(b, j));
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}
