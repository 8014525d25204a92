//! Fits a head for a sentence embedding model on labelled rows.
//!
//! How strongly to hold the weights down is chosen on the validation part and reported on
//! the test part, which nothing was chosen on. A long row is several windows: each of them
//! is an example of the row's label, and the row's score is the highest of theirs.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use host_contract::{Candidate, Metric};
use host_data::Progress;
use host_data::failure::{Failure as Error, Result};
use host_data::need_both_labels;
use host_data::{self as data, DataSource, Prompt, Reader, Split};
use host_model::Message;
use host_model::bert::Encoder;
use host_stats::{auprc, auroc, tpr_at_fpr};
use rayon::prelude::*;
use serde::Serialize;

use super::Pair;
use super::control::{HARMFUL, HARMLESS};
use super::kinds::{Head, Reads, local};
use super::logistic::Linear;

/// Penalties to choose from.
const PENALTIES: [f64; 4] = [1e-2, 1e-3, 1e-4, 1e-5];

/// Rows that are embedded between two looks at `stop`.
const CHUNK: usize = 64;

/// A head, and what was tried.
#[derive(Debug, Serialize)]
pub struct Fitted {
    pub head: Head,
    pub candidates: Vec<Candidate>,
    pub summary: String,
}

/// A row's windows, embedded.
struct Embedded {
    windows: Vec<Vec<f32>>,
    harmful: bool,
    split: Split,
}

/// # Errors
/// If model or rows can't be read, if rows lack a label or the answer that is read, or if
/// a part lacks a label; [`Error::Interrupted`] if `stop` becomes true.
pub fn fit(
    model: &Path,
    labelled: &[DataSource],
    reads: Reads,
    reader: &Reader,
    observer: &mut dyn Progress,
    stop: &AtomicBool,
) -> Result<Fitted> {
    let prompts = reader.prompts(labelled)?;
    let splits = data::assign_splits(&prompts, reader.seed)?;
    let encoder = Encoder::load(model)?;
    observer.stage("embedding the rows", Some(prompts.len() as u64));
    let mut rows = Vec::with_capacity(prompts.len());
    let parts: Vec<(&Prompt, Split)> = prompts.iter().zip(splits).collect();
    for chunk in parts.chunks(CHUNK) {
        if stop.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        let embed = |(prompt, split): &(&Prompt, Split)| embed(&encoder, prompt, *split, reads);
        let embedded: Result<Vec<Embedded>> = chunk.par_iter().map(embed).collect();
        rows.extend(embedded?);
        observer.advance(chunk.len() as u64);
    }
    need_both_labels(rows.iter().map(|row| (row.split, row.harmful)), "--labelled")?;
    observer.stage("fitting", None);
    let fitted = choose(&rows, encoder.digest(), reads)?;
    let embedded = [HARMLESS, HARMFUL].map(|[request, answer]| {
        let messages = [Message::user(request)];
        encoder.embed(&reads.text(&Pair { messages: &messages, answer }))
    });
    let [harmless, harmful] = embedded;
    if let Some(notice) = blind(&fitted.head.linear, &harmless?, &harmful?) {
        observer.notice(&notice);
    }
    Ok(fitted)
}

/// Says so if a judge with this head would be refused.
fn blind(linear: &Linear, harmless: &[Vec<f32>], harmful: &[Vec<f32>]) -> Option<String> {
    let harm = |windows: &[Vec<f32>]| {
        let harm = windows.iter().map(|window| linear.probability(window));
        local::highest(harm).unwrap_or(f64::NAN)
    };
    let (harmless, harmful) = (harm(harmless), harm(harmful));
    let sees = harmful > harmless;
    (!sees).then(|| {
        format!(
            "the head finds a plainly harmful pair (P {harmful:.4}) no worse than a plainly harmless \
             one (P {harmless:.4}), so a judge with it will be refused; fit it on more rows, or on \
             rows of another kind"
        )
    })
}

fn embed(encoder: &Encoder, prompt: &Prompt, split: Split, reads: Reads) -> Result<Embedded> {
    let answer = match (prompt.expected(), reads) {
        (Some(answer), _) => answer,
        (None, Reads::Prompt) => "",
        (None, _) => {
            let problem = format!("{} has no answer to read; use --reads prompt", prompt.place);
            return Err(Error::config("--labelled", problem));
        }
    };
    let messages: &[Message] = &prompt.messages;
    Ok(Embedded {
        windows: encoder.embed(&reads.text(&Pair { messages, answer }))?,
        harmful: prompt.harmful()?,
        split,
    })
}

fn choose(rows: &[Embedded], digest: &str, reads: Reads) -> Result<Fitted> {
    let of = |split: Split| rows.iter().filter(move |row| row.split == split);
    let training = of(Split::Training);
    let examples = training.flat_map(|row| row.windows.iter().map(|it| (it.clone(), row.harmful)));
    let (windows, labels): (Vec<Vec<f32>>, Vec<bool>) = examples.unzip();
    let mut tried = Vec::new();
    for penalty in PENALTIES {
        let linear = Linear::fit(&windows, &labels, penalty)?;
        let validation = metrics("validation", &linear, of(Split::Validation));
        let test = metrics("test", &linear, of(Split::Test));
        let candidate = Candidate {
            name: format!("penalty {penalty:e}"),
            layer: None,
            metrics: [validation, test].concat(),
            chosen: false,
        };
        tried.push((linear, candidate));
    }
    // Of equals the first, which is held down the most.
    let mut best = 0;
    for (index, (_, candidate)) in tried.iter().enumerate() {
        if value(candidate, "validation.auroc") > value(&tried[best].1, "validation.auroc") {
            best = index;
        }
    }
    tried[best].1.chosen = true;
    let linear = tried[best].0.clone();
    let candidates: Vec<Candidate> = tried.into_iter().map(|(_, candidate)| candidate).collect();
    let test = |name: &str| value(&candidates[best], &format!("test.{name}"));
    let summary = format!(
        "{}, fitted on {} rows: test AUROC {:.4}, AUPRC {:.4}, TPR at 1% FPR {:.4}",
        candidates[best].name,
        of(Split::Training).count(),
        test("auroc"),
        test("auprc"),
        test("tpr_at_1_fpr"),
    );
    let head =
        Head { model_digest: digest.to_owned(), reads, rows: of(Split::Training).count(), linear };
    Ok(Fitted { head, candidates, summary })
}

fn metrics<'r>(
    part: &str,
    linear: &Linear,
    rows: impl Iterator<Item = &'r Embedded>,
) -> Vec<Metric> {
    let (scores, labels): (Vec<f64>, Vec<bool>) = rows
        .map(|row| {
            let windows = row.windows.iter().map(|window| linear.probability(window));
            (local::highest(windows).unwrap_or(f64::NAN), row.harmful)
        })
        .unzip();
    let found = [
        ("auroc", auroc(&scores, &labels)),
        ("auprc", auprc(&scores, &labels)),
        ("tpr_at_1_fpr", tpr_at_fpr(&scores, &labels, 0.01)),
    ];
    let metric = |(name, value): (&str, Option<f64>)| {
        Some(Metric { name: format!("{part}.{name}"), value: value? })
    };
    found.into_iter().filter_map(metric).collect()
}

fn value(candidate: &Candidate, name: &str) -> f64 {
    let found = candidate.metrics.iter().find(|metric| metric.name == name);
    found.map_or(f64::NAN, |metric| metric.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(value: f32, harmful: bool, split: Split) -> Embedded {
        Embedded { windows: vec![vec![0.0, 1.0], vec![value, 1.0 - value]], harmful, split }
    }

    #[test]
    fn a_head_that_sees_no_harm_is_told() {
        let linear = Linear { weights: vec![4.0], bias: 0.0 };
        let window = |value: f32| [vec![value]];
        assert_eq!(blind(&linear, &window(-1.0), &window(1.0)), None);
        for (harmless, harmful) in [(1.0, -1.0), (1.0, 1.0)] {
            let notice = blind(&linear, &window(harmless), &window(harmful)).expect("told");
            assert!(notice.contains("will be refused"), "{notice}");
        }
    }

    #[test]
    fn the_head_is_chosen_on_validation_and_scores_by_the_highest_window() {
        let mut rows = Vec::new();
        for split in [Split::Training, Split::Validation, Split::Test] {
            rows.extend((0..20).map(|at| row(at as f32 / 20.0, at >= 10, split)));
        }
        let fitted = choose(&rows, "digest", Reads::Both).expect("fitted");
        assert_eq!(fitted.candidates.len(), PENALTIES.len());
        let chosen = fitted.candidates.iter().filter(|it| it.chosen).count();
        assert_eq!((chosen, fitted.head.rows), (1, 20));
        assert_eq!(value(&fitted.candidates[0], "test.auroc"), 1.0);
        assert!(fitted.summary.contains("test AUROC 1.0000"));
        let high = fitted.head.linear.probability(&[0.9, 0.1]);
        assert!(high > fitted.head.linear.probability(&[0.1, 0.9]));
    }
}
