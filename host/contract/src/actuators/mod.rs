//! Actuators: what a policy may steer. One file for each, behind one trait, and one table
//! that everything else walks.
//!
//! A new actuator is a file here with its record and its [`Actuator`], a flag of
//! [`struct@Actuators`], a field of [`Regularization`], and a row of [`ACTUATORS`].

mod action;
mod adapter_projection;
mod alignment_complement;
mod alignment_extra;
mod alignment_share;
mod anchor;
mod ema;
mod gradient_clip;
mod gradient_projection;
mod label_divergence;
mod layer_scale;
mod learning_rate;
mod ranges;
mod ratio_clip;
mod safety_anchors;
mod steering;
mod token_set_divergence;
mod token_weights;
mod weights;

pub use anchor::{Anchor, AnchorTarget};
pub use ema::Ema;
pub use label_divergence::Divergence;
pub use ratio_clip::RatioClip;
pub use steering::Steering;

pub(crate) use ranges::{Check, per_sample};

use serde::{Deserialize, Serialize};
use wasmtime::component::{ComponentType, Lift};

use crate::{
    run::{RunCapabilities, Unmet},
    types::{Action, Origin, Sample, named_flags},
};

named_flags!(Actuators {
    "token-weights" => TOKEN_WEIGHTS,
    "label-divergence" => LABEL_DIVERGENCE,
    "learning-rate" => LEARNING_RATE,
    "gradient-clip" => GRADIENT_CLIP,
    "ema" => EMA,
    "anchor" => ANCHOR,
    "alignment-share" => ALIGNMENT_SHARE,
    "ratio-clip" => RATIO_CLIP,
    "gradient-projection" => GRADIENT_PROJECTION,
    "adapter-projection" => ADAPTER_PROJECTION,
    "roll-back" => ROLL_BACK,
    "alignment-extra" => ALIGNMENT_EXTRA,
    "safety-anchors" => SAFETY_ANCHORS,
    "layer-scale" => LAYER_SCALE,
    "alignment-complement" => ALIGNMENT_COMPLEMENT,
});

/// How to train on one step; see the interface for the loss.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ComponentType, Lift)]
#[component(record)]
pub struct Regularization {
    /// What happens to the update.
    pub action: Action,
    /// Per sample, in [0, 10].
    #[component(name = "task-weight")]
    pub task_weight: Vec<f64>,
    /// Per sample, in [0, 10].
    #[component(name = "kl-weight")]
    pub kl_weight: Vec<f64>,
    /// Per answer token, ragged, in [0, 10].
    #[component(name = "token-task-weight")]
    pub token_task_weight: Option<Vec<f32>>,
    /// Likewise.
    #[component(name = "token-kl-weight")]
    pub token_kl_weight: Option<Vec<f32>>,
    /// What the KL weight multiplies.
    pub divergence: Divergence,
    /// In [0, 10].
    #[component(name = "learning-rate-scale")]
    pub learning_rate_scale: f64,
    /// Largest L2 norm of the gradient.
    #[component(name = "gradient-clip")]
    pub gradient_clip: Option<f64>,
    /// Average of the parameters.
    pub ema: Option<Ema>,
    /// Pull towards earlier parameters.
    pub anchor: Option<Anchor>,
    /// Share of alignment samples from the next step on, in [0, 1].
    #[component(name = "alignment-share")]
    pub alignment_share: Option<f64>,
    /// Alignment samples in addition to the batch, from the next step on.
    #[component(name = "alignment-extra")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alignment_extra: Option<u32>,
    /// Per sample.
    #[component(name = "ratio-clip")]
    pub ratio_clip: Option<Vec<RatioClip>>,
    /// Remove from the task gradient what opposes the alignment gradient.
    #[component(name = "gradient-projection")]
    pub gradient_projection: bool,
    /// Project where the cosine is at most this.
    #[component(name = "adapter-projection")]
    pub adapter_projection: Option<f64>,
    /// Project at least this many matrices, those of the lowest cosine.
    #[component(name = "adapter-projection-count")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapter_projection_count: Option<u32>,
    /// Weight of the safety anchors, of which a step without one visits none.
    #[component(name = "anchor-weight")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anchor_weight: Option<f64>,
    /// Strength of the pull into the alignment subspace.
    #[component(name = "alignment-complement")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alignment_complement: Option<f64>,
    /// Per decoder block, factor of its update, in [0, 1].
    #[component(name = "layer-scale")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer_scale: Option<Vec<f64>>,
    /// Steering from the next step on.
    pub steering: Option<Steering>,
}

impl Regularization {
    /// An ordinary update with these weights per sample; everything else is off.
    pub fn weights(task_weight: Vec<f64>, kl_weight: Vec<f64>) -> Self {
        Self {
            action: Action::Update,
            task_weight,
            kl_weight,
            token_task_weight: None,
            token_kl_weight: None,
            divergence: Divergence::ForwardKl,
            learning_rate_scale: 1.0,
            gradient_clip: None,
            ema: None,
            anchor: None,
            alignment_share: None,
            alignment_extra: None,
            ratio_clip: None,
            gradient_projection: false,
            adapter_projection: None,
            adapter_projection_count: None,
            anchor_weight: None,
            alignment_complement: None,
            layer_scale: None,
            steering: None,
        }
    }

    /// Whether the step pulls to no task data and yet holds: to the reference, or to alignment
    /// data. To leave out such a step, or to make it smaller, is no restriction.
    pub(crate) fn is_hold_alone(&self, samples: &[Sample]) -> bool {
        let (mut pulls, mut holds) = (false, self.anchor_weight.is_some_and(|weight| weight > 0.0));
        let mut token = 0;
        for (i, sample) in samples.iter().enumerate() {
            for _ in 0..sample.answer_tokens {
                let factor =
                    |weights: &Option<Vec<f32>>| token_weights::at(weights.as_deref(), token);
                let learns = self.task_weight[i] * factor(&self.token_task_weight) > 0.0;
                pulls |= learns && sample.origin == Origin::Task;
                holds |= learns && sample.origin == Origin::Alignment;
                holds |= self.kl_weight[i] * factor(&self.token_kl_weight) > 0.0;
                token += 1;
            }
        }
        holds && !pulls
    }
}

/// The stricter of two values.
pub(crate) type Pick = fn(f64, f64) -> f64;

/// What several policies decided about one step.
#[derive(Debug, Clone, Copy)]
pub struct Decisions<'a> {
    /// Valid, one per policy.
    pub all: &'a [&'a Regularization],
    /// Samples of the step.
    pub samples: &'a [Sample],
}

impl<'a> Decisions<'a> {
    /// Combines a list with a value per sample.
    pub(crate) fn per_sample(
        &self,
        field: impl Fn(&'a Regularization) -> &'a Vec<f64>,
        pick: fn(&Sample) -> Pick,
    ) -> Vec<f64> {
        let of = |(i, sample)| {
            let values = self.all.iter().map(|one| field(one)[i]);
            values.reduce(pick(sample)).unwrap_or_default()
        };
        self.samples.iter().enumerate().map(of).collect()
    }

    /// One field of every decision that has it.
    pub(crate) fn some<T: 'a>(
        &self,
        field: impl Fn(&'a Regularization) -> Option<T>,
    ) -> impl Iterator<Item = T> {
        self.all.iter().filter_map(move |one| field(one))
    }
}

/// What a policy declares in its needs, as far as actuators depend on it.
#[derive(Debug, Clone, Copy)]
pub struct Declared {
    /// Parts of the regularization that it may use.
    pub flags: Actuators,
    /// Whether it has a steering vector.
    pub steering: bool,
    /// Whether it says which safety anchors it wants.
    pub anchors: bool,
    /// Whether it has safety tokens.
    pub token_set: bool,
    /// Whether it gets the log-probabilities of label tokens under both models.
    pub both_log_probs: bool,
}

/// One thing that a policy may steer: everything that the host must know about it besides
/// how to do it.
pub trait Actuator: Sync {
    /// As the interface writes it.
    fn name(&self) -> &'static str;

    /// The flag that declares it; none for what is declared otherwise or always allowed.
    fn flag(&self) -> Option<Actuators>;

    /// What it lets a policy do to a run, for the person who allows it.
    fn meaning(&self) -> &'static str;

    /// Whether a policy may use it that declares this.
    fn is_declared(&self, declared: Declared) -> bool {
        self.flag().is_none_or(|flag| declared.flags.contains(flag))
    }

    /// Adds an example of using it to a decision about these samples, for tests that walk
    /// the table.
    fn example(&self, samples: &[Sample], regularization: &mut Regularization);

    /// What the run lacks for it; asked only if it is declared.
    fn unmet(&self, _declared: Declared, _run: &RunCapabilities<'_>) -> Option<Unmet> {
        None
    }

    /// Checks lengths and ranges.
    ///
    /// # Errors
    /// The first field that is wrong.
    fn check(&self, regularization: &Regularization, samples: &[Sample]) -> Check;

    /// Checks what has a value per decoder block.
    ///
    /// # Errors
    /// The first field that is wrong.
    fn check_layers(&self, _regularization: &Regularization, _layers: u32) -> Check {
        Ok(())
    }

    /// The field of the regularization that uses it, if one does.
    fn used(&self, regularization: &Regularization) -> Option<&'static str>;

    /// What is wrong with using it undeclared.
    fn undeclared(&self) -> String {
        format!("is used, but needs.actuators does not declare {}", self.name())
    }

    /// Why a policy that declares it can't work beside another one: of two values none is the
    /// stricter one. None if there is an order.
    fn alone(&self) -> Option<&'static str> {
        None
    }

    /// Combines what several policies decided: the most restrictive counts. Rows of the
    /// table before this one were combined already. What stands [alone](Self::alone) has
    /// nothing to combine.
    fn merge(&self, _decisions: Decisions<'_>, _into: &mut Regularization) {}
}

/// Every actuator, in the order in which decisions are merged: what holds, before what may leave
/// out a step that is nothing but hold.
pub static ACTUATORS: [&dyn Actuator; 18] = [
    &weights::Weights,
    &token_weights::TokenWeights,
    &label_divergence::LabelDivergence,
    &token_set_divergence::TokenSetDivergence,
    &safety_anchors::SafetyAnchors,
    &learning_rate::LearningRate,
    &gradient_clip::GradientClip,
    &ema::EmaActuator,
    &anchor::AnchorActuator,
    &alignment_share::AlignmentShare,
    &ratio_clip::RatioClipActuator,
    &gradient_projection::GradientProjection,
    &adapter_projection::AdapterProjection,
    &action::ActionActuator,
    &alignment_extra::AlignmentExtra,
    &layer_scale::LayerScale,
    &alignment_complement::AlignmentComplement,
    &steering::SteeringActuator,
];

#[cfg(test)]
mod tests;
