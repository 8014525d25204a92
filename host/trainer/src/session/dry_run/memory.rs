//! What a run holds in memory where it holds most.

use host_model::decoder::Decoder;
use host_model::lora::Lora;
use serde::Serialize;

use super::PolicyDemands;
use super::evaluation::EvaluationEstimate;
use super::process::{self, Resident};
use super::walk::StepPlan;
use crate::config::TrainConfig;
use crate::parameters::Layout;
use crate::parameters::optimizer::AdamW;

/// Bytes; what isn't known is absent.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct MemoryEstimate {
    /// Program, policies, data and model, measured once they were loaded.
    pub loaded: Option<u64>,
    /// Of these, the frozen weights.
    pub weights: u64,
    /// The adapter, its gradient, the optimizer's moments and what actuators keep.
    pub adapter: u64,
    /// What the reference's cache comes to.
    pub reference_cache: u64,
    /// What a forward pass leaves for the backward pass, in the largest micro-batch.
    pub activations: Option<u64>,
    /// On top of these: in the loss, and in the backward pass.
    pub loss: Option<u64>,
    pub backward: Option<u64>,
    /// On top of what is loaded and kept: in an evaluation between the steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evaluation: Option<u64>,
    /// All that is there at the same time.
    pub peak: Option<u64>,
    /// What programs could still get before any of it was trained.
    pub available: Option<u64>,
}

impl MemoryEstimate {
    /// `resident` is what was there before the training was made.
    pub fn of(
        decoder: &Decoder,
        adapter: &Lora,
        config: &TrainConfig,
        asked: Option<&PolicyDemands>,
        walk: &StepPlan,
        resident: Option<Resident>,
    ) -> Self {
        let weights = decoder.weights.bytes();
        let parameters = Layout::new(adapter).len();
        // The variables, the same as one vector, the gradient.
        let values =
            parameters * (3 + AdamW::MOMENTS) + asked.map_or(0, |asked| asked.vectors * parameters);
        let adapter = (values * size_of::<f32>()) as u64 + asked.map_or(0, |asked| asked.subspaces);
        let reference_cache = walk.distinct.bytes.min((config.reference_cache_mib as u64) << 20);
        let loaded = resident.map(|resident| resident.now);
        let peak = walk.memory.map(|step| {
            let training = loaded.unwrap_or(weights) + adapter + reference_cache + step.peak;
            training.max(resident.map_or(0, |resident| resident.peak))
        });
        Self {
            loaded,
            weights,
            adapter,
            reference_cache,
            activations: walk.memory.map(|step| step.activations),
            loss: walk.memory.map(|step| step.head),
            backward: walk.memory.map(|step| step.backward),
            evaluation: None,
            peak,
            available: process::available(),
        }
    }

    /// With evaluations between the steps.
    pub fn with(mut self, evaluations: Option<&EvaluationEstimate>) -> Self {
        let Some(EvaluationEstimate { bytes, best, .. }) = evaluations.copied() else {
            return self;
        };
        self.adapter += best;
        self.evaluation = bytes;
        let kept = self.loaded.unwrap_or(self.weights) + self.adapter + self.reference_cache;
        self.peak = self.peak.map(|peak| (peak + best).max(kept + bytes.unwrap_or(0)));
        self
    }

    /// What the training adds to what is there, if that is more than there is room for.
    pub fn lacking(&self) -> Option<u64> {
        let more = self.peak?.saturating_sub(self.loaded?);
        more.checked_sub(self.available?).filter(|lacking| *lacking > 0)
    }
}
