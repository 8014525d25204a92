//! Shares of answers, model by model, as rows of dots.

use host_eval::evaluation::Evaluation;
use host_eval::measure::Rate;
use host_eval::report::Report;
use host_html::chart::{Dot, Dots, Line, REFERENCE};

/// Colours of the policy's model and of plain fine-tuning, wherever they are shown.
pub const POLICY: usize = 0;
/// See [`POLICY`].
pub const PLAIN: usize = 1;

/// The models of a report in the order of its table: name, colour, evaluation.
pub fn models(report: &Report) -> Vec<(String, usize, Option<&Evaluation>)> {
    let after = report.policy.clone().unwrap_or_else(|| "fine-tuned".into());
    let colour = if report.policy.is_some() { POLICY } else { PLAIN };
    let all = [
        ("before".to_owned(), REFERENCE, report.before.as_ref(), false),
        (
            "plain fine-tuning".into(),
            PLAIN,
            report.baseline_after.as_ref(),
            report.baseline.is_some(),
        ),
        (after, colour, report.after.as_ref(), report.trained.is_some()),
    ];
    let there =
        all.into_iter().filter(|(_, _, evaluation, trained)| evaluation.is_some() || *trained);
    there.map(|(name, colour, evaluation, _)| (name, colour, evaluation)).collect()
}

type Share = fn(&Evaluation) -> Option<Rate>;

const SHARES: [(&str, Share); 5] = [
    ("harmful requests refused", |one| one.refusal),
    ("harmless requests refused", |one| one.over_refusal),
    ("task: exact match", |one| one.exact_match),
    ("task: number match", |one| one.number_match),
    ("task: choices", |one| one.choice_accuracy),
];

/// The shares that any model has.
pub fn of(report: &Report) -> Option<Dots> {
    let models = models(report);
    let lines = SHARES.into_iter().filter_map(|(name, share)| {
        let dots = models.iter().filter_map(|(model, colour, evaluation)| {
            let rate = share((*evaluation)?)?;
            Some(Dot {
                name: model.clone(),
                colour: *colour,
                share: rate.value()?,
                interval: rate.interval(),
            })
        });
        let dots: Vec<Dot> = dots.collect();
        (!dots.is_empty()).then(|| Line { name: name.into(), dots })
    });
    let lines: Vec<Line> = lines.collect();
    let title = "Shares of answers, with 95% intervals";
    (!lines.is_empty()).then(|| Dots { title: title.into(), lines })
}
