//! The columns of a comparison.

use crate::evaluation::{Evaluation, Further};
use crate::measure::{Harm, Mean, Rate};
use crate::report::Trained;

/// In the order of a table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Metric {
    AttackSuccess,
    /// Harmful requests refused in part, which are among those of the attack's success.
    PartialRefusal,
    Judge(String, Judged),
    OverRefusal,
    PartialOverRefusal,
    /// Answers that count as such for want of a language in which refusals are found.
    Unread,
    RefusalMargin,
    ExactMatch,
    NumberMatch,
    ChoiceAccuracy,
    TaskLoss,
    Perplexity,
    Kl,
    /// Of a set of `eval.further`: its name, and which of the metrics above.
    Further(String, Box<Metric>),
    TrainingSeconds,
}

/// What a judge finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Judged {
    AttackSuccess,
    Score,
    StrongReject,
    /// Answers without a judgement.
    Unknown,
}

/// How a number is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A share, as percent with one decimal.
    Percent,
    /// With so many decimals.
    Number(usize),
}

/// One model's value, with its 95% interval where it has one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Measured {
    pub value: f64,
    pub interval: Option<(f64, f64)>,
}

impl Metric {
    /// For programs.
    pub fn key(&self) -> String {
        match self {
            Self::AttackSuccess => "attack_success".into(),
            Self::PartialRefusal => "partial_refusal".into(),
            Self::Judge(name, judged) => {
                let what = match judged {
                    Judged::AttackSuccess => "attack_success",
                    Judged::Score => "harm",
                    Judged::StrongReject => "strongreject",
                    Judged::Unknown => "unknown",
                };
                format!("judge_{name}_{what}")
            }
            Self::OverRefusal => "over_refusal".into(),
            Self::PartialOverRefusal => "partial_over_refusal".into(),
            Self::Unread => "unknown_language".into(),
            Self::RefusalMargin => "refusal_margin".into(),
            Self::ExactMatch => "exact_match".into(),
            Self::NumberMatch => "number_match".into(),
            Self::ChoiceAccuracy => "choice_accuracy".into(),
            Self::TaskLoss => "task_loss".into(),
            Self::Perplexity => "perplexity".into(),
            Self::Kl => "kl".into(),
            Self::Further(name, metric) => format!("{name}_{}", metric.key()),
            Self::TrainingSeconds => "training_seconds".into(),
        }
    }

    /// For people.
    pub fn title(&self) -> String {
        match self {
            Self::AttackSuccess => "not refused %".into(),
            Self::PartialRefusal => "of it in part %".into(),
            Self::Judge(name, judged) => match judged {
                Judged::AttackSuccess => format!("ASR {name} %"),
                Judged::Score => format!("harm {name}"),
                Judged::StrongReject => format!("StrongREJECT {name}"),
                Judged::Unknown => format!("unknown to {name}"),
            },
            Self::OverRefusal => "over-refusal %".into(),
            Self::PartialOverRefusal => "in part %".into(),
            Self::Unread => "language unknown %".into(),
            Self::RefusalMargin => "margin".into(),
            Self::ExactMatch => "exact %".into(),
            Self::NumberMatch => "number %".into(),
            Self::ChoiceAccuracy => "choice %".into(),
            Self::TaskLoss => "loss".into(),
            Self::Perplexity => "perplexity".into(),
            Self::Kl => "KL".into(),
            Self::Further(name, metric) => format!("{name}: {}", metric.title()),
            Self::TrainingSeconds => "training s".into(),
        }
    }

    pub fn unit(&self) -> Unit {
        match self {
            Self::AttackSuccess
            | Self::PartialRefusal
            | Self::Judge(_, Judged::AttackSuccess)
            | Self::OverRefusal
            | Self::PartialOverRefusal
            | Self::Unread
            | Self::ExactMatch
            | Self::NumberMatch
            | Self::ChoiceAccuracy => Unit::Percent,
            Self::Judge(_, Judged::Unknown) => Unit::Number(0),
            Self::Further(_, metric) => metric.unit(),
            Self::TrainingSeconds => Unit::Number(1),
            Self::Judge(_, Judged::Score) | Self::RefusalMargin | Self::Perplexity => {
                Unit::Number(2)
            }
            Self::Judge(_, Judged::StrongReject) | Self::TaskLoss | Self::Kl => Unit::Number(3),
        }
    }
}

/// All that is known of one model.
pub(super) fn of(
    evaluation: Option<&Evaluation>,
    trained: Option<&Trained>,
) -> Vec<(Metric, Measured)> {
    let mut found = Vec::new();
    if let Some(evaluation) = evaluation {
        found.extend([
            (Metric::AttackSuccess, rate(evaluation.attack_success)),
            (Metric::PartialRefusal, rate(evaluation.partial_refusal)),
            (Metric::OverRefusal, rate(evaluation.over_refusal)),
            (Metric::PartialOverRefusal, rate(evaluation.partial_over_refusal)),
            (Metric::Unread, rate(evaluation.unread)),
            (Metric::RefusalMargin, mean(evaluation.refusal_margin)),
            (Metric::ExactMatch, rate(evaluation.exact_match)),
            (Metric::NumberMatch, rate(evaluation.number_match)),
            (Metric::ChoiceAccuracy, rate(evaluation.choice_accuracy)),
            (Metric::TaskLoss, mean(evaluation.task_loss)),
            (Metric::Perplexity, mean(evaluation.perplexity)),
            (Metric::Kl, mean(evaluation.kl)),
        ]);
        for (name, harm) in &evaluation.judges {
            let of_judge = |(judged, measured)| (Metric::Judge(name.clone(), judged), measured);
            found.extend(judge(harm).map(of_judge));
        }
        found.extend(evaluation.further.iter().flat_map(|(name, set)| further(name, set)));
    }
    let seconds = trained.map(|trained| exact(trained.totals.seconds));
    found.push((Metric::TrainingSeconds, seconds));
    let known = |(metric, measured): (Metric, Option<Measured>)| Some((metric, measured?));
    found.into_iter().filter_map(known).collect()
}

fn further(name: &str, set: &Further) -> Vec<(Metric, Option<Measured>)> {
    let of_set = |(metric, found)| (Metric::Further(name.to_owned(), Box::new(metric)), found);
    let judged = set.judges.iter().flat_map(|(name, harm)| {
        judge(harm).map(|(judged, found)| (Metric::Judge(name.clone(), judged), found))
    });
    [
        (Metric::AttackSuccess, rate(set.attack_success)),
        (Metric::PartialRefusal, rate(set.partial_refusal)),
        (Metric::OverRefusal, rate(set.over_refusal)),
    ]
    .into_iter()
    .chain(judged)
    .map(of_set)
    .collect()
}

fn judge(harm: &Harm) -> [(Judged, Option<Measured>); 4] {
    let unknown = (harm.unknown() > 0).then(|| exact(harm.unknown() as f64));
    [
        (Judged::AttackSuccess, rate(harm.attack_success)),
        (Judged::Score, mean(harm.score)),
        (Judged::StrongReject, mean(harm.strongreject)),
        (Judged::Unknown, unknown),
    ]
}

fn rate(rate: Option<Rate>) -> Option<Measured> {
    let rate = rate?;
    Some(Measured { value: rate.value()?, interval: rate.interval() })
}

fn mean(mean: Option<Mean>) -> Option<Measured> {
    mean.map(|mean| Measured { value: mean.mean, interval: mean.interval })
}

fn exact(value: f64) -> Measured {
    Measured { value, interval: None }
}
