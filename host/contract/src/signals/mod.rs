//! Signals: what the host measures for a policy. One file for each, behind one trait, and
//! one table that everything else walks.
//!
//! A new signal is a file here with its record and its [`Signal`], a field of [`Needs`] and
//! one of [`Signals`], and a row of [`SIGNALS`].

mod activations;
mod anchors;
mod canary;
mod drift;
mod gradient_agreement;
mod gradient_conflict;
mod judges;
mod layers;
mod lists;
mod prefixes;
mod previous;
mod sample_loss;
mod steering;
mod synthetic;
mod tokens;
mod trials;

pub use activations::{Activations, Position, Source, Tap};
pub use anchors::{AnchorDivergence, AnchorNeed, AnchorSignals};
pub use canary::Canary;
pub use gradient_conflict::GradientConflict;
pub use judges::{JudgeNeed, JudgeScores, Judgement};
pub use lists::{Lists, ListsWriter};
pub use prefixes::PrefixScores;
pub use previous::Outcome;
pub use steering::{SteeringNeed, SteeringSignals, SteeringVector};
pub use synthetic::{Damage, Row, Step, Synthetic, drawn};
pub use tokens::{TokenNeeds, TokenSignals};
pub use trials::Trial;

pub(crate) use activations::bytes as activations_bytes;
pub(crate) use judges::bytes as judges_bytes;

use serde::{Deserialize, Serialize};
use wasmtime::component::{ComponentType, Lift, Lower};

use crate::{
    actuators::{Actuators, Declared},
    invalid::Invalid,
    run::{RunCapabilities, Unmet},
    token_set::TokenSet,
    types::{RunInfo, Sample},
};

/// What the host must measure, and what the policy may steer.
///
/// A field that is absent from JSON means that nothing is asked for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ComponentType, Lift)]
#[component(record)]
#[serde(default)]
pub struct Needs {
    /// Activations, in the order in which they are delivered.
    pub taps: Vec<Tap>,
    /// Judges, in the order in which they are delivered.
    pub judges: Vec<JudgeNeed>,
    /// Log-probabilities of the answer tokens.
    pub tokens: TokenNeeds,
    /// Measure the canary margin before every this many steps.
    #[component(name = "canary-every")]
    pub canary_every: Option<u32>,
    /// Try the update at each of these learning-rate scales.
    #[component(name = "trial-scales")]
    pub trial_scales: Vec<f64>,
    /// Conflict of the task and the alignment gradient.
    #[component(name = "gradient-conflict")]
    pub gradient_conflict: bool,
    /// Distance from the reference.
    pub drift: bool,
    /// Mean loss of each sample before the update.
    #[component(name = "sample-loss")]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub sample_loss: bool,
    /// Agreement of each sample's gradient with the alignment gradient.
    #[component(name = "gradient-agreement")]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub gradient_agreement: bool,
    /// Safety anchors of a visit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anchors: Option<AnchorNeed>,
    /// Safety tokens, for the divergence over them.
    #[component(name = "token-set")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_set: Option<TokenSet>,
    /// A vector to steer by.
    pub steering: Option<SteeringNeed>,
    /// `assess` can't work without the parameters that `calibrate` returns.
    pub calibration: bool,
    /// Task samples of the run that calibration sees without labels.
    #[component(name = "calibration-rows")]
    #[serde(skip_serializing_if = "is_zero")]
    pub calibration_rows: u32,
    /// Parts of an assessment that the policy may use.
    pub actuators: Actuators,
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl Needs {
    /// Nothing is measured and nothing but weights and action is steered.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether it takes rows of alignment data: to mix them in, or to compare with their
    /// gradient.
    pub fn alignment(&self) -> bool {
        let flags = Actuators::ALIGNMENT_SHARE
            | Actuators::ALIGNMENT_EXTRA
            | Actuators::GRADIENT_PROJECTION;
        self.actuators.intersects(flags) || self.gradient_conflict || self.gradient_agreement
    }

    /// Whether it takes the model before its alignment.
    pub fn base(&self) -> bool {
        self.actuators.intersects(Actuators::ADAPTER_PROJECTION | Actuators::ALIGNMENT_COMPLEMENT)
    }

    /// What is declared for actuators.
    pub fn declared(&self) -> Declared {
        Declared {
            flags: self.actuators,
            steering: self.steering.is_some(),
            anchors: self.anchors.is_some(),
            token_set: self.token_set.is_some(),
            both_log_probs: self.tokens.contains(TokenNeeds::CURRENT | TokenNeeds::REFERENCE),
        }
    }
}

/// What the host measured for one optimizer step.
///
/// A field that is absent from JSON was not measured.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ComponentType, Lower)]
#[component(record)]
#[serde(default)]
pub struct Signals {
    /// Counts from 0.
    pub step: u64,
    /// Scheduled learning rate of the step, before any scaling.
    #[component(name = "learning-rate")]
    pub learning_rate: f64,
    /// Samples of the step.
    pub samples: Vec<Sample>,
    /// Per tap that was asked for.
    pub activations: Vec<Activations>,
    /// Per judge that was asked for.
    pub judges: Vec<JudgeScores>,
    /// Per judge that was asked for scores of cut answers.
    pub prefixes: Vec<PrefixScores>,
    /// Log-probabilities of the answer tokens.
    pub tokens: Option<TokenSignals>,
    /// Canary margins, at the steps before which they are measured.
    pub canary: Option<Canary>,
    /// Per learning-rate scale that was asked for.
    pub trials: Vec<Trial>,
    /// Conflict of the task and the alignment gradient of the step before.
    #[component(name = "gradient-conflict")]
    pub gradient_conflict: Option<GradientConflict>,
    /// L2 norm of the adapter's update of the weights.
    pub drift: Option<f64>,
    /// Per sample, mean cross-entropy per answer token before the update, in nats.
    #[component(name = "sample-loss")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample_loss: Option<Vec<f64>>,
    /// Per sample, change of its loss along the alignment gradient, in nats per unit of
    /// distance.
    #[component(name = "gradient-agreement")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gradient_agreement: Option<Vec<f64>>,
    /// Divergence per safety anchor of the last visit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anchors: Option<AnchorSignals>,
    /// How the steering in force relates to safety.
    pub steering: Option<SteeringSignals>,
    /// What became of the step before; absent at the first.
    pub previous: Option<Outcome>,
}

impl Signals {
    /// The step, the learning rate and the samples; nothing is measured.
    pub fn unmeasured(&self) -> Self {
        Self {
            step: self.step,
            learning_rate: self.learning_rate,
            samples: self.samples.clone(),
            ..Self::default()
        }
    }
}

/// The signals of one step, as a record of a journal has them: the long lists taken out,
/// sample by sample. The reference's activations of a sample are the same in every epoch, so
/// they are stored once however often the sample comes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recorded {
    /// All but activations and token log-probabilities, which are empty here.
    pub signals: Signals,
    activations: Vec<activations::ActivationRows>,
    tokens: Option<tokens::TokenRows>,
}

impl Recorded {
    /// Puts the long lists into `lists`, and copies the rest.
    pub fn new(signals: &Signals, lists: &mut dyn ListsWriter) -> Self {
        let mut recorded = Self { signals: signals.unmeasured(), ..Self::default() };
        for signal in SIGNALS {
            signal.record(signals, &mut recorded, lists);
        }
        recorded
    }

    /// The signals as the policy got them.
    ///
    /// # Errors
    /// A list that is not there, or that is not what it was.
    pub fn restore(&self, lists: &dyn Lists) -> Result<Signals, String> {
        let mut signals = self.signals.unmeasured();
        for signal in SIGNALS {
            signal.restore(self, &mut signals, lists)?;
        }
        Ok(signals)
    }

    /// Digests of all lists that [`Recorded::restore`] reads.
    pub fn digests(&self) -> impl Iterator<Item = &str> {
        SIGNALS.iter().flat_map(|signal| signal.digests(self))
    }
}

/// What a journal holds of one step: the signals that its policies were given, and what
/// these policies had asked for.
#[derive(Debug, Clone, Copy)]
pub struct Journalled<'a> {
    /// Needs of the policies of the run.
    pub needs: &'a [&'a Needs],
    /// What they were given at the step.
    pub signals: &'a [Signals],
}

/// Something that a journal does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Field of the needs, such as `needs.drift`.
    pub field: &'static str,
    /// What it asks for, in words.
    pub what: String,
}

/// One kind of measurement: everything that the host must know about it besides how to
/// measure it.
pub trait Signal: Sync {
    /// Field of [`Signals`], as the interface writes it.
    fn name(&self) -> &'static str;

    /// Field of the needs that asks for it, such as `needs.drift`; none if every policy
    /// gets it.
    fn need(&self) -> Option<&'static str>;

    /// What it is, for a person.
    fn meaning(&self) -> &'static str;

    /// Whether a policy asks for it.
    fn asked(&self, needs: &Needs) -> bool;

    /// Adds an example of asking for it, for tests that walk the table.
    fn example(&self, needs: &mut Needs);

    /// Measurements that are asked for where that is a list, each at its own cost.
    fn entries(&self, _needs: &Needs) -> usize {
        0
    }

    /// Checks what is asked for against the interface and the run.
    ///
    /// # Errors
    /// The first field that is wrong.
    fn check(&self, _needs: &Needs, _run: &RunInfo) -> Result<(), Invalid> {
        Ok(())
    }

    /// The field in which `narrow` asks for more than `wide`.
    fn exceeds(&self, narrow: &Needs, wide: &Needs) -> Option<String> {
        let need = self.need().filter(|_| self.asked(narrow) && !self.asked(wide));
        need.map(str::to_owned)
    }

    /// What is asked for, in words, one line each.
    fn summary(&self, needs: &Needs) -> Vec<String>;

    /// What the run lacks to measure it.
    fn unmet(&self, _needs: &Needs, _run: &RunCapabilities<'_>) -> Option<Unmet> {
        None
    }

    /// Whether it was measured at this step.
    fn given(&self, signals: &Signals) -> bool;

    /// Copies it from one set of signals to another.
    fn copy(&self, from: &Signals, to: &mut Signals);

    /// Bytes of its lists; the rest is small and bounded.
    fn bytes(&self, signals: &Signals) -> usize;

    /// Puts it into a journal.
    fn record(&self, from: &Signals, to: &mut Recorded, _lists: &mut dyn ListsWriter) {
        self.copy(from, &mut to.signals);
    }

    /// Takes it out of a journal.
    ///
    /// # Errors
    /// A list that the journal does not hold, or that was changed.
    fn restore(&self, from: &Recorded, to: &mut Signals, _lists: &dyn Lists) -> Result<(), String> {
        self.copy(&from.signals, to);
        Ok(())
    }

    /// Digests of the lists that [`Signal::restore`] reads.
    fn digests<'a>(&self, _recorded: &'a Recorded) -> Vec<&'a str> {
        Vec::new()
    }

    /// Whether what was measured for a policy of a recorded run will do for another one.
    fn suits(&self, needs: &Needs, recorded: &Needs) -> bool {
        self.exceeds(needs, recorded).is_none()
    }

    /// Offers a policy what the policies of a recorded run were given.
    ///
    /// # Errors
    /// What is asked for and was not recorded.
    fn offer(&self, needs: &Needs, from: Journalled<'_>, to: &mut Signals) -> Result<(), Missing> {
        if !self.asked(needs) {
            return Ok(());
        }
        if !from.needs.iter().any(|recorded| self.suits(needs, recorded)) {
            return Err(self.missing(needs));
        }
        // Not every step has every signal.
        if let Some(given) = from.signals.iter().find(|one| self.given(one)) {
            self.copy(given, to);
        }
        Ok(())
    }

    /// That a journal does not hold it.
    fn missing(&self, needs: &Needs) -> Missing {
        Missing { field: self.need().unwrap_or("needs"), what: self.summary(needs).join(" and ") }
    }

    /// Makes it up for a synthetic step.
    fn synthesize(&self, made: &Synthetic<'_>, step: &Step, to: &mut Signals);

    /// Whether damage of this kind is about it.
    fn reached_by(&self, damage: Damage) -> bool;

    /// Damages it; called only with damage that reaches it.
    fn damage(&self, signals: &mut Signals, damage: Damage);
}

/// Every signal, in the order of the interface.
pub static SIGNALS: [&dyn Signal; 13] = [
    &activations::ActivationsSignal,
    &judges::JudgesSignal,
    &prefixes::PrefixesSignal,
    &tokens::TokensSignal,
    &canary::CanarySignal,
    &trials::TrialsSignal,
    &gradient_conflict::GradientConflictSignal,
    &drift::DriftSignal,
    &sample_loss::SampleLossSignal,
    &gradient_agreement::GradientAgreementSignal,
    &anchors::AnchorsSignal,
    &steering::SteeringSignal,
    &previous::PreviousSignal,
];

/// Bytes of the lists in signals.
pub fn signals_bytes(signals: &Signals) -> usize {
    let samples = size_of_val(&signals.samples[..]);
    samples + SIGNALS.iter().map(|signal| signal.bytes(signals)).sum::<usize>()
}

#[cfg(test)]
mod tests;
