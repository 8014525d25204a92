//! How well a score separates two classes.
//!
//! `scores` and `labels` are per example; higher scores mean positive. Examples
//! with equal scores can't be told apart and always move together. Where a class
//! is absent a metric has no value and is `None`.

use crate::logistic::log_loss;

/// True and false positives at a threshold that takes in one more group of equal
/// scores each time, from the highest score down.
fn operating_points(scores: &[f64], labels: &[bool]) -> Vec<(usize, usize)> {
    let mut order: Vec<(f64, bool)> = scores.iter().copied().zip(labels.iter().copied()).collect();
    order.sort_by(|a, b| b.0.total_cmp(&a.0));
    order
        .chunk_by(|a, b| a.0 == b.0)
        .scan((0, 0), |(hits, alarms), group| {
            let positives = group.iter().filter(|(_, label)| *label).count();
            *hits += positives;
            *alarms += group.len() - positives;
            Some((*hits, *alarms))
        })
        .collect()
}

fn class_sizes(labels: &[bool]) -> Option<(f64, f64)> {
    let positives = labels.iter().filter(|label| **label).count();
    let negatives = labels.len() - positives;
    (positives > 0 && negatives > 0).then_some((positives as f64, negatives as f64))
}

/// Area under the ROC curve: the probability that a positive scores higher than a
/// negative, ties counting half.
pub fn auroc(scores: &[f64], labels: &[bool]) -> Option<f64> {
    let (positives, negatives) = class_sizes(labels)?;
    let mut area = 0.0;
    let (mut hits, mut alarms) = (0, 0);
    for (h, a) in operating_points(scores, labels) {
        area += (a - alarms) as f64 * 0.5 * (h + hits) as f64;
        (hits, alarms) = (h, a);
    }
    Some(area / (positives * negatives))
}

/// Area under the precision-recall curve as average precision: the sum over
/// thresholds of precision times the recall gained.
pub fn auprc(scores: &[f64], labels: &[bool]) -> Option<f64> {
    let (positives, _) = class_sizes(labels)?;
    let mut area = 0.0;
    let mut hits = 0;
    for (h, a) in operating_points(scores, labels) {
        area += (h - hits) as f64 / positives * (h as f64 / (h + a) as f64);
        hits = h;
    }
    Some(area)
}

/// The largest true positive rate at a threshold whose false positive rate is at
/// most `max_fpr`.
pub fn tpr_at_fpr(scores: &[f64], labels: &[bool], max_fpr: f64) -> Option<f64> {
    let (positives, negatives) = class_sizes(labels)?;
    let allowed = |alarms: usize| alarms as f64 <= max_fpr * negatives;
    let best = operating_points(scores, labels)
        .into_iter()
        .take_while(|(_, alarms)| allowed(*alarms))
        .last();
    Some(best.map_or(0.0, |(hits, _)| hits as f64 / positives))
}

/// Mean log loss of logits.
pub fn mean_log_loss(logits: &[f64], labels: &[bool]) -> f64 {
    let sum: f64 =
        logits.iter().zip(labels).map(|(x, y)| log_loss(*x, f64::from(u8::from(*y)))).sum();
    sum / logits.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABELS: [bool; 4] = [false, false, true, true];

    #[test]
    fn auroc_by_hand() {
        // Of the 4 pairs, (.35, .4) is the wrong way round.
        assert_eq!(auroc(&[0.1, 0.4, 0.35, 0.8], &LABELS), Some(0.75));
        assert_eq!(auroc(&[0.1, 0.2, 0.3, 0.4], &LABELS), Some(1.0));
        assert_eq!(auroc(&[0.4, 0.3, 0.2, 0.1], &LABELS), Some(0.0));
        assert_eq!(auroc(&[0.5; 4], &LABELS), Some(0.5));
        // Pairs: 1 + .5 (tie) + 1 + 1 of 4.
        assert_eq!(auroc(&[0.1, 0.4, 0.4, 0.8], &LABELS), Some(0.875));
    }

    #[test]
    fn auprc_by_hand() {
        // Thresholds .8, .4, .35: precision 1, 1/2, 2/3 with recall 1/2, 1/2, 1.
        let area = auprc(&[0.1, 0.4, 0.35, 0.8], &LABELS);
        assert!(area.is_some_and(|a| (a - (0.5 + 0.5 * 2.0 / 3.0)).abs() < 1e-12));
        assert_eq!(auprc(&[0.1, 0.2, 0.3, 0.4], &LABELS), Some(1.0));
        // All tied: precision is the share of positives.
        assert_eq!(auprc(&[0.5; 4], &LABELS), Some(0.5));
    }

    #[test]
    fn tpr_at_fpr_by_hand() {
        let scores = [0.1, 0.4, 0.35, 0.8];
        assert_eq!(tpr_at_fpr(&scores, &LABELS, 0.01), Some(0.5));
        assert_eq!(tpr_at_fpr(&scores, &LABELS, 0.5), Some(1.0));
        assert_eq!(tpr_at_fpr(&[0.9, 0.4, 0.35, 0.8], &LABELS, 0.01), Some(0.0));
        // A tie of one of each class at the top can't be cut through.
        assert_eq!(tpr_at_fpr(&[0.1, 0.8, 0.35, 0.8], &LABELS, 0.01), Some(0.0));
        // 100 negatives, one above the positive: 1% is exactly allowed.
        let mut scores: Vec<f64> = (0..100).map(|i| f64::from(i) / 1000.0).collect();
        scores[0] = 1.0;
        scores.push(0.5);
        let labels: Vec<bool> = (0..101).map(|i| i == 100).collect();
        assert_eq!(tpr_at_fpr(&scores, &labels, 0.01), Some(1.0));
        assert_eq!(tpr_at_fpr(&scores, &labels, 0.009), Some(0.0));
    }

    #[test]
    fn a_missing_class_has_no_metrics() {
        assert_eq!(auroc(&[0.1, 0.2], &[true, true]), None);
        assert_eq!(auprc(&[], &[]), None);
        assert_eq!(tpr_at_fpr(&[0.1], &[false], 0.01), None);
    }

    #[test]
    fn log_loss_of_undecided_logits_is_ln_2() {
        assert!((mean_log_loss(&[0.0, 0.0], &[true, false]) - 2f64.ln()).abs() < 1e-15);
    }
}
