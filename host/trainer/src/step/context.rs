//! What a training works with: [`RunContext`] is what a run has, and [`TrainingSpec`] what
//! is done with it.
//!
//! A new resource of a run is a field of [`RunContext`], filled where a session prepares it.

use host_contract::{Guardrails, Needs};
use host_data::Plan;
use host_eval::canary::Canary;
use host_judges::Judges;
use host_model::Model;
use host_model::decoder::TokenSubset;
use host_model::lora::Lora;

use crate::actuators::adapter_projection::Subspaces;
use crate::actuators::safety_anchors::Anchors;
use crate::actuators::vectors::Vectors;
use crate::config::{OnFault, TrainConfig, TrainingNoise};
use crate::policies::ActivePolicy;
use crate::ranks::Ranks;
use crate::signals::reference;
use crate::step::evaluations::Evaluations;

/// What a run has, loaded and checked once. All ranks have the model, the data, the store of
/// the reference and the vectors; what else serves signals is there on the root alone.
pub struct RunContext {
    pub model: Model,
    pub plan: Plan,
    pub judges: Judges,
    pub canary: Option<Canary>,
    /// There if a policy may project the adapter onto what alignment changed.
    pub base: Option<Base>,
    /// Outputs of the reference that other runs have kept.
    pub reference: Option<reference::Store>,
    /// Safety anchors; there if a policy visits some.
    pub anchors: Option<Anchors>,
    /// Safety tokens; there if a policy asks for them.
    pub token_set: Option<TokenSubset>,
    /// Vectors that a policy steers by; there if one does.
    pub steering: Option<Vectors>,
}

/// The model before its alignment, of which the changes alone are kept.
pub struct Base {
    pub digest: String,
    pub subspaces: Subspaces,
}

impl RunContext {
    /// A model and its data; nothing else.
    pub fn new(model: Model, plan: Plan) -> Self {
        Self {
            model,
            plan,
            judges: Judges::default(),
            canary: None,
            base: None,
            reference: None,
            anchors: None,
            token_set: None,
            steering: None,
        }
    }
}

/// One training of a run.
#[derive(Clone, Copy)]
pub struct TrainingSpec<'a> {
    pub context: &'a RunContext,
    pub config: &'a TrainConfig,
    pub noise: TrainingNoise,
    pub adapter: &'a Lora,
    /// Needs of each policy; without any the run trains plainly.
    pub needs: &'a [Needs],
    /// Policies at work, which the root alone has.
    pub policies: &'a [ActivePolicy],
    pub on_fault: OnFault,
    /// Rules that every assessment must keep.
    pub require: &'a Guardrails,
    pub ranks: &'a Ranks,
    /// If the training is evaluated while it goes on.
    pub evaluations: Option<Evaluations<'a>>,
}

impl<'a> TrainingSpec<'a> {
    /// Without policies nothing is steered.
    pub fn steering(&self) -> Option<&'a Vectors> {
        self.context.steering.as_ref().filter(|_| !self.needs.is_empty())
    }
}
