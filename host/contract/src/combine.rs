//! Several policies at once, and the answer that stands in for a policy that failed.
//!
//! Policies don't see each other. Each assesses the step by itself, and what the host does is
//! the most restrictive of their answers, field by field. For every step, what several policies
//! amount to keeps this, compared with each of them alone:
//!
//! * no token of task data has a larger task weight, and none of any data a smaller KL weight;
//! * no token of alignment data, from which to learn is a hold, has a smaller task weight;
//! * the update is no larger: learning rate, clip of the gradient, and whether it is made;
//! * except that a step which is hold alone is made if one of them makes it: to leave out the
//!   way back is no restriction;
//! * no share and no number of alignment samples is smaller than what one of them named last.
//!
//! An actuator for which nothing like that can be said stands [alone](crate::Actuator::alone),
//! and a run that would combine it is refused before it starts ([`check_together`]).

use serde::{Deserialize, Serialize};

use crate::{
    actuators::{ACTUATORS, Decisions, Regularization},
    assessment::Assessment,
    signals::{AnchorNeed, Needs},
    types::{Metric, Reason, Sample},
};

/// The assessment of a step that nobody could assess: every sample counts as risky,
/// nothing is learned from the task, and the KL term alone moves the model, back
/// towards the reference.
///
/// `code` and `message` become its reason; `state` is what the failed policy gets at
/// the next step.
pub fn fail_closed(samples: usize, code: &str, message: &str, state: &[u8]) -> Assessment {
    Assessment {
        risk: vec![1.0; samples],
        regularization: Regularization::weights(vec![0.0; samples], vec![1.0; samples]),
        reasons: vec![Reason { sample: None, code: code.to_owned(), message: message.to_owned() }],
        metrics: Vec::new(),
        state: state.to_vec(),
    }
}

/// What keeps a policy from working beside another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StandsAlone {
    /// Position of the policy.
    pub policy: usize,
    /// The actuator that it may use.
    pub actuator: &'static str,
    /// Why it can't be combined.
    pub why: &'static str,
}

/// Whether policies with these needs can work together.
///
/// # Errors
/// The first policy, of several, that may use what has no order.
pub fn check_together(needs: &[&Needs]) -> Result<(), StandsAlone> {
    if needs.len() < 2 {
        return Ok(());
    }
    for (policy, needs) in needs.iter().enumerate() {
        for one in ACTUATORS {
            if let Some(why) = one.alone().filter(|_| one.is_declared(needs.declared())) {
                return Err(StandsAlone { policy, actuator: one.name(), why });
            }
        }
    }
    if let Err(policy) = AnchorNeed::together(needs) {
        let why = "measures the divergence on the anchors in another way than another policy";
        return Err(StandsAlone { policy, actuator: "safety-anchors", why });
    }
    Ok(())
}

/// What a policy has said that holds until it says otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Standing {
    #[serde(skip_serializing_if = "Option::is_none")]
    alignment_share: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alignment_extra: Option<u32>,
}

impl Standing {
    /// The assessment with what stands, where it is silent.
    fn complete(&mut self, assessment: &Assessment) -> Assessment {
        let mut complete = assessment.clone();
        let r = &mut complete.regularization;
        r.alignment_share = r.alignment_share.or(self.alignment_share);
        r.alignment_extra = r.alignment_extra.or(self.alignment_extra);
        *self = Self { alignment_share: r.alignment_share, alignment_extra: r.alignment_extra };
        complete
    }
}

/// Combines the assessments of several policies, step after step.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Combiner {
    /// By position of the policy.
    pub standing: Vec<Standing>,
}

impl Combiner {
    /// Combines the valid assessments of the next step; `names` are the policies', in the
    /// same order, and mark reasons and metrics. One alone is left as it is.
    pub fn combine(
        &mut self,
        names: &[&str],
        assessments: &[&Assessment],
        samples: &[Sample],
    ) -> Assessment {
        if let [only] = assessments {
            return (*only).clone();
        }
        self.standing.resize(assessments.len(), Standing::default());
        let pairs = assessments.iter().zip(&mut self.standing);
        let complete: Vec<Assessment> =
            pairs.map(|(one, standing)| standing.complete(one)).collect();
        most_restrictive(names, &complete.iter().collect::<Vec<_>>(), samples)
    }
}

/// Per field the most restrictive; see the top of this file. The combined assessment has no
/// state: each policy keeps its own.
fn most_restrictive(names: &[&str], assessments: &[&Assessment], samples: &[Sample]) -> Assessment {
    let all: Vec<&Regularization> = assessments.iter().map(|one| &one.regularization).collect();
    let mut regularization = Regularization::weights(Vec::new(), Vec::new());
    for actuator in ACTUATORS {
        actuator.merge(Decisions { all: &all, samples }, &mut regularization);
    }
    let named = names.iter().zip(assessments);
    Assessment {
        risk: (0..samples.len())
            .map(|i| assessments.iter().map(|one| one.risk[i]).fold(0.0, f64::max))
            .collect(),
        regularization,
        reasons: named
            .clone()
            .flat_map(|(name, one)| one.reasons.iter().map(move |reason| marked(name, reason)))
            .collect(),
        metrics: named
            .flat_map(|(name, one)| {
                one.metrics.iter().map(move |metric| Metric {
                    name: format!("{name}/{}", metric.name),
                    value: metric.value,
                })
            })
            .collect(),
        state: Vec::new(),
    }
}

fn marked(name: &str, reason: &Reason) -> Reason {
    Reason { message: format!("{name}: {}", reason.message), ..reason.clone() }
}

#[cfg(test)]
#[path = "combine_tests.rs"]
pub(crate) mod tests;
