//! The types of `risk:policy@0.1.0`, generated from `wit/v0.1/policy.wit`; the
//! documentation of every record and field is there and is repeated here.
//!
//! All of them go through serde, with Rust's field names. Flags become lists of
//! their names, so that a record stays readable when flags are added.

mod bindings {
    wasmtime::component::bindgen!({
        path: "../../wit/v0.1",
        world: "policy",
        additional_derives: [Clone, PartialEq, serde::Serialize, serde::Deserialize],
    });
}

pub use bindings::PolicyIndices;
pub use bindings::exports::risk::policy::assessor::Guest;
pub use bindings::exports::risk::policy::assessor::{
    Action, Activations, Actuators, Anchor, AnchorTarget, Assessment, Calibration, Canary,
    Candidate, Descriptor, Divergence, Ema, Example, Examples, GradientConflict, JudgeNeed,
    JudgeScores, Judgement, JudgementStatus, Metric, Needs, Origin, Outcome, Position,
    PrefixScores, RatioClip, Reason, Regularization, RunInfo, Sample, Signals, Source, Split,
    Steering, SteeringNeed, SteeringSignals, SteeringVector, Tap, TokenNeeds, TokenSignals, Trial,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Names of the flags of one type, in the order of the interface.
pub trait Flags: Copy + Sized + 'static {
    const NAMES: &'static [(&'static str, Self)];
    fn none() -> Self;
    fn has(self, flag: Self) -> bool;
    fn with(self, flag: Self) -> Self;

    fn names(self) -> Vec<&'static str> {
        let set = |(_, flag): &&(&str, Self)| self.has(*flag);
        Self::NAMES.iter().filter(set).map(|(name, _)| *name).collect()
    }
}

macro_rules! named_flags {
    ($flags:ident { $($name:literal => $flag:ident),+ $(,)? }) => {
        impl Flags for $flags {
            const NAMES: &'static [(&'static str, Self)] = &[$(($name, $flags::$flag)),+];
            fn none() -> Self { Self::empty() }
            fn has(self, flag: Self) -> bool { self.contains(flag) }
            fn with(self, flag: Self) -> Self { self | flag }
        }

        impl Serialize for $flags {
            fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
                self.names().serialize(out)
            }
        }

        impl<'de> Deserialize<'de> for $flags {
            fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
                let mut flags = Self::none();
                for name in Vec::<String>::deserialize(input)? {
                    let known = Self::NAMES.iter().find(|(known, _)| *known == name);
                    let (_, flag) = known.ok_or_else(|| {
                        D::Error::custom(format!("`{name}` is none of the flags of {}", stringify!($flags)))
                    })?;
                    flags = flags.with(*flag);
                }
                Ok(flags)
            }
        }
    };
}

named_flags!(TokenNeeds {
    "current" => CURRENT,
    "reference" => REFERENCE,
});

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
});

impl Needs {
    /// Nothing is measured and nothing but weights and action is steered.
    pub fn new() -> Self {
        Self {
            taps: Vec::new(),
            judges: Vec::new(),
            tokens: TokenNeeds::empty(),
            canary_every: None,
            trial_scales: Vec::new(),
            gradient_conflict: false,
            drift: false,
            steering: None,
            calibration: false,
            actuators: Actuators::empty(),
        }
    }
}

impl Default for Needs {
    fn default() -> Self {
        Self::new()
    }
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
            ratio_clip: None,
            gradient_projection: false,
            adapter_projection: None,
            steering: None,
        }
    }
}

/// The names of the set flags, as the interface writes them.
pub fn actuator_names(actuators: Actuators) -> Vec<&'static str> {
    actuators.names()
}

/// As the interface writes it.
pub fn action_name(action: Action) -> &'static str {
    match action {
        Action::Update => "update",
        Action::Skip => "skip",
        Action::RollBack => "roll-back",
        Action::Stop => "stop",
    }
}
