//! Labelled examples to calibrate on: both clusters, in every split.

use host_contract::{Example, Examples, Row, Split, Synthetic};

/// Enough for a classifier in one direction, few enough for one to be fitted quickly.
const EXAMPLES: u64 = 96;
/// Apart from the samples of steps, so that nothing is assessed that was learned.
const FIRST_KEY: u64 = 1 << 40;

/// Examples as the needs ask for them.
pub fn examples(made: &Synthetic<'_>) -> Examples {
    let harmful = |i: u64| i.is_multiple_of(2);
    let split = |i: u64| match i / 2 % 4 {
        0 | 1 => Split::Training,
        2 => Split::Validation,
        _ => Split::Test,
    };
    let row = |i: u64| Row { key: FIRST_KEY + i, level: if harmful(i) { 1.0 } else { 0.0 } };
    let rows: Vec<Row> = (0..EXAMPLES).map(row).collect();
    let labels = (0..EXAMPLES).map(|i| Example { harmful: harmful(i), split: split(i) });
    // Of the run's own rows, one in eight is poisoned.
    let own = 0..u64::from(made.needs.calibration_rows).min(EXAMPLES);
    let own: Vec<Row> = own
        .map(|i| Row {
            key: FIRST_KEY + EXAMPLES + i,
            level: if i.is_multiple_of(8) { 1.0 } else { 0.1 },
        })
        .collect();
    let (row_activations, row_judges) = if own.is_empty() {
        (Vec::new(), Vec::new())
    } else {
        (made.activations(&own), made.judges(&own))
    };
    Examples {
        examples: labels.collect(),
        activations: made.activations(&rows),
        judges: made.judges(&rows),
        row_activations,
        row_judges,
    }
}
