//! The trait of a signal that is measured at every step.

use host_contract::{Needs, Signals};
use host_eval::canary::Canary;
use host_judges::{Judged, Judges};
use host_model::ChatTokenizer;
use host_model::decoder::Decoder;
use host_model::lora::Lora;

use super::readout::{ModelReadout, StepContext, Taps};
use crate::actuators::steering::ActiveSteering;
use crate::error::Result;

/// What a signal reads of the two models before the policies speak.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reads {
    pub reference: bool,
    pub reference_log_probs: bool,
    pub current: bool,
    pub current_log_probs: bool,
}

impl std::ops::BitOr for Reads {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self {
            reference: self.reference | other.reference,
            reference_log_probs: self.reference_log_probs | other.reference_log_probs,
            current: self.current | other.current,
            current_log_probs: self.current_log_probs | other.current_log_probs,
        }
    }
}

/// Everything that signals are measured from, at one step.
pub struct Moment<'a> {
    pub decoder: &'a Decoder,
    pub adapter: &'a Lora,
    /// Needs of each policy.
    pub needs: &'a [&'a Needs],
    pub taps: &'a Taps,
    pub judges: &'a Judges,
    pub tokenizer: &'a ChatTokenizer,
    pub canary: Option<&'a Canary>,
    pub step: &'a StepContext<'a>,
    pub reference: &'a ModelReadout,
    pub current: &'a ModelReadout,
    pub steered: Option<&'a ActiveSteering<'a>>,
}

/// What was measured at one step, for all policies together.
#[derive(Default)]
pub struct Measurements {
    pub signals: Signals,
    /// Scores by the need that asked for them.
    pub judged: Vec<Judged>,
}

/// How one signal is measured. What else there is to know about it stands in the contract.
pub trait MeasuredSignal: Sync {
    /// Field of the signals, as the interface writes it.
    fn name(&self) -> &'static str;

    /// What it reads of the models for a policy with these needs.
    fn reads(&self, _needs: &Needs) -> Reads {
        Reads::default()
    }

    /// Measures what any policy asked for, once.
    ///
    /// # Errors
    /// What failed while it was measured.
    fn measure(&self, at: &Moment<'_>, to: &mut Measurements) -> Result<()>;

    /// Of what was measured, what a policy with these needs gets to see. The step, its
    /// learning rate and its samples are there already.
    fn view(&self, needs: &Needs, measured: &Measurements, to: &mut Signals);
}
