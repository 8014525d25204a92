//! How well scores rank positives above negatives. Equal scores are one
//! threshold, so results don't depend on the order of the input. All are nothing
//! without both classes, for lists of unequal length, and for a NaN.

/// Positives and negatives at or above a threshold, for every distinct score
/// from the highest down; the last entry has all.
fn thresholds(scores: &[f64], positive: &[bool]) -> Option<Vec<(usize, usize)>> {
    if scores.len() != positive.len() || scores.iter().any(|score| score.is_nan()) {
        return None;
    }
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    let mut counts = Vec::new();
    let (mut hits, mut false_alarms) = (0, 0);
    for (at, index) in order.iter().enumerate() {
        if positive[*index] {
            hits += 1;
        } else {
            false_alarms += 1;
        }
        // -0 and 0 compare equal here, though they sort apart.
        let last_of_its_score =
            order.get(at + 1).is_none_or(|next| scores[*next] != scores[*index]);
        if last_of_its_score {
            counts.push((hits, false_alarms));
        }
    }
    (hits > 0 && false_alarms > 0).then_some(counts)
}

/// Area under the ROC curve: the probability that a positive scores above a
/// negative, ties counting half.
pub fn auroc(scores: &[f64], positive: &[bool]) -> Option<f64> {
    let counts = thresholds(scores, positive)?;
    let (all_hits, all_false) = *counts.last()?;
    let mut before = (0, 0);
    let mut area = 0.0;
    for point in counts {
        area += (point.1 - before.1) as f64 * (point.0 + before.0) as f64 / 2.0;
        before = point;
    }
    Some(area / (all_hits as f64 * all_false as f64))
}

/// Area under the precision-recall curve as average precision: the sum over
/// thresholds of the recall gained times the precision there.
pub fn auprc(scores: &[f64], positive: &[bool]) -> Option<f64> {
    let counts = thresholds(scores, positive)?;
    let all_hits = counts.last()?.0 as f64;
    let mut before = 0;
    let mut area = 0.0;
    for (hits, false_alarms) in counts {
        area += (hits - before) as f64 / all_hits * hits as f64 / (hits + false_alarms) as f64;
        before = hits;
    }
    Some(area)
}

/// The highest true positive rate of any threshold whose false positive rate is
/// at most `fpr`.
pub fn tpr_at_fpr(scores: &[f64], positive: &[bool], fpr: f64) -> Option<f64> {
    let counts = thresholds(scores, positive)?;
    let (all_hits, all_false) = *counts.last()?;
    let allowed = fpr * all_false as f64 + 1e-9;
    let best = counts.iter().take_while(|(_, false_alarms)| *false_alarms as f64 <= allowed).last();
    Some(best.map_or(0.0, |(hits, _)| *hits as f64 / all_hits as f64))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::random::Random;

    const SCORES: [f64; 4] = [0.1, 0.4, 0.35, 0.8];
    const POSITIVE: [bool; 4] = [false, false, true, true];

    #[test]
    fn golden_values() {
        assert_eq!(auroc(&SCORES, &POSITIVE), Some(0.75));
        // Recall 1/2 at precision 1, then 1/2 at precision 2/3.
        assert!((auprc(&SCORES, &POSITIVE).unwrap() - (0.5 + 0.5 * 2.0 / 3.0)).abs() < 1e-12);
        assert_eq!(tpr_at_fpr(&SCORES, &POSITIVE, 0.0), Some(0.5));
        assert_eq!(tpr_at_fpr(&SCORES, &POSITIVE, 0.49), Some(0.5));
        assert_eq!(tpr_at_fpr(&SCORES, &POSITIVE, 0.5), Some(1.0));
    }

    #[test]
    fn extremes_and_ties() {
        let positive = [true, true, false, false];
        assert_eq!(auroc(&[4.0, 3.0, 2.0, 1.0], &positive), Some(1.0));
        assert_eq!(auroc(&[1.0, 2.0, 3.0, 4.0], &positive), Some(0.0));
        assert_eq!(auroc(&[7.0; 4], &positive), Some(0.5));
        assert_eq!(auprc(&[7.0; 4], &positive), Some(0.5));
        assert_eq!(tpr_at_fpr(&[7.0; 4], &positive, 0.01), Some(0.0));
        assert_eq!(auroc(&[0.0, -0.0], &[true, false]), Some(0.5));
    }

    #[test]
    fn a_tie_is_not_cut_through_and_an_exact_share_is_allowed() {
        assert_eq!(auroc(&[0.1, 0.4, 0.4, 0.8], &POSITIVE), Some(0.875));
        assert_eq!(tpr_at_fpr(&[0.9, 0.4, 0.35, 0.8], &POSITIVE, 0.01), Some(0.0));
        assert_eq!(tpr_at_fpr(&[0.1, 0.8, 0.35, 0.8], &POSITIVE, 0.01), Some(0.0));
        // 100 negatives, one above the positive: 1% is exactly allowed.
        let mut scores: Vec<f64> = (0..100).map(|i| f64::from(i) / 1000.0).collect();
        scores[0] = 1.0;
        scores.push(0.5);
        let positive: Vec<bool> = (0..101).map(|i| i == 100).collect();
        assert_eq!(tpr_at_fpr(&scores, &positive, 0.01), Some(1.0));
        assert_eq!(tpr_at_fpr(&scores, &positive, 0.009), Some(0.0));
    }

    #[test]
    fn nothing_without_both_classes_or_with_bad_scores() {
        assert_eq!(auroc(&[1.0, 2.0], &[true, true]), None);
        assert_eq!(auprc(&[], &[]), None);
        assert_eq!(tpr_at_fpr(&[1.0, f64::NAN], &[true, false], 0.1), None);
        assert_eq!(auroc(&[1.0, 2.0], &[true]), None);
    }

    #[test]
    fn auroc_is_the_share_of_ordered_pairs() {
        let mut random = Random::new(3);
        for _ in 0..50 {
            let n = 2 + random.next_u64() % 38;
            let scores: Vec<f64> = (0..n).map(|_| (random.next_u64() % 10) as f64).collect();
            let positive: Vec<bool> = (0..n).map(|_| random.uniform() < 0.5).collect();
            let (mut won, mut pairs) = (0.0, 0.0);
            for (a, _) in scores.iter().zip(&positive).filter(|(_, p)| **p) {
                for (b, _) in scores.iter().zip(&positive).filter(|(_, p)| !**p) {
                    won += if a > b {
                        1.0
                    } else if a == b {
                        0.5
                    } else {
                        0.0
                    };
                    pairs += 1.0;
                }
            }
            let expected = (pairs > 0.0).then(|| won / pairs);
            let found = auroc(&scores, &positive);
            assert!(found == expected || (found.unwrap() - expected.unwrap()).abs() < 1e-12);
        }
    }
}
