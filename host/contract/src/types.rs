//! What signals and actuators have in common: who the policy is, the run it is configured
//! for, the samples of a step, and what a policy adds for people.
//!
//! The interface (`wit/v0.2/policy.wit`) documents every record and field. All of them go
//! through serde, with Rust's field names; journals and recorded cases depend on that.

use serde::{Deserialize, Serialize};
use wasmtime::component::{ComponentType, Lift, Lower};

/// What a policy says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ComponentType, Lift)]
#[component(record)]
pub struct Descriptor {
    /// Lower-case words joined by `-`.
    pub name: String,
    /// Semantic version of the policy.
    pub version: String,
    /// One sentence for a person.
    pub summary: String,
    /// JSON Schema of the settings object.
    #[component(name = "settings-schema")]
    pub settings_schema: String,
}

/// The run that a policy is configured for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ComponentType, Lower)]
#[component(record)]
pub struct RunInfo {
    /// Decoder blocks.
    pub layers: u32,
    /// Width of the residual stream.
    pub hidden: u32,
    /// Tokens the model knows.
    pub vocabulary: u32,
    /// Samples of one optimizer step.
    #[component(name = "samples-per-step")]
    pub samples_per_step: u32,
    /// Optimizer steps of the whole run.
    #[component(name = "total-steps")]
    pub total_steps: u64,
    /// Seed of the run.
    pub seed: u64,
    /// Names of the judges that the run can ask.
    pub judges: Vec<String>,
}

/// Which data a sample comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lower)]
#[component(enum)]
#[repr(u8)]
pub enum Origin {
    /// The data to learn from.
    #[component(name = "task")]
    Task,
    /// Data that shows how the model should stay.
    #[component(name = "alignment")]
    Alignment,
}

/// One sample of a step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ComponentType, Lower)]
#[component(record)]
pub struct Sample {
    /// Identifies the row within the run.
    pub id: u64,
    /// Which data it comes from.
    pub origin: Origin,
    /// Tokens of the rendered prompt.
    #[component(name = "prompt-tokens")]
    pub prompt_tokens: u32,
    /// Tokens of the answer.
    #[component(name = "answer-tokens")]
    pub answer_tokens: u32,
}

/// What happens to the update of a step; ordered from the weakest to the strongest.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    ComponentType,
    Lift,
    Lower,
)]
#[component(enum)]
#[repr(u8)]
pub enum Action {
    /// Apply the update.
    #[component(name = "update")]
    Update,
    /// Leave the parameters as they are.
    #[component(name = "skip")]
    Skip,
    /// Undo the update of the step before, and skip this one.
    #[component(name = "roll-back")]
    RollBack,
    /// End the run in good order.
    #[component(name = "stop")]
    Stop,
}

impl Action {
    /// As the interface writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Update => "update",
            Self::Skip => "skip",
            Self::RollBack => "roll-back",
            Self::Stop => "stop",
        }
    }
}

/// Whether there is a score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lower)]
#[component(enum)]
#[repr(u8)]
pub enum JudgementStatus {
    /// The score holds the judgement.
    #[component(name = "scored")]
    Scored,
    /// There is none for this sample.
    #[component(name = "missing")]
    Missing,
    /// The judge did not answer.
    #[component(name = "failed")]
    Failed,
    /// No score could be read from the answer.
    #[component(name = "unparsable")]
    Unparsable,
}

/// Why a policy decided as it did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ComponentType, Lift)]
#[component(record)]
pub struct Reason {
    /// The sample it is about; absent if about the whole step.
    pub sample: Option<u32>,
    /// Stable and lower-case, for counting.
    pub code: String,
    /// For people.
    pub message: String,
}

/// A number that a policy reports.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ComponentType, Lift)]
#[component(record)]
pub struct Metric {
    /// Letters, digits and a few marks.
    pub name: String,
    /// Finite.
    pub value: f64,
}

/// Flags of the interface: their names once, from which the bits, the names and the JSON
/// (a list of names) follow.
macro_rules! named_flags {
    ($flags:ident { $($name:literal => $flag:ident),+ $(,)? }) => {
        /// The macro writes no comments to what it makes.
        #[allow(missing_docs)]
        mod flags {
            wasmtime::component::flags! {
                $flags { $( #[component(name = $name)] const $flag; )+ }
            }
        }
        pub use flags::$flags;

        impl $flags {
            /// Every flag with its name, in the order of the interface.
            pub const NAMES: &'static [(&'static str, Self)] = &[$(($name, $flags::$flag)),+];

            /// Names of the flags that are set.
            pub fn names(self) -> Vec<&'static str> {
                let set = Self::NAMES.iter().filter(|(_, flag)| self.contains(*flag));
                set.map(|(name, _)| *name).collect()
            }
        }

        impl serde::Serialize for $flags {
            fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
                serde::Serialize::serialize(&self.names(), out)
            }
        }

        impl<'de> serde::Deserialize<'de> for $flags {
            fn deserialize<D: serde::Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
                let mut flags = Self::empty();
                for name in <Vec<String> as serde::Deserialize>::deserialize(input)? {
                    let known = Self::NAMES.iter().find(|(known, _)| *known == name);
                    let (_, flag) = known.ok_or_else(|| {
                        <D::Error as serde::de::Error>::custom(format!("`{name}` is none of the flags of {}", stringify!($flags)))
                    })?;
                    flags |= *flag;
                }
                Ok(flags)
            }
        }
    };
}
pub(crate) use named_flags;
