//! How many judgements of a run may be no score before it ends.

use host_contract::{Judgement, JudgementStatus};

/// The run ends if more than a share of the judgements so far are no score. The share is of at
/// least so many, so that the first row without a score doesn't end a long run.
const AT_LEAST: usize = 100;
/// So many without a score one after the other end a run as well: the judge is gone.
const IN_A_ROW: usize = 16;

/// What a run puts up with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FailureLimit {
    /// Of its judgements, from 0 to 1. With 1 a run never ends for it.
    pub share: f64,
    /// Samples that the run will have judged.
    pub planned: usize,
}

/// Judgements of a run so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub asked: usize,
    pub unscored: usize,
    in_a_row: usize,
}

impl Counts {
    pub fn add(&mut self, judgements: &[Judgement]) {
        for judgement in judgements {
            let scored = judgement.status == JudgementStatus::Scored;
            self.asked += 1;
            self.unscored += usize::from(!scored);
            self.in_a_row = if scored { 0 } else { self.in_a_row + 1 };
        }
    }

    /// What ends the run, in a few words.
    pub fn exceed(&self, limit: FailureLimit) -> Option<String> {
        if limit.share >= 1.0 {
            return None;
        }
        let of = self.asked.max(limit.planned.min(AT_LEAST));
        if self.unscored as f64 > limit.share * of as f64 {
            return Some(format!(
                "it gave no score for {} of {} pairs, more than trust.judge_failures = {} allows",
                self.unscored, self.asked, limit.share
            ));
        }
        (self.in_a_row >= IN_A_ROW)
            .then(|| format!("it gave no score for the last {} pairs", self.in_a_row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unknown;

    /// Whether a run that has `planned` samples survives these, of which a 1 is no score.
    fn survives(share: f64, planned: usize, judged: &[u8]) -> bool {
        let mut counts = Counts::default();
        judged.iter().all(|bad| {
            counts.add(&[match bad {
                0 => Judgement { status: JudgementStatus::Scored, score: 1.0 },
                _ => unknown(JudgementStatus::Failed),
            }]);
            counts.exceed(FailureLimit { share, planned }).is_none()
        })
    }

    #[test]
    fn a_run_ends_where_more_than_its_share_has_no_score() {
        assert!(survives(0.05, 1000, &[1; 5]));
        assert!(!survives(0.05, 1000, &[1; 6]));
        // Of 40 rows two are a twentieth.
        assert!(survives(0.05, 40, &[1, 1]));
        assert!(!survives(0.05, 40, &[1, 1, 1]));
        assert!(!survives(0.0, 1000, &[1]));
        assert!(survives(1.0, 40, &[1; 40]));
    }

    #[test]
    fn a_judge_that_is_gone_ends_a_run_that_was_well_for_long() {
        let long = |bad: usize| [vec![0; 2000], vec![1; bad]].concat();
        assert!(survives(0.05, 4000, &long(15)));
        assert!(!survives(0.05, 4000, &long(16)));
    }
}
