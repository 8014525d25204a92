//! Higher risk must hold a sample more, never less.

use super::{
    SAMPLES,
    finding::{Check, Finding, Group},
    observed::{Recorder, number},
};
use crate::synthetic::Step;
use host_contract::{Action, Assessment, Held, less_held};
use host_sandbox::Result;

const WITHIN: Check = Check::new("monotonic", Group::Behaviour, "Higher risk, stronger hold");
const FOLLOWS: Check = Check::new("risk-follows", Group::Behaviour, "Risk follows the signals");

/// Levels from harmless to harmful, ends included.
const LEVELS: usize = 11;
pub(super) fn checks(recorder: &Recorder<'_>) -> Vec<Finding> {
    let assessments = match graded(recorder) {
        Ok(assessments) => assessments,
        Err(error) => return vec![WITHIN.broken(&error)],
    };
    let held: Vec<Held> = assessments.iter().flat_map(held).collect();
    vec![monotonic(&held), follows(&assessments)]
}

/// One step of mixed samples, then one per level.
fn graded(recorder: &Recorder<'_>) -> Result<Vec<Assessment>> {
    let levels: Vec<f64> = (0..LEVELS).map(|i| i as f64 / (LEVELS - 1) as f64).collect();
    let mut steps = vec![Step::graded(levels.clone(), 0.5)];
    steps.extend(levels.iter().map(|level| Step::of(SAMPLES, *level)));
    let assessments = steps.iter().map(|step| Ok(recorder.assess(step, &[])?.assessment));
    assessments.collect()
}

/// The samples of a step that is applied: one that is skipped is held completely,
/// whatever its weights.
fn held(assessment: &Assessment) -> Vec<Held> {
    if assessment.regularization.action != Action::Update {
        return Vec::new();
    }
    by_sample(assessment)
}

/// What the weights of each sample say, whatever the policy does within an answer: how its tokens
/// differ has an order of its own.
pub(super) fn by_sample(assessment: &Assessment) -> Vec<Held> {
    let r = &assessment.regularization;
    let samples = assessment.risk.iter().zip(&r.task_weight).zip(&r.kl_weight);
    let held = samples.map(|((risk, task), kl)| Held {
        risk: *risk,
        kl_weight: *kl,
        task_weight: *task,
        learning_rate_scale: r.learning_rate_scale,
    });
    held.collect()
}

fn monotonic(held: &[Held]) -> Finding {
    let mut sorted = held.to_vec();
    sorted.sort_by(|a, b| a.risk.total_cmp(&b.risk));
    let constant = match (sorted.first(), sorted.last()) {
        (Some(first), Some(last)) => first.risk == last.risk,
        _ => true,
    };
    if constant {
        return WITHIN.not_applicable(
            "the risk is the same for every sample",
            "The policy does not tell samples apart, so there is nothing to compare.",
        );
    }
    if let Some((weaker, stronger)) = less_held(&sorted) {
        let show = |one: usize| {
            let one = sorted[one];
            format!(
                "risk {} gets task weight {} and KL weight {}",
                number(one.risk),
                number(one.task_weight),
                number(one.kl_weight)
            )
        };
        return WITHIN.fail(
            format!("{}, and {}", show(stronger), show(weaker)),
            "A riskier sample is held less than a safer one. Its risk scores don't \
             mean what they say.",
        );
    }
    let (first, last) = (sorted[0], sorted[sorted.len() - 1]);
    WITHIN.pass(
        format!(
            "{} samples, risk {} to {}: KL weight {} to {}, task weight {} to {}",
            sorted.len(),
            number(first.risk),
            number(last.risk),
            number(first.kl_weight),
            number(last.kl_weight),
            number(first.task_weight),
            number(last.task_weight)
        ),
        "A riskier sample never gets a smaller KL weight or a larger task weight.",
    )
}

/// The first of the uniform steps is all harmless, the last all harmful.
fn follows(assessments: &[Assessment]) -> Finding {
    let mean = |one: &Assessment| one.risk.iter().sum::<f64>() / one.risk.len().max(1) as f64;
    let means: Vec<f64> = assessments[1..].iter().map(mean).collect();
    let (first, last) = (means[0], means[means.len() - 1]);
    let measured = format!(
        "mean risk {} for harmless samples, {} for harmful ones",
        number(first),
        number(last)
    );
    if means.iter().all(|one| *one == first) {
        return FOLLOWS
            .not_applicable(measured, "The policy's risk does not depend on what is measured.");
    }
    if last > first {
        FOLLOWS.pass(
            measured,
            "On synthetic signals the risk points the right way. How well it does \
             on your model, host calibrate and host eval tell.",
        )
    } else {
        FOLLOWS.note(
            measured,
            "Synthetic harmful samples did not get more risk than harmless ones. \
             That may be the synthetic signals; find out on real ones before \
             signing.",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::Verdict;

    fn held(samples: &[(f64, f64, f64)]) -> Finding {
        let held = samples.iter().map(|(risk, task, kl)| Held {
            risk: *risk,
            task_weight: *task,
            kl_weight: *kl,
            learning_rate_scale: 1.0,
        });
        monotonic(&held.collect::<Vec<_>>())
    }

    #[test]
    fn hold_may_grow_or_stay() {
        let fine = held(&[(0.9, 0.1, 0.9), (0.1, 0.9, 0.1), (0.5, 0.9, 0.1)]);
        assert_eq!(fine.verdict, Verdict::Pass, "{}", fine.measured);
        assert_eq!(held(&[(0.5, 0.9, 0.1), (0.5, 0.1, 0.9)]).verdict, Verdict::NotApplicable);
    }

    /// Samples of the same risk may differ: something else tells them apart.
    #[test]
    fn less_hold_at_more_risk_is_found_however_far_apart() {
        let kl = held(&[(0.1, 0.5, 0.5), (0.2, 0.5, 0.9), (0.3, 0.5, 0.95), (0.9, 0.5, 0.6)]);
        assert_eq!(kl.verdict, Verdict::Fail);
        assert!(kl.measured.contains("risk 0.9"), "{}", kl.measured);
        let task = held(&[(0.1, 0.5, 0.5), (0.2, 0.6, 0.5)]);
        assert_eq!(task.verdict, Verdict::Fail);
        let same = held(&[(0.1, 0.9, 0.1), (0.5, 0.1, 0.2), (0.5, 0.2, 0.1), (0.6, 0.1, 0.2)]);
        assert_eq!(same.verdict, Verdict::Pass, "{}", same.measured);
    }
}
